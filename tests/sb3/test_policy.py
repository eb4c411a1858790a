"""Policies for Stable-Baselines3 embed the ids, leave fixed units alone, and learn."""

from __future__ import annotations

import importlib
import sys
import warnings
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.wrappers import FlattenObservation
from sb3_contrib import MaskablePPO
from stable_baselines3 import A2C, PPO

from env_fixtures import ID, options
from keyword_env import VOCABULARY, KeywordVectorEnv, rewards_of
from pcrl_gym.compressor.network import KeepNetwork, small_encoder
from pcrl_gym.errors import MissingExtraError, TrainingDivergedError
from pcrl_gym.sb3 import KeepPolicy, MaskableKeepPolicy, SB3VecEnv


def network(initial_keep: float = 0.9) -> KeepNetwork:
    torch.manual_seed(0)
    return KeepNetwork(small_encoder(VOCABULARY, 32, 1), initial_keep)


def model(num_envs: int = 128, **kwargs) -> PPO:
    return PPO(
        KeepPolicy,
        SB3VecEnv(KeywordVectorEnv(num_envs)),
        n_steps=1,
        batch_size=min(64, num_envs),
        n_epochs=2,
        learning_rate=3e-3,
        gamma=1.0,
        ent_coef=0.01,
        seed=0,
        device="cpu",
        **kwargs,
    )


class Acting:
    """A model as an agent of `keyword_env.rewards_of`."""

    def __init__(self, trained: PPO) -> None:
        self.model = trained

    def act(self, observations, infos) -> np.ndarray:
        return self.model.predict(dict(observations), deterministic=True)[0]


def test_ppo_learns_what_can_be_dropped() -> None:
    learner = model(policy_kwargs={"network": network()})
    assert rewards_of(Acting(learner)) < 0.05
    learner.learn(6_144)
    assert rewards_of(Acting(learner)) > 0.5  # the best masks earn 0.83


def test_fixed_units_are_kept_and_add_nothing() -> None:
    policy = model(4, policy_kwargs={"network": network(0.5)}).policy
    observations, _ = KeywordVectorEnv(4).reset(seed=1)
    tensors = {key: torch.as_tensor(value) for key, value in observations.items()}
    free = tensors["droppable"].bool()
    actions, _, log_probs = policy(tensors)
    assert actions[~free].eq(1).all()
    assert 0 < float(actions[free].float().mean()) < 1
    distribution = policy.get_distribution(tensors).distribution
    np.testing.assert_array_equal(distribution.log_prob(actions)[~free].detach(), 0.0)
    np.testing.assert_array_equal(distribution.entropy()[~free].detach(), 0.0)
    expected = distribution.log_prob(actions)[free].sum()
    torch.testing.assert_close(log_probs.sum(), expected)


def test_both_policies_rate_masks_alike() -> None:
    """With and without sb3-contrib's action masks; padding is kept by one, dropped by the other."""
    plain = model(8, policy_kwargs={"network": network()}).policy
    env = SB3VecEnv(KeywordVectorEnv(8))
    masked = MaskablePPO(
        MaskableKeepPolicy, env, policy_kwargs={"network": network()}, n_steps=1, device="cpu"
    ).policy
    tensors = {key: torch.as_tensor(value) for key, value in env.reset().items()}
    masks = np.stack(env.env_method("action_masks"))
    actions, values, log_probs = masked(tensors, action_masks=masks)
    filled = actions.masked_fill(~tensors["attention_mask"].bool(), 1)
    other_values, other_log_probs, entropy = plain.evaluate_actions(tensors, filled)
    torch.testing.assert_close(values, other_values)
    torch.testing.assert_close(log_probs, other_log_probs)
    torch.testing.assert_close(masked.evaluate_actions(tensors, actions, masks)[2], entropy)


def test_a_saved_model_acts_as_before(tmp_path: Path) -> None:
    learner = model(16)
    learner.learn(64)
    learner.save(tmp_path / "model.zip")
    loaded = PPO.load(tmp_path / "model.zip", device="cpu")
    observations, _ = KeywordVectorEnv(16).reset(seed=2)
    np.testing.assert_array_equal(
        Acting(loaded).act(observations, []), Acting(learner).act(observations, [])
    )


def test_other_algorithms_take_it() -> None:
    A2C(KeepPolicy, SB3VecEnv(KeywordVectorEnv(4)), device="cpu").learn(64)


def test_an_encoder_of_other_ids_or_none_at_all_is_refused() -> None:
    with pytest.raises(ValueError, match=f"tokenizer has {VOCABULARY}: create the environment"):
        model(4, policy_kwargs={"network": KeepNetwork(small_encoder(8, 16, 1))})
    with pytest.raises(ValueError, match="no/such/folder"):
        model(4, policy_kwargs={"encoder": "no/such/folder"})


def test_numbers_that_are_none_stop_it() -> None:
    learner = model(4)
    with torch.no_grad():
        next(learner.policy.parameters()).fill_(torch.nan)
    with pytest.raises(TrainingDivergedError, match="Lower lr"):
        learner.learn(4)


def test_flattened_ids_warn_and_embedded_ones_do_not(gpt2_tokenizer) -> None:
    env = gym.make(ID, **options(gpt2_tokenizer))
    with pytest.warns(UserWarning, match=r"policy learns nothing: .*pcrl_gym\.sb3\.KeepPolicy"):
        PPO("MultiInputPolicy", env, device="cpu")
    with pytest.warns(UserWarning, match="Token ids are flattened"):
        FlattenObservation(env)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        PPO(KeepPolicy, env, device="cpu")
        gym.make_vec(ID, num_envs=2, **options(gpt2_tokenizer))


def test_without_sb3_contrib_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sb3_contrib", None)
    monkeypatch.delitem(sys.modules, "pcrl_gym.sb3")
    with pytest.raises(MissingExtraError, match=r"pip install 'pcrl-gym\[sb3\]'"):
        importlib.import_module("pcrl_gym.sb3")
