"""An exported compressor is an agent, on the task's units."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import models
from agents.base import make_agent
from agents.costs import group_spans
from agents.policy import PolicyAgent, keep_logits
from pcrl_gym import Compressor
from pcrl_gym.compressor.compression import MAX_LOGIT, Compression
from pcrl_gym.envs.task import Task, make_task
from pcrl_gym.prompts.prompt import Prompt
from policies import CERTIFICATE

TEXTS = ("Could you please sort these words for me: pear, fig, apple", "Please say the last word.")
PROMPTS = [Prompt("0", TEXTS[0]), Prompt("1", TEXTS[1], input="fig, pear"), Prompt("2", "Hi")]


def left(task: Task, agent: PolicyAgent) -> list[str]:
    episodes = task.episodes[:]
    observations, infos = task.begin(episodes)
    masks = agent.act(observations, infos)
    assert masks.shape == observations["droppable"].shape
    assert (masks[observations["attention_mask"] == 0] == 0).all()
    return [e.compress(mask[: len(e)]) for e, mask in zip(episodes, masks, strict=True)]


def test_it_drops_what_the_compressor_drops() -> None:
    task = make_task(dataset=PROMPTS[:1], device="cpu")
    [text] = left(task, PolicyAgent(model="micro", rate=0.4, device="cpu"))
    expected = Compressor.from_pretrained("micro", device="cpu")(TEXTS[0], rate=0.4).text
    assert expected in text
    assert len(expected) < len(TEXTS[0])


@pytest.mark.parametrize("rate", [None, 0.0, 0.3, 1.0])
def test_units_of_the_task_are_dropped_whole(rate: float | None) -> None:
    own, other = PolicyAgent("micro", rate, "cpu"), make_agent("policy", model="micro", rate=rate)
    tokens = make_task(dataset=PROMPTS, device="cpu")
    words = make_task(dataset=PROMPTS, device="cpu", unit="word", tokenizer=models.gpt2_tokenizer())
    assert left(tokens, own) == left(tokens, other)
    by_words = left(words, own)
    for text, tokenwise in zip(by_words, left(tokens, own), strict=True):
        assert len(text) >= len(tokenwise)
    if rate == 0.0:
        assert by_words == [episode.text for episode in words.episodes[:]]
    if rate == 1.0:
        assert by_words == [
            episode.compress(np.zeros(len(episode), np.bool_)) for episode in words.episodes[:]
        ]


def test_a_tolerance_and_protection_reach_the_compressor() -> None:
    compressor = Compressor.from_pretrained("instruct", device="cpu")
    text = "Could you please list at most three rivers, but not the Nile, for my homework?"
    task = make_task(dataset=[Prompt("0", text)], device="cpu")
    for options in ({"tolerance": 0.3}, {"rate": 0.4, "protect": "constraints"}):
        [found] = left(task, PolicyAgent(device="cpu", **options))
        assert compressor(text, **options).text in found


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rate": 1.5}, "rate must be between 0 and 1"),
        ({"rate": 0.2, "tolerance": 0.1}, "pass only one of rate, target_tokens, and tolerance"),
        ({"tolerance": -1.0}, "tolerance must be at least 0"),
        ({"protect": "all"}, "protect must be 'constraints' or None"),
        ({"backend": "int4"}, "backend must be 'auto', 'torch', 'onnx', or 'int8'"),
        ({"backend": "int8", "device": "cuda"}, "backend='int8' runs on the CPU"),
    ],
)
def test_invalid_options_are_rejected_before_anything_is_loaded(
    options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        PolicyAgent(**options)


def test_keep_logits_of_other_units_are_means_over_characters() -> None:
    """The text from the first group on has the compressor's units "ab ", "cd" and " e"."""
    [episode] = make_task(dataset=[Prompt("0", "ab cde")], unit="word", device="cpu").episodes[:]
    place = episode.text.index("ab")
    free = [start >= place and end <= place + 6 for start, end in episode.spans]
    groups = np.where(free, np.cumsum(free) - 1, -1)

    def compressor(texts: list[str]) -> list[Compression]:
        assert texts == [episode.text[slice(*spans)] for spans in [whole]]
        return [
            Compression(
                original=texts[0],
                text=texts[0],
                units=((0, 2), (2, 4), (4, len(texts[0]))),
                keep_probabilities=(0.5, 1.0, 1 / (1 + np.e)),
                droppable=(True, False, True),
                kept=(True, True, True),
                original_tokens=3,
                compressed_tokens=3,
            )
        ]

    spans = group_spans(episode, groups)
    whole = (spans[0][0], spans[-1][1])
    [logits] = keep_logits(compressor, [episode], [groups])
    by_character = [0.0] * 2 + [MAX_LOGIT] * 2 + [-1.0] * (whole[1] - whole[0] - 4)
    start = whole[0]
    assert logits == pytest.approx([np.mean(by_character[a - start : b - start]) for a, b in spans])


def test_prompts_without_a_group_have_no_keep_logits() -> None:
    [episode] = make_task(dataset=PROMPTS[2:], device="cpu").episodes[:]
    nothing = np.full(len(episode), -1)
    assert keep_logits(Compressor.from_pretrained("micro"), [episode], [nothing])[0].shape == (0,)


def test_without_a_rate_that_of_the_certificate_counts(tmp_path: Path) -> None:
    policy = Compressor.from_pretrained("micro", device="cpu")
    policy.certificate = replace(CERTIFICATE, rate=0.1)
    policy.save_pretrained(tmp_path / "safe")
    task = make_task(dataset=PROMPTS, device="cpu")
    certified = PolicyAgent(model=str(tmp_path / "safe"), device="cpu")
    texts = left(task, certified)
    assert texts == left(task, PolicyAgent("micro", 0.1, "cpu"))
    assert texts != left(task, PolicyAgent("micro", device="cpu"))


def test_a_missing_compressor_is_reported_by_act() -> None:
    task = make_task(dataset=PROMPTS, device="cpu")
    with pytest.raises(ValueError, match="no-such-folder"):
        left(task, PolicyAgent(model="no-such-folder"))
