"""Attributions are derivatives by attention gates, and do not depend on the batch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pcrl_gym.errors import GeneratorError
from pcrl_gym.generators.attribution import GATES
from pcrl_gym.generators.base import Answer
from pcrl_gym.generators.hf import HFGenerator
from pcrl_gym.prompts.prompt_text import PromptText

HEAD = "Instruction: "
TEXTS = ("Sort the words: fig, apple", "Sort 3 14 15", "Is it true that the sun rises in the east?")
PROMPTS = [PromptText(f"{HEAD}{text}\nOutput:", [(0, len(HEAD))]) for text in TEXTS]


def words(prompt: str) -> list[tuple[int, int]]:
    """Ranges of the user's words, each with the space before it; the template has none."""
    found, place = [], len(HEAD)
    for word in prompt[len(HEAD) :].split(" "):
        end = place + len(word)
        found.append((max(place - 1, len(HEAD)), end))
        place = end + 1
    return found


@pytest.fixture(params=["gpt2", "llama"])
def generator(request: pytest.FixtureRequest) -> HFGenerator:
    folder = request.getfixturevalue(f"{request.param}_folder")
    made = HFGenerator.from_pretrained(str(folder), device="cpu")
    made.model.double()
    return made


def asked(generator: HFGenerator) -> tuple[list[str], list[Answer], list[list[tuple[int, int]]]]:
    answers = generator.generate(PROMPTS, 6)
    short = [Answer(a.text, a.token_ids[: 2 + i]) for i, a in enumerate(answers)]
    return list(PROMPTS), short, [words(prompt) for prompt in PROMPTS]


def log_likelihood(
    generator: HFGenerator, row: list[int], target: list[int], gates: torch.Tensor
) -> float:
    """Of an answer if each token of the prompt is attended to by its gate; a plain forward pass."""
    read = torch.tensor([[*row, *target[:-1]]])
    width = read.shape[1]
    weights = torch.ones(width, dtype=torch.float64)
    weights[: len(row)] = gates
    mask = torch.full((width, width), float("-inf"), dtype=torch.float64).triu(1)
    mask += weights.log().expand(width, width).masked_fill(torch.eye(width, dtype=torch.bool), 0)
    with torch.no_grad():
        logits = generator.model(input_ids=read, attention_mask=mask[None, None]).logits[0]
    chosen = logits[-len(target) :].log_softmax(-1)[range(len(target)), target]
    return float(chosen.mean())


def test_they_are_derivatives_by_the_gates(generator: HFGenerator) -> None:
    prompts, answers, pieces = asked(generator)
    found = generator.attributions(prompts, answers, pieces)
    step = 5e-4  # of which float32 in the models' norms leaves three digits
    for prompt, answer, own, values in zip(prompts, answers, pieces, found, strict=True):
        [row] = generator._codec.prompts([prompt])
        [owner] = generator._codec.owners([prompt], [own])
        assert set(owner) >= set(range(len(own)))
        numbers = torch.tensor(owner)
        for n in range(len(own)):
            slopes = []
            for level in GATES:
                gates = torch.where(numbers < 0, 1.0, level).double()
                ends = [
                    log_likelihood(
                        generator, row, list(answer.token_ids), gates + side * (numbers == n)
                    )
                    for side in (-step, step)
                ]
                slopes.append((ends[1] - ends[0]) / (2 * step))
            assert values[n] == pytest.approx(np.mean(slopes), rel=5e-3, abs=1e-3)


def test_they_do_not_depend_on_the_batch(generator: HFGenerator) -> None:
    together = generator.attributions(*asked(generator))
    for values, prompt, answer, own in zip(together, *asked(generator), strict=True):
        [alone] = generator.attributions([prompt], [answer], [own])
        np.testing.assert_allclose(values, alone, atol=1e-6)
        assert np.abs(values).max() > 0


def test_no_gradient_stays_behind(generator: HFGenerator) -> None:
    generator.attributions(*asked(generator))
    assert not any(p.requires_grad or p.grad is not None for p in generator.model.parameters())
    with torch.inference_mode():
        generator.attributions(*asked(generator))


def test_nothing_to_attribute(generator: HFGenerator) -> None:
    assert generator.attributions([], [], []) == []
    prompt, answer = PROMPTS[0], Answer("a", (5,))
    [values] = generator.attributions([prompt], [Answer("")], [words(prompt)])
    assert values.tolist() == [0.0] * len(words(prompt))
    none, inside = generator.attributions([prompt] * 2, [answer] * 2, [[], [(0, 4)]])
    assert none.shape == (0,)
    assert inside.tolist() == [0.0], "the template is always read"


def test_what_is_wrong_is_said(generator: HFGenerator, t5_folder: Path, monkeypatch: Any) -> None:
    with pytest.raises(ValueError, match="expected one list of pieces per prompt, got 0 for 1"):
        generator.attributions(["a"], [Answer("a", (5,))], [])
    encoder_decoder = HFGenerator.from_pretrained(str(t5_folder), device="cpu")
    with pytest.raises(ValueError, match="gives no attributions: expected a causal model"):
        encoder_decoder.attributions([], [], [])
    with torch.no_grad():
        generator.model.get_output_embeddings().weight[:] = float("nan")
    with pytest.raises(GeneratorError, match=r"failed in attributions .* not finite"):
        generator.attributions([PROMPTS[0]], [Answer("a", (5,))], [words(PROMPTS[0])])
