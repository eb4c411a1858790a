"""Agents learn on micro itself, not only on toy rewards."""

from __future__ import annotations

import numpy as np
import pytest

from agents import make_agent
from benchmarks.evaluate import evaluate
from pcrl_gym.envs.task import make_task
from pcrl_gym.envs.vector_env import PromptCompressionVectorEnv
from pcrl_gym.generators.loading import load_generator


@pytest.mark.slow
@pytest.mark.parametrize(("name", "episodes"), [("ppo", 8_000), ("scst", 20_000)])
def test_a_learner_earns_much_more_than_stop_words_on_micro(name: str, episodes: int):
    generator = load_generator("micro", device="cpu")
    task = make_task(split="validation_seen", generator=generator)

    def mean_reward(agent):
        records = evaluate(agent, task, name=agent.name, split="validation_seen", seed=0)
        return np.mean([record.reward for record in records])

    learner = make_agent(name, seed=0)
    learner.train(
        lambda num_envs: PromptCompressionVectorEnv(num_envs, generator=generator),
        episodes=episodes,
    )
    assert mean_reward(learner) > 1.6 * mean_reward(make_agent("stopwords"))
