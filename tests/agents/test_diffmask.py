"""Differentiable masking: masks keep their budgets, and gradients teach which words count."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from agent_fixtures import check_take_over, weights
from agents.diffmask import DiffMaskAgent
from agents.diffmask_training import relaxed_masks
from agents.random_agent import RandomAgent
from fakes import CountingGenerator
from pcrl_gym import load_prompts
from pcrl_gym.generators.hf import HFGenerator
from pcrl_gym.prompts.prompt import Prompt
from pcrl_gym.sb3.vec_env import DictInfoToList

OWN: dict[str, Any] = {"encoder": "micro-seq2seq", "batch_size": 16, "device": "cpu"}


@pytest.fixture(scope="module")
def micro() -> HFGenerator:
    return HFGenerator.from_pretrained("micro", device="cpu")


def make_env(generator: Any, num_envs: int, **options: Any) -> gym.vector.VectorEnv:
    settings = {"dataset": load_prompts("micro", "validation_seen")[:32], "reward": "likelihood"}
    made = {**settings, "generator": generator, "tokenizer": "micro", **options}
    return gym.make_vec("pcrl_gym:PromptCompression-v0", num_envs=num_envs, **made)


@given(
    logits=st.lists(st.floats(-30, 30), min_size=1, max_size=8),
    rate=st.floats(0.01, 0.99),
    temperature=st.floats(0.1, 2.0),
)
def test_masks_keep_their_budget(logits: list[float], rate: float, temperature: float) -> None:
    row = torch.tensor([[*logits, 99.0]])
    valid = torch.tensor([[True] * len(logits) + [False]])
    masks = relaxed_masks(row, valid, temperature, torch.tensor([rate]))
    assert masks.sum() == pytest.approx((1 - rate) * len(logits), abs=1e-2)
    assert masks[0, -1] == 0
    order = np.argsort(logits, kind="stable")
    assert (np.diff(masks[0].numpy()[order]) >= 0).all()


def test_without_a_rate_the_logits_decide() -> None:
    logits, valid = torch.tensor([[0.0, 2.0, -2.0]]), torch.ones(1, 3, dtype=torch.bool)
    masks = relaxed_masks(logits, valid, 2.0, torch.tensor([torch.nan]))
    assert masks[0].tolist() == pytest.approx([0.5, 1 / (1 + np.exp(-1)), 1 / (1 + np.exp(1))])
    assert relaxed_masks(logits, ~valid, 2.0, torch.tensor([torch.nan])).tolist() == [[0, 0, 0]]


def test_gradients_go_through_the_budget() -> None:
    """Against finite differences; what raises one word's gate lowers those of the others."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn((1, 5), generator=generator, dtype=torch.float64)
    wish = torch.randn((1, 5), generator=generator, dtype=torch.float64)
    valid = torch.tensor([[True, True, True, True, False]])

    def value(given_logits: torch.Tensor) -> torch.Tensor:
        return (relaxed_masks(given_logits, valid, 0.7, torch.tensor([0.4])) * wish).sum()

    learned = logits.clone().requires_grad_()
    value(learned).backward()
    step = 1e-3
    for place in range(5):
        moved = torch.zeros_like(logits)
        moved[0, place] = step
        slope = (value(logits + moved) - value(logits - moved)) / (2 * step)
        assert float(learned.grad[0, place]) == pytest.approx(float(slope), abs=1e-4)
    assert float(learned.grad.sum()) == pytest.approx(0, abs=1e-6)


def test_it_learns_which_words_the_answer_needs(micro: HFGenerator) -> None:
    agent = DiffMaskAgent(budgeted=1.0, **OWN)
    agent.train(lambda n: make_env(micro, n), episodes=32 * 12, progress=False)
    agent.rate = 0.4
    env = DictInfoToList(make_env(micro, 32))
    task = env.unwrapped.task
    loss = []
    for one in (agent, RandomAgent(rate=0.4, seed=0)):
        masks = one.act(*task.begin(task.episodes[:]))
        loss.append(-task.scorer(task.episodes[:], masks).log_likelihood.mean())
    assert loss[0] < 0.5 * loss[1]


def test_what_dropping_is_worth_decides_how_much_is_dropped(micro: HFGenerator) -> None:
    rates = []
    for ratio_weight in (0.0, 50.0):
        agent = DiffMaskAgent(budgeted=0.0, ratio_weight=ratio_weight, lr=1e-2, **OWN)
        history = agent.train(lambda n: make_env(micro, n), episodes=16 * 8, progress=False)
        rates.append(history[-1]["drop_rate"])  # the last batch has no budget
    assert rates[0] < 0.3 < 0.7 < rates[1]


def test_the_same_seed_learns_the_same_and_learners_take_over(micro: HFGenerator) -> None:
    made = []
    for seed in (0, 0, 1):
        agent = DiffMaskAgent(seed=seed, **OWN)
        agent.train(lambda n: make_env(micro, n), episodes=32, progress=False)
        made.append(weights(agent))
    assert torch.equal(made[0], made[1])
    assert not torch.equal(made[0], made[2])
    check_take_over(lambda: DiffMaskAgent(**OWN), lambda n: make_env(micro, n), updates=4)


def test_prompts_with_nothing_to_drop_teach_nothing(micro: HFGenerator) -> None:
    prompts = [Prompt("0", "sort: fig pear"), Prompt("1", "fig")]
    env = {"dataset": prompts, "force_keep": ("fig", "pear", "sort", ":", " ")}
    agent = DiffMaskAgent(**OWN)
    agent.train(lambda n: make_env(micro, n, **env), episodes=4, progress=False)
    assert torch.isfinite(weights(agent)).all()


def test_other_generators_are_refused() -> None:
    agent = DiffMaskAgent(**OWN)
    with pytest.raises(ValueError, match=r"gradients need a causal transformers model.*counting"):
        agent.train(lambda n: make_env(CountingGenerator(), n), episodes=4, progress=False)
