"""What all prompts begin with is read once, and changes no answer."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pcrl_gym.generators.base import Answer
from pcrl_gym.generators.hf import HFGenerator
from pcrl_gym.generators.speculative import kv_cache
from pcrl_gym.generators.speculative.kv_cache import MIN_PREFIX, SharedPrefix

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
