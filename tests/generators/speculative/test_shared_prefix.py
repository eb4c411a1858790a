"""What all prompts begin with is read once, and changes no answer."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pcrl_gym.generators.base import Answer
from pcrl_gym.generators.hf import HFGenerator
from pcrl_gym.generators.speculative import kv_cache
from pcrl_gym.generators.speculative.kv_cache import (
    MIN_PREFIX,
    SharedPrefix,
    common_length,
    prefix_groups,
)

SYSTEM = 2 * "Please sort the numbers from the smallest to the largest: "
PROMPTS = [SYSTEM + end for end in ("3 14 15", "92", "65 35 8 and the plums", "1 1", "x")]
NEW = 10


@pytest.fixture(params=["gpt2", "llama"])
def generator(request: pytest.FixtureRequest) -> HFGenerator:
    folder: Path = request.getfixturevalue(f"{request.param}_folder")
    return HFGenerator.from_pretrained(str(folder), device="cpu")


@pytest.fixture
def lengths(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Lengths of the prefixes that were read."""
    found: list[int] = []
    read = SharedPrefix.__init__

    def counted(self: SharedPrefix, model: object, tokens: list[int]) -> None:
        found.append(len(tokens))
        read(self, model, tokens)

    monkeypatch.setattr(SharedPrefix, "__init__", counted)
    return found


@pytest.mark.parametrize("drafts", ["original", "none", "wrong"])
def test_answers_are_those_of_generate(
    generator: HFGenerator, lengths: list[int], drafts: str
) -> None:
    expected = generator.generate(PROMPTS, NEW)
    given = {
        "original": expected,
        "none": [""] * len(PROMPTS),
        "wrong": [*expected[1:], expected[0]],
    }[drafts]
    assert generator.generate_from(PROMPTS, given, NEW) == expected
    assert len(lengths) == 1
    assert lengths[0] >= MIN_PREFIX


def test_likelihoods_are_those_without_a_prefix(
    generator: HFGenerator, lengths: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = generator.generate(PROMPTS, NEW)
    answers[1] = Answer("")  # not scored
    shared = generator.log_likelihood(PROMPTS, answers)
    assert len(lengths) == 1
    monkeypatch.setattr(kv_cache, "MIN_PREFIX", 10_000)
    np.testing.assert_allclose(shared, generator.log_likelihood(PROMPTS, answers), atol=1e-5)
    assert len(lengths) == 1


def test_at_least_one_token_of_each_prompt_is_left(
    generator: HFGenerator, lengths: list[int]
) -> None:
    same = [PROMPTS[0]] * 9
    assert generator.generate_from(same, [""] * 9, NEW) == generator.generate(same, NEW)
    assert lengths == [len(generator._codec.prompts(same)[0]) - 1]


@pytest.mark.parametrize(
    "prompts", [[], PROMPTS[:1], ["a b", "c d"], ["Is it", "Is true"] * 60, PROMPTS[:2]]
)
def test_nothing_is_read_apart_for_one_prompt_or_a_short_beginning(
    generator: HFGenerator, lengths: list[int], prompts: list[str]
) -> None:
    drafts = [""] * len(prompts)
    assert generator.generate_from(prompts, drafts, NEW) == generator.generate(prompts, NEW)
    assert lengths == []


@given(
    rows=st.lists(st.lists(st.integers(0, 1), min_size=1, max_size=40), max_size=30),
    answer=st.integers(0, 5),
    budget=st.integers(1, 200),
)
def test_each_row_is_in_one_group_that_saves_reading(
    rows: list[list[int]], answer: int, budget: int
) -> None:
    sizes = [len(row) + answer for row in rows]
    groups = prefix_groups(rows, sizes, budget)
    assert sorted(i for group in groups for i in group) == list(range(len(rows)))
    base = common_length(min(rows, default=[]), max(rows, default=[]))
    *own, _rest = groups or [[]]
    for group in own:
        inside = [rows[i] for i in group]
        depth = common_length(min(inside), max(inside))
        longest = max(sizes[i] for i in group)
        read = depth + len(group) * (longest - depth)
        assert read < sum(sizes[i] - base for i in group)


def test_masks_that_drop_one_unit_each_share_half_of_the_prompt() -> None:
    prompt = list(range(100))
    rows = [prompt[:i] + prompt[i + 1 :] for i in range(99)]
    groups = prefix_groups(rows, [len(row) for row in rows], 512)
    read = 0
    for group in groups:
        inside = [rows[i] for i in group]
        depth = common_length(min(inside), max(inside))
        read += depth + sum(len(row) - depth for row in inside)
    assert read < 0.65 * 99 * 99


def test_likelihoods_of_such_masks_are_those_without_prefixes(
    generator: HFGenerator, lengths: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    words = (SYSTEM + PROMPTS[2][::-1]).split()
    texts = [" ".join(words[:i] + words[i + 1 :]) for i in range(len(words))]
    answers = generator.generate([SYSTEM], NEW) * len(texts)
    generator.readings.tokens = 128
    shared = generator.log_likelihood(texts, answers)
    assert len(lengths) >= 3
    alone = [generator.log_likelihood([text], answers[:1])[0] for text in texts]
    np.testing.assert_allclose(shared, alone, atol=1e-5)


@pytest.mark.parametrize("stop", [False, True])
def test_one_pass_gives_answers_and_likelihoods(generator: HFGenerator, stop: bool) -> None:
    originals = generator.generate([p[::-1] for p in PROMPTS], NEW)
    originals[2] = Answer("")
    decided = (lambda i, text, words: i == 0) if stop else None
    answers, scores = generator.generate_and_score(PROMPTS, originals, NEW, decided)
    assert answers == generator.generate_from(PROMPTS, originals, NEW, decided)
    np.testing.assert_allclose(scores, generator.log_likelihood(PROMPTS, originals), atol=1e-5)
    # A draft longer than the answer may be is scored apart.
    answers, scores = generator.generate_and_score(PROMPTS, originals, 2)
    assert answers == generator.generate(PROMPTS, 2)
    np.testing.assert_allclose(scores, generator.log_likelihood(PROMPTS, originals), atol=1e-5)
