"""A Gymnasium vector environment as a Stable-Baselines3 one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.wrappers.vector import DictInfoToList
from stable_baselines3.common.vec_env import VecEnv


class SB3VecEnv(VecEnv):
    """Adapter from `gymnasium.vector.VectorEnv` to Stable-Baselines3's `VecEnv`.

    Transition for transition what `DummyVecEnv` over the single environments gives, but with one
    batched step. Wrap it in `VecMonitor` for episode statistics.

    Args:
        env: A vector environment with SAME_STEP autoreset, as
            `gym.make_vec("pcrl_gym:PromptCompression-v0")` is.

    Raises:
        ValueError: If the environment resets itself in another way.

    Example:
        `PPO(KeepPolicy, SB3VecEnv(gym.make_vec("pcrl_gym:PromptCompression-v0", num_envs=64)))`
    """

    def __init__(self, env: VectorEnv) -> None:
        mode = env.metadata.get("autoreset_mode")
        if mode is not AutoresetMode.SAME_STEP:
            raise ValueError(
                f"SB3VecEnv needs a vector environment with SAME_STEP autoreset, got {mode}"
            )
        self.env = env
        self._listed = DictInfoToList(env)
        super().__init__(env.num_envs, env.single_observation_space, env.single_action_space)

    def reset(self) -> Any:
        """Reset all environments, with the seed that `seed` left, and return the observations."""
        options = self._options[0] or None
        observations, self.reset_infos = self._listed.reset(seed=self._seeds[0], options=options)
        self._reset_seeds()
        self._reset_options()
        return observations

    def step_async(self, actions: np.ndarray) -> None:
        """Remember the actions for `step_wait`."""
        self._actions = actions

    def step_wait(self) -> tuple[Any, np.ndarray, np.ndarray, list[dict[str, Any]]]:
        """Step all environments and return observations, rewards, dones and infos."""
        observations, rewards, terminated, truncated, infos = self._listed.step(self._actions)
        dones = terminated | truncated
        for i in np.flatnonzero(dones):
            # Of a finished episode Stable-Baselines3 wants the final info, Gymnasium shows the
            # reset's.
            self.reset_infos[i] = infos[i]
            final = infos[i].pop("final_info")
            infos[i] = {**final, "terminal_observation": self.reset_infos[i].pop("final_obs")}
        for info, ended, cut in zip(infos, terminated, truncated, strict=True):
            info["TimeLimit.truncated"] = bool(cut and not ended)
        return observations, rewards.astype(np.float32), dones, infos

    def env_method(
        self, method_name: str, *method_args: Any, indices: Any = None, **method_kwargs: Any
    ) -> list[Any]:
        """Call a method of the vector environment once and return its rows, one per environment."""
        rows = getattr(self.env.unwrapped, method_name)(*method_args, **method_kwargs)
        return [rows[i] for i in self._get_indices(indices)]

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        """Return an attribute of the vector environment once per environment asked for."""
        value = getattr(self.env.unwrapped, attr_name)
        return [value for _ in self._get_indices(indices)]

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
        """Set an attribute of the vector environment, which all environments share.

        Raises:
            ValueError: If it is to be set for some of the environments only.
        """
        if indices is not None:
            raise ValueError(
                "the sub-environments share their attributes: set them for all with indices=None"
            )
        setattr(self.env.unwrapped, attr_name, value)

    def env_is_wrapped(self, wrapper_class: type, indices: Any = None) -> list[bool]:
        """Return false for each environment: there are no wrappers around single environments."""
        return [False for _ in self._get_indices(indices)]

    def get_images(self) -> Sequence[np.ndarray | None]:
        """Return the pictures of all environments."""
        return list(cast("Sequence[np.ndarray | None]", self.env.render() or []))

    def close(self) -> None:
        """Close the vector environment."""
        self.env.close()
