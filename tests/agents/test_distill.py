"""Distillation learns from the measured costs of words which may go, and measures each once."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
import torch

from agent_fixtures import KEYS, check_take_over, colour_prompts, named_colours, weights
from agents.base import TrainableAgent
from agents.distill import DistillAgent
from agents.distill_training import target_logits
from agents.scst import SCSTAgent
from fakes import CountingGenerator
from keyword_env import KeywordVectorEnv
from pcrl_gym.prompts.prompt import Prompt

OWN = {"encoder": "small", "hidden_size": 16, "num_layers": 1, "batch_size": 8, "lr": 1e-2}


def make_env(num_envs: int, **options) -> gym.vector.VectorEnv:
    generator = CountingGenerator(named_colours)
    generator.fingerprint = "colours"
    settings = {
        "dataset": colour_prompts(),
        "generator": generator,
        "unit": "word",
        "max_units": 16,
        "reward": "faithful",
    }
    return gym.make_vec("pcrl_gym:PromptCompression-v0", num_envs=num_envs, **(settings | options))


def trained(episodes: int = 200, seed: int = 0, **settings) -> DistillAgent:
    agent = DistillAgent(seed=seed, device="cpu", **(OWN | settings))
    agent.history = agent.train(make_env, episodes=episodes, progress=False)
    return agent


def test_it_learns_which_words_cost_nothing() -> None:
    agent = trained(episodes=8_000, lr=3e-2)
    assert isinstance(agent, TrainableAgent)
    assert agent.history[-1]["correlation"] > 0.9
    env = make_env(8)
    observations, infos = env.reset(seed=0)
    masks = agent.act(observations, [
        {key: values[i] for key, values in infos.items()} for i in range(8)
    ])  # fmt: skip
    for i, mask in enumerate(masks):
        prompt, spans = infos["prompt"][i], infos["spans"][i]
        for place in np.flatnonzero(observations["droppable"][i]):
            word = prompt[slice(*spans[place])].strip()
            if word in KEYS and prompt.count(word) > 1:
                continue  # one of two equal words costs nothing
            assert bool(mask[place]) == (word in KEYS), word


def test_costs_are_measured_once_per_prompt() -> None:
    generator = CountingGenerator(named_colours)
    agent = DistillAgent(device="cpu", prompts=10, **OWN)
    agent.train(lambda n: make_env(n, generator=generator), episodes=2_000, progress=False)
    asked = sum(len(call) for call in generator.likelihood_calls)
    assert asked <= 10 * (8 + 1)  # a pass per word, and the original
    first = DistillAgent(device="cpu", prompts=10, seed=5, **OWN)
    first.train(lambda n: make_env(n, generator=generator), episodes=2_000, progress=False)
    # Another seed learns from the same prompts.
    assert {text for call in generator.likelihood_calls for text in call} == {
        text for call in generator.likelihood_calls[: len(generator.likelihood_calls) // 2]
        for text in call
    }  # fmt: skip


def test_a_policy_teaches_without_the_generator() -> None:
    generator = CountingGenerator(named_colours)
    agent = DistillAgent(device="cpu", teacher="micro", **(OWN | {"lr": 3e-2}))
    history = agent.train(
        lambda n: make_env(n, generator=generator), episodes=8_000, progress=False
    )
    assert history[-1]["correlation"] > 0.9
    assert generator.likelihood_calls == generator.generate_calls == []


def test_a_teacher_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ValueError, match="there is no folder '/no/policy'"):
        DistillAgent(device="cpu", teacher="/no/policy", **OWN).start(make_env)


def test_the_same_seed_learns_the_same() -> None:
    one, same, other = trained(), trained(), trained(seed=1)
    assert torch.equal(weights(one), weights(same))
    assert not torch.equal(weights(one), weights(other))


def test_a_learner_takes_over_from_another() -> None:
    check_take_over(lambda: DistillAgent(device="cpu", **OWN), make_env, updates=4)


def test_prompts_with_nothing_to_drop_teach_nothing() -> None:
    prompts = [Prompt("0", "red now"), Prompt("1", "red", "blue")]
    agent = DistillAgent(device="cpu", **(OWN | {"batch_size": 1}))
    kept = {"dataset": prompts, "force_keep": ("red", "blue"), "reward": "faithful"}
    history = agent.train(lambda n: make_env(n, **kept), episodes=3, progress=False)
    assert {int(b["episodes"] - a["episodes"]) for a, b in pairwise(history)} == {0, 1}


def test_targets_by_hand() -> None:
    assert target_logits(np.array([0.1]), tolerance=0.1) == pytest.approx(0.0)
    low, high = target_logits(np.array([-0.5, 5.0]), tolerance=0.1)
    assert low == pytest.approx(-np.arcsinh(5.0) - np.arcsinh(1.0))
    assert high == pytest.approx(np.arcsinh(50.0) - np.arcsinh(1.0))


def test_other_environments_are_refused() -> None:
    agent = DistillAgent(device="cpu", **OWN)
    with pytest.raises(ValueError, match=r"distill measures .*, so it needs a vector environment"):
        agent.train(KeywordVectorEnv, episodes=8, progress=False)


def test_a_training_starts_from_the_network_of_another(tmp_path: Path) -> None:
    """Distilled costs first, then a policy gradient on rewards."""
    first = trained(episodes=400)
    first.save(tmp_path)
    agent = SCSTAgent(start=str(tmp_path), whole_words=True, device="cpu", batch_size=4, samples=2)
    learner = agent.start(make_env)
    assert torch.equal(weights(agent), weights(first))
    learner.update(0.0)
    learner.close()
    assert not torch.equal(weights(agent), weights(first))


def test_what_a_training_cannot_start_from_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"start='x' already includes an encoder: set"):
        SCSTAgent(start="x", encoder="small")
    trained(episodes=8).save(tmp_path / "trained")
    agent = SCSTAgent(start=str(tmp_path / "trained"), freeze_encoder=True, device="cpu")
    with pytest.raises(ValueError, match="was trained with freeze_encoder=False: set the same"):
        agent.start(make_env)
    agent = SCSTAgent(start=str(tmp_path), device="cpu")
    with pytest.raises(ValueError, match="does not contain a saved network"):
        agent.start(make_env)
