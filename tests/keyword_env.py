"""A vector environment without a language model whose best keep masks are known."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

VOCABULARY, MAX_UNITS, SHORTEST, LONGEST = 24, 14, 6, 12
KEYS, MARKER = (1, 2, 3), 4


def needed_units(input_ids: np.ndarray) -> np.ndarray:
    """Return which units carry the answer: the keys, and whatever follows a marker."""
    after_marker = np.zeros(input_ids.shape, dtype=bool)
    after_marker[:, 1:] = input_ids[:, :-1] == MARKER
    return np.isin(input_ids, KEYS) | after_marker


class KeywordVectorEnv(VectorEnv):
    """One-step episodes of random ids: the drop rate if all needed units were kept, else -0.01.

    The first unit is protected. Same spaces, action masks and infos as `PromptCompression-v0`.
    """

    metadata: dict[str, Any] = {"autoreset_mode": AutoresetMode.SAME_STEP}  # noqa: RUF012
    render_mode = None

    def __init__(self, num_envs: int) -> None:
        self.num_envs = num_envs
        self.single_observation_space = spaces.Dict(
            {
                "input_ids": spaces.Box(0, VOCABULARY - 1, (MAX_UNITS,), np.int64),
                "attention_mask": spaces.MultiBinary(MAX_UNITS),
                "droppable": spaces.MultiBinary(MAX_UNITS),
            }
        )
        self.single_action_space = spaces.MultiBinary(MAX_UNITS)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return self._begin(), {}

    def action_masks(self) -> np.ndarray:
        attended, droppable = (
            self._observation[key].astype(bool) for key in ("attention_mask", "droppable")
        )
        return np.stack([droppable | ~attended, attended], axis=-1).reshape(self.num_envs, -1)

    def step(self, actions):
        droppable = self._observation["droppable"].astype(bool)
        dropped = droppable & (actions == 0)
        survived = ~(dropped & needed_units(self._observation["input_ids"])).any(1)
        rate = dropped.sum(1) / droppable.sum(1)
        rewards = np.where(survived, rate, -0.01)
        final = np.empty(self.num_envs, dtype=object)
        for i in range(self.num_envs):
            final[i] = {key: value[i] for key, value in self._observation.items()}
        there = np.ones(self.num_envs, dtype=bool)
        infos = {
            "final_obs": final,
            "_final_obs": there,
            "final_info": {"drop_rate": rate, "_drop_rate": there},
            "_final_info": there,
        }
        return self._begin(), rewards, there.copy(), ~there, infos

    def _begin(self) -> dict[str, np.ndarray]:
        lengths = self.np_random.integers(SHORTEST, LONGEST + 1, self.num_envs)
        attended = np.arange(MAX_UNITS) < lengths[:, None]
        ids = self.np_random.integers(1, VOCABULARY, (self.num_envs, MAX_UNITS)) * attended
        droppable = attended.copy()
        droppable[:, 0] = False
        self._observation = {
            "input_ids": ids,
            "attention_mask": attended.astype(np.int8),
            "droppable": droppable.astype(np.int8),
        }
        return {key: value.copy() for key, value in self._observation.items()}


def rewards_of(agent, episodes: int = 500, seed: int = 123) -> float:
    """Return the agent's mean reward over episodes of a fresh environment."""
    env = KeywordVectorEnv(episodes)
    observations, _ = env.reset(seed=seed)
    return float(env.step(agent.act(observations, []))[1].mean())


class Best:
    """Drops exactly what is not needed."""

    def act(self, observations, infos):
        droppable = observations["droppable"].astype(bool)
        keep = ~droppable | needed_units(observations["input_ids"])
        return (keep & observations["attention_mask"].astype(bool)).astype(np.int8)
