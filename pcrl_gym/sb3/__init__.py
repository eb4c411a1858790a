"""Policies and a vector environment for Stable-Baselines3 and sb3-contrib.

Their own `"MultiInputPolicy"` reads token ids as numbers and learns nothing. `KeepPolicy` embeds
them, and has one keep logit per unit. Needs `pip install 'pcrl-gym[sb3]'`.

Example:
    ```python
    import gymnasium as gym
    from stable_baselines3 import PPO

    from pcrl_gym.sb3 import KeepPolicy, SB3VecEnv

    envs = gym.make_vec("pcrl_gym:PromptCompression-v0", num_envs=64)
    policy = {"encoder": "micro-seq2seq"}
    model = PPO(KeepPolicy, SB3VecEnv(envs), n_steps=2, gamma=1.0, policy_kwargs=policy)
    model.learn(6_144)
    ```
"""

from __future__ import annotations

from pcrl_gym.errors import MissingExtraError

try:
    import sb3_contrib as sb3_contrib
except ModuleNotFoundError as error:
    raise MissingExtraError(
        "pcrl_gym.sb3 needs Stable-Baselines3 and sb3-contrib: pip install 'pcrl-gym[sb3]'"
    ) from error

from pcrl_gym.sb3.distribution import MaskedBernoulli
from pcrl_gym.sb3.policy import KeepFeaturesExtractor, KeepPolicy, MaskableKeepPolicy
from pcrl_gym.sb3.vec_env import SB3VecEnv

__all__ = [
    "KeepFeaturesExtractor",
    "KeepPolicy",
    "MaskableKeepPolicy",
    "MaskedBernoulli",
    "SB3VecEnv",
]
