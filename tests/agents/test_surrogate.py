from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import models
from agents.surrogate import SurrogateAgent, ridge_costs
from fakes import CountingGenerator
from pcrl_gym.envs.task import Task, make_task
from pcrl_gym.prompts.prompt import Prompt


def task_of(*instructions: str, **options: Any) -> tuple[Task, CountingGenerator]:
    """Prompts whose answer is "beta delta", less probable without either word."""
    prompts = [Prompt(id=str(i), instruction=text) for i, text in enumerate(instructions)]
    generator = CountingGenerator(answer=lambda _: "beta delta")
    generator.tokenizer, generator.fingerprint = models.gpt2_tokenizer(), "counting"
    return make_task(dataset=prompts, generator=generator, unit="word", **options), generator


def left(agent: SurrogateAgent, task: Task) -> list[str]:
    agent.attach(task)
    episodes = task.episodes[:]
    masks = agent.act(*task.begin(episodes))
    return [e.compress(mask[: len(e)]) for e, mask in zip(episodes, masks, strict=True)]


@settings(max_examples=30)
@given(st.lists(st.floats(-3, 3), min_size=1, max_size=8), st.floats(-2, 2), st.integers(0, 99))
def test_additive_losses_are_recovered(costs: list[float], base: float, seed: int) -> None:
    dropped = np.random.default_rng(seed).random((4_000, len(costs))) < 0.5
    found = ridge_costs(dropped, base + dropped @ np.array(costs))
    np.testing.assert_allclose(found, costs, atol=0.02)


def test_a_group_that_is_always_dropped_costs_nothing() -> None:
    dropped = np.array([[1, 0], [1, 1], [1, 0]], dtype=bool)
    found = ridge_costs(dropped, np.array([0.0, 3.0, 0.0]))
    # The centered column is (-1, 2, -1) / 3, so the cost is 2 / (2 / 3 + 3).
    np.testing.assert_allclose(found, [0.0, 6 / 11])


def test_units_that_the_answer_needs_are_kept() -> None:
    texts = left(SurrogateAgent(rate=0.5), task_of("alpha beta gamma delta", "beta or delta")[0])
    for text in texts:
        assert "beta" in text
        assert "delta" in text
    assert "alpha" not in texts[0]
    assert "gamma" not in texts[0]


def test_a_prompt_without_units_is_left_alone() -> None:
    task, _ = task_of("alpha", force_keep=["alpha"])
    (text,) = left(SurrogateAgent(), task)
    assert text == task.episodes[0].text


def test_the_number_of_passes_does_not_depend_on_the_prompt(tmp_path: Path) -> None:
    text = " ".join(f"word{n} beta delta" for n in range(30))
    task, generator = task_of(text, cache=tmp_path / "answers.db")
    texts = left(SurrogateAgent(samples=8), task)
    asked = sum(map(len, generator.likelihood_calls))
    assert 8 <= asked <= 8 + 2  # the original, and the reference of the losses
    again, generator = task_of(text, cache=tmp_path / "answers.db")
    assert left(SurrogateAgent(samples=8), again) == texts
    assert not generator.likelihood_calls
    left(SurrogateAgent(samples=8, seed=1), again)
    assert generator.likelihood_calls


def test_masks_do_not_depend_on_the_other_prompts() -> None:
    alone = left(SurrogateAgent(samples=4), task_of("alpha beta gamma delta epsilon")[0])
    texts = "beta first", "alpha beta gamma delta epsilon"
    assert left(SurrogateAgent(samples=4), task_of(*texts)[0])[1:] == alone


@pytest.mark.parametrize(
    ("options", "message"),
    [({"rate": 1.5}, "rate"), ({"samples": 1}, "samples"), ({"seed": -1}, "seed")],
)
def test_numbers_out_of_range_are_refused(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SurrogateAgent(**options)
