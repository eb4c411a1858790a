from __future__ import annotations

import re
from random import Random

import pytest

from pcrl_gym.instruct.data import lines_of
from pcrl_gym.instruct.short_tasks import short_tasks

TEXT = (
    "The old dog sleeps by the door all day. It dreams of rabbits and of long summer walks. "
    "Tiny! Nobody knows where it came from or who fed it first. and so on without a capital."
)


def test_inputs_are_drawn_from_the_texts_or_are_numbers() -> None:
    words = set(re.findall(r"\w+", TEXT))
    prompts = list(short_tasks([TEXT], 400, Random(0)))
    apart = [prompt.input for prompt in prompts if prompt.input]
    assert 150 < len(apart) < 300  # a half, and the others in line with the task
    for text in apart:
        assert set(re.findall(r"\w+", text)) <= words or re.fullmatch(r"\d+(, \d+){2,6}", text)
    assert not any("Tiny!" in text or "and so on" in text for text in apart)
    assert len({prompt.id for prompt in prompts}) == 400


def test_each_task_is_composed_and_words_agree_in_number() -> None:
    texts = [prompt.instruction for prompt in short_tasks([TEXT], 2_000, Random(1))]
    assert not any("{the}" in text for text in texts)
    assert not any(re.search(r"\bthis (words|numbers|items|values)\b", text) for text in texts)
    for line in lines_of("short_tasks.txt"):
        beginning = line.partition(": ")[2].partition("{the}")[0].rstrip(".")
        assert any(text.startswith(beginning) for text in texts), line


def test_texts_without_two_sentences_are_refused() -> None:
    with pytest.raises(ValueError, match="two sentences"):
        next(short_tasks(["Only one."], 1, Random(0)))
