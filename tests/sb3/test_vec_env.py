"""The Stable-Baselines3 adapter hands on what the vector environment does."""

from __future__ import annotations

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from stable_baselines3.common.vec_env import DummyVecEnv, VecMonitor

from fakes import CountingGenerator
from keyword_env import MAX_UNITS, KeywordVectorEnv
from pcrl_gym.prompts.prompt import Prompt
from pcrl_gym.sb3 import SB3VecEnv

N = 3


def cart_poles(count: int = N) -> list:
    return [lambda: gym.make("CartPole-v1", max_episode_steps=15) for _ in range(count)]


def test_equal_to_dummy_vec_env_transition_for_transition() -> None:
    ours = SB3VecEnv(SyncVectorEnv(cart_poles(), autoreset_mode=AutoresetMode.SAME_STEP))
    theirs = DummyVecEnv(cart_poles())
    for env in (ours, theirs):
        env.seed(7)
    np.testing.assert_array_equal(ours.reset(), theirs.reset())
    rng = np.random.default_rng(0)
    ends = set()
    for _ in range(60):
        actions = rng.integers(0, 2, N)
        (obs, rewards, dones, infos), (obs2, rewards2, dones2, infos2) = (
            env.step(actions) for env in (ours, theirs)
        )
        np.testing.assert_array_equal(obs, obs2)
        np.testing.assert_array_equal(rewards, rewards2)
        np.testing.assert_array_equal(dones, dones2)
        for done, info, info2 in zip(dones, infos, infos2, strict=True):
            assert info.keys() == info2.keys()
            assert info["TimeLimit.truncated"] == info2["TimeLimit.truncated"]
            if done:
                ends.add(info["TimeLimit.truncated"])
                np.testing.assert_array_equal(
                    info["terminal_observation"], info2["terminal_observation"]
                )
    assert ends == {True, False}
    ours.close()


def test_equal_to_dummy_vec_env_on_prompts(gpt2_tokenizer) -> None:
    options = {
        "dataset": [Prompt(str(i), "say the word " * i, "one two three") for i in range(1, 6)],
        "generator": CountingGenerator(),
        "tokenizer": gpt2_tokenizer,
        "max_units": 24,
    }
    name = "pcrl_gym:PromptCompression-v0"
    ours = SB3VecEnv(gym.make_vec(name, num_envs=N, **options))
    theirs = DummyVecEnv([lambda: gym.make(name, **options)] * N)
    rng = np.random.default_rng(0)
    for indices in ([0, 1, 2], [4, 3, 2]):
        ours.set_options({"index": indices})
        theirs.set_options([{"index": i} for i in indices])
        obs, obs2 = ours.reset(), theirs.reset()
        assert [i["prompt_id"] for i in ours.reset_infos] == [str(i + 1) for i in indices]
        for key in obs:
            np.testing.assert_array_equal(obs[key], obs2[key])
        np.testing.assert_array_equal(
            np.stack(ours.env_method("action_masks")), np.stack(theirs.env_method("action_masks"))
        )
        actions = rng.integers(0, 2, (N, 24))
        (_, rewards, dones, infos), (_, rewards2, dones2, infos2) = (
            env.step(actions) for env in (ours, theirs)
        )
        np.testing.assert_array_equal(rewards, rewards2)
        np.testing.assert_array_equal(dones, dones2)
        for info, info2 in zip(infos, infos2, strict=True):
            np.testing.assert_equal(info, info2)
    ours.close()


def test_seed_is_used_once_and_options_reach_the_environment() -> None:
    env = SB3VecEnv(KeywordVectorEnv(N))
    env.seed(3)
    first = env.reset()
    second = env.reset()
    env.seed(3)
    again = env.reset()
    np.testing.assert_array_equal(first["input_ids"], again["input_ids"])
    assert (first["input_ids"] != second["input_ids"]).any()


def test_batched_masks_and_attributes_are_split() -> None:
    env = SB3VecEnv(KeywordVectorEnv(N))
    env.reset()
    masks = env.env_method("action_masks")
    assert len(masks) == N
    assert masks[0].shape == (2 * MAX_UNITS,)
    np.testing.assert_array_equal(env.env_method("action_masks", indices=[2])[0], masks[2])
    assert env.has_attr("action_masks")
    assert not env.has_attr("no_such_thing")
    assert env.get_attr("num_envs", indices=0) == [N]
    assert env.env_is_wrapped(gym.Wrapper) == [False] * N
    env.set_attr("mark", 5)
    assert env.get_attr("mark") == [5] * N
    with pytest.raises(ValueError, match="indices=None"):
        env.set_attr("mark", 6, indices=[0])


def test_final_infos_and_monitor() -> None:
    env = VecMonitor(SB3VecEnv(KeywordVectorEnv(N)))
    first = env.reset()
    _, rewards, dones, infos = env.step(np.ones((N, MAX_UNITS), dtype=np.int8))
    assert dones.all()
    assert rewards.dtype == np.float32
    for i, info in enumerate(infos):
        assert info["drop_rate"] == 0.0
        assert info["episode"]["l"] == 1
        np.testing.assert_array_equal(
            info["terminal_observation"]["input_ids"], first["input_ids"][i]
        )


def test_other_autoreset_modes_are_refused() -> None:
    env = SyncVectorEnv(cart_poles(), autoreset_mode=AutoresetMode.NEXT_STEP)
    with pytest.raises(ValueError, match="SAME_STEP"):
        SB3VecEnv(env)
    env.close()
