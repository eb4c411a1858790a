"""Attributions are derivatives by attention gates, and do not depend on the batch."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pcrl_gym.errors import GeneratorError
from pcrl_gym.generators import attribution
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


@pytest.mark.parametrize("head", [HEAD, HEAD + "You are a terse assistant. " * 6])
def test_gates_of_their_own(generator: HFGenerator, head: str) -> None:
    """A shared beginning is read once, and changes nothing."""
    prompts: list[str] = [
        PromptText(f"{head}{text}\nOutput:", [(0, len(head))])
        for text in ("Sort fig, pear", "Sort fig, 12 plums", "Sort")
    ]
    pieces = [
        [(len(head) + a, len(head) + b) for a, b in own]
        for own in ([(0, 4), (4, 8), (9, 14)], [(4, 8), (9, 12)], [(0, 4)])
    ]
    answers = [Answer("", (5, 9)), Answer("", (7,)), Answer("", (5, 9, 6))]
    gates = [np.array([0.9, 0.1, 0.4]), np.array([0.02, 1.0]), np.array([0.5])]
    found = generator.attributions(prompts, answers, pieces, gates)
    step = 5e-4
    for i, (prompt, answer) in enumerate(zip(prompts, answers, strict=True)):
        [row] = generator._codec.prompts([prompt])
        [owner] = generator._codec.owners([prompt], [pieces[i]])
        numbers = torch.tensor(owner)
        opened = torch.tensor([*gates[i], 1.0])[numbers]
        for n, value in enumerate(found[i]):
            ends = [
                log_likelihood(
                    generator, row, list(answer.token_ids), opened + side * (numbers == n)
                )
                for side in (-step, step)
            ]
            assert value == pytest.approx((ends[1] - ends[0]) / (2 * step), rel=5e-3, abs=1e-3)


def test_a_batch_that_does_not_fit_is_read_again(
    generator: HFGenerator, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = generator.attributions(*asked(generator))
    real, calls = attribution.gate_slopes, []

    def short_of_memory(*arguments: Any) -> Any:
        calls.append(len(arguments[2]))
        if len(calls) == 2:
            raise torch.OutOfMemoryError("no more")
        return real(*arguments)

    monkeypatch.setattr("pcrl_gym.generators.hf.gate_slopes", short_of_memory)
    budget = generator.readings.tokens
    for one, other in zip(generator.attributions(*asked(generator)), expected, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)
    assert calls[:3] == [3, 3, 1]
    assert generator.readings.tokens == budget


def test_parts_of_a_token_share_its_value(generator: HFGenerator) -> None:
    prompt, answer = PROMPTS[0], Answer("", (5, 9))
    [row] = generator._codec.prompts([prompt])
    places = generator._codec._encoder.prompt_places([prompt])[0]
    begin, end = next(
        (a, b) for a, b in pairwise([p for p in places if p >= 0] + [len(prompt)]) if b - a > 1
    )
    halves = [(begin, begin + 1), (begin + 1, end)]
    [whole], [parts] = (
        generator.attributions([prompt], [answer], [own]) for own in ([(begin, end)], halves)
    )
    assert parts.tolist() == pytest.approx([whole[0]] * 2)
    assert len(generator._codec.owners([prompt], [halves])[0]) == len(row)


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
    for pieces in ([(0, 4), (3, 6)], [(0, 99)], [(-1, 2)]):
        with pytest.raises(ValueError, match="sorted, non-overlapping pieces within the 4 char"):
            generator.attributions(["abcd"], [Answer("a", (5,))], [pieces])
    for gates in ([0.5, 0.5], [0.0], [float("nan")]):
        with pytest.raises(ValueError, match="one finite gate above 0 for each of 1 pieces"):
            generator.attributions(["ab"], [Answer("a", (5,))], [[(0, 1)]], [np.array(gates)])
    encoder_decoder = HFGenerator.from_pretrained(str(t5_folder), device="cpu")
    with pytest.raises(ValueError, match="does not support attributions: expected a causal model"):
        encoder_decoder.attributions([], [], [])
    with torch.no_grad():
        generator.model.get_output_embeddings().weight[:] = float("nan")
    with pytest.raises(GeneratorError, match=r"failed in attributions .* not finite"):
        generator.attributions([PROMPTS[0]], [Answer("a", (5,))], [words(PROMPTS[0])])
