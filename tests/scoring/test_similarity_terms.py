"""Every number in `info` means what its name says, whatever mask an agent chooses."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest

import policies
from agents import AGENTS, make_agent
from pcrl_gym.envs.vector_env import PromptCompressionVectorEnv
from pcrl_gym.scoring.rouge import MEASURES, UNICODE_ROUGE_L

ID = "pcrl_gym:PromptCompression-v0"
N = 24
# These return texts, or need a model or a file.
OTHERS = ("compressor", "recorded", "rewriting", "token_classifier")


@pytest.fixture(scope="module")
def envs() -> PromptCompressionVectorEnv:
    return PromptCompressionVectorEnv(N, split="validation_seen", device="cpu")


def masks_of(name: str, envs: PromptCompressionVectorEnv, observation: Any, info: Any) -> Any:
    agent = make_agent(name, seed=0)
    if hasattr(agent, "attach"):
        agent.attach(envs.task)
    if hasattr(agent, "network"):
        agent.network = policies.network(len(envs.task.tokenizer))
    keys = [key for key in info if not key.startswith("_")]
    return agent.act(observation, [{key: info[key][i] for key in keys} for i in range(N)])


@pytest.mark.parametrize("name", [name for name in AGENTS if name not in OTHERS])
def test_similarity_is_that_of_the_two_whole_answers(
    name: str, envs: PromptCompressionVectorEnv
) -> None:
    observation, info = envs.reset(seed=1)
    _, rewards, _, _, info = envs.step(masks_of(name, envs, observation, info))
    final = info["final_info"]
    generator = envs.task.scorer.generator
    whole = generator.generate(list(final["compressed_prompt"]), 30)
    assert [answer.text for answer in whole] == list(final["compressed_output"])
    expected = [
        UNICODE_ROUGE_L(*pair)
        for pair in zip(final["compressed_output"], final["output"], strict=True)
    ]
    np.testing.assert_array_equal(final["similarity"], expected)
    np.testing.assert_array_equal(final["survived"], np.array(expected) > 0.9)
    np.testing.assert_array_equal(
        rewards, np.where(final["survived"], final["compression_ratio"], -0.01)
    )
    assert not final["partial"].any()


@pytest.mark.parametrize("measure", MEASURES)
@pytest.mark.parametrize("threshold", [0.5, 0.9])
def test_early_stopping_pays_the_same_and_claims_no_similarity(
    measure: str, threshold: float
) -> None:
    reward = f"threshold:threshold={threshold},measure={measure}"
    whole, early = (
        gym.make_vec(ID, num_envs=64, reward=reward, device="cpu", early_stopping=stopping)
        for stopping in (False, True)
    )
    rng = np.random.default_rng(0)
    unfinished = 0
    for seed in range(3):
        for env in (whole, early):
            env.reset(seed=seed)
        actions = (rng.random((64, 128)) > 0.2).astype(np.int8)
        _, full_rewards, _, _, full = whole.step(actions)
        _, rewards, _, _, info = early.step(actions)
        full, info = full["final_info"], info["final_info"]
        np.testing.assert_array_equal(rewards, full_rewards)
        np.testing.assert_array_equal(info["survived"], full["survived"])
        np.testing.assert_array_equal(full["survived"], full["similarity"] > threshold)
        finished = ~info["partial"]
        assert np.isnan(info["similarity"][~finished]).all()
        np.testing.assert_array_equal(info["similarity"][finished], full["similarity"][finished])
        unfinished += (~finished).sum()
    assert unfinished
