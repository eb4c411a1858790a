"""Learner for PPO: sb3-contrib's MaskablePPO, one rollout and update at a time."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from gymnasium.vector import VectorEnv
from sb3_contrib import MaskablePPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import Logger

from agents.entropy import EntropySteering
from agents.learner_configs import PPOConfig
from agents.learning import Figures, Learner, check_finite
from agents.seeding import isolated_random_state, update_seed
from pcrl_gym.compressor.network import KeepNetwork
from pcrl_gym.sb3 import MaskableKeepPolicy, SB3VecEnv

REPORTED_INFOS = ("survived", "compression_ratio", "drop_rate")


class Rollout(BaseCallback):
    """Collects metrics of the episodes that end in a rollout, and steers the entropy after it.

    The entropy is estimated as minus the mean log-probability of the sampled masks; `used` returns
    the share of training that is done, 0 to 1.
    """

    def __init__(self, steering: EntropySteering, used: Callable[[], float]) -> None:
        super().__init__()
        self._steering = steering
        self._used = used
        self.entropy = math.nan
        self._on_rollout_start()

    def _on_rollout_start(self) -> None:
        self._values: dict[str, list[float]] = {}
        self.episodes = 0

    def _on_step(self) -> bool:
        done = self.locals["dones"]
        self.episodes += int(done.sum())
        if done.any():
            self._values.setdefault("reward", []).extend(self.locals["rewards"][done].tolist())
        for info in (self.locals["infos"][i] for i in np.flatnonzero(done)):
            for key in REPORTED_INFOS:
                if key in info:
                    self._values.setdefault(key, []).append(float(info[key]))
        return True

    def _on_rollout_end(self) -> None:
        self.entropy = -float(self.model.rollout_buffer.log_probs.mean())
        self._steering.update(self.entropy, self._used())
        self.model.ent_coef = self._steering.coefficient

    def means(self) -> Figures:
        """Return the mean metrics of the last rollout."""
        return {key: float(np.mean(values)) for key, values in self._values.items()}


class PPOLearner(Learner):
    """Trains a network by PPO in a vector environment; see `agents.learning.Learner`."""

    def __init__(self, env: VectorEnv, network: KeepNetwork, config: PPOConfig, seed: int) -> None:
        self.network = network
        self.updates = 0
        self._env = env
        self._seed = seed
        self._used = 0.0
        self._steering = EntropySteering(config.entropy_coefficient, config.final_entropy)
        self._rollout = Rollout(self._steering, lambda: self._used)
        self.model = MaskablePPO(
            MaskableKeepPolicy,
            SB3VecEnv(env),
            learning_rate=lambda _: config.lr * (1 - 0.9 * self._used),
            n_steps=config.n_steps,
            batch_size=config.batch_size,
            n_epochs=config.n_epochs,
            gamma=1.0,
            gae_lambda=1.0,
            clip_range=config.clip_range,
            vf_coef=config.value_coefficient,
            max_grad_norm=config.max_grad_norm,
            policy_kwargs={"network": network},
            device=next(network.parameters()).device,
        )
        self._optimizer = self.model.policy.optimizer
        # Without a logger, Stable-Baselines3 creates a folder under /tmp for each `learn`.
        self.model.set_logger(Logger(folder=None, output_formats=[]))

    def update(self, used: float) -> Figures:
        """Roll out `n_steps` of all environments and learn from them."""
        self._used = used
        model, seed = self.model, update_seed(self._seed, self.updates)
        with isolated_random_state():
            model.set_random_seed(seed)
            model._last_obs = None  # restart the environments from this update's seed
            model.learn(model.n_envs * model.n_steps, callback=[self._rollout])
        self.updates += 1
        figures = {
            "episodes": float(self._rollout.episodes),
            **self._rollout.means(),
            "entropy": self._rollout.entropy,
            "entropy_coefficient": self._steering.coefficient,
        }
        check_finite(figures, self.network)
        return figures
