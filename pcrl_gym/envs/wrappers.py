"""Wrappers for clients that cannot use the environment directly.

Gymnasium's own wrappers cover the rest: `FlattenObservation` flattens the observation to a vector,
and `TransformAction` supports any other action format. On the vector environment, wrappers that
change observations do not support SAME_STEP autoreset, so apply them on top of `VectorAutoreset`.
"""

from __future__ import annotations

from typing import Any, TypeVar

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from gymnasium.error import ResetNeeded
from gymnasium.utils import RecordConstructorArgs
from gymnasium.vector import AutoresetMode, VectorActionWrapper, VectorEnv, VectorWrapper
from gymnasium.vector.utils import batch_space, concatenate, create_empty_array
from numpy.typing import ArrayLike, NDArray

Observation = TypeVar("Observation")


def keep_above_zero(logits: ArrayLike) -> NDArray[np.int8]:
    """Return the keep mask of logits: 1 where they are above zero, int8 of the same shape.

    Raises:
        ValueError: If a logit is NaN.
    """
    values = np.asarray(logits)
    if np.isnan(values).any():
        raise ValueError(
            "expected one logit per unit (above 0 keeps it), got NaN: the policy has diverged"
        )
    return (values > 0).astype(np.int8)


def _logit_space(space: spaces.Space[Any]) -> spaces.Space[Any]:
    if not isinstance(space, spaces.MultiBinary):
        raise ValueError(
            f"expected an environment with a MultiBinary action space (keep masks), got {space}"
        )
    return spaces.Box(-1.0, 1.0, space.shape, np.float32)


class KeepLogits(
    gym.ActionWrapper[Observation, NDArray[np.float32], NDArray[np.int8]], RecordConstructorArgs
):
    """Takes one logit per unit as the action, for clients that only support continuous actions.

    A unit is kept if its logit is above 0. The action space is
    `Box(-1, 1, (max_units,), float32)`. Only signs matter, so logits may be clipped to the box or
    lie outside it.

    Args:
        env: An environment whose action is a keep mask, such as `PromptCompression-v0`.

    Raises:
        ValueError: If the actions of `env` are not keep masks; in `step`, if a logit is NaN.

    >>> from gymnasium.wrappers import FlattenObservation
    >>> env = gym.make("pcrl_gym:PromptCompression-v0", max_units=64)
    >>> env = KeepLogits(FlattenObservation(env))
    >>> env.action_space, env.observation_space.shape
    (Box(-1.0, 1.0, (64,), float32), (192,))
    """

    def __init__(self, env: gym.Env[Observation, NDArray[np.int8]]) -> None:
        RecordConstructorArgs.__init__(self)
        super().__init__(env)
        self.action_space = _logit_space(env.action_space)

    def action(self, action: NDArray[np.float32]) -> NDArray[np.int8]:
        """Return the keep mask (max_units,) of logits (max_units,)."""
        return keep_above_zero(action)


# Without type parameters, which the vector wrappers of Gymnasium 1.2 do not accept.
class VectorKeepLogits(VectorActionWrapper):
    """`KeepLogits` for a vector environment: logits (num_envs, max_units).

    >>> envs = gym.make_vec("pcrl_gym:PromptCompression-v0", num_envs=2, max_units=64)
    >>> VectorKeepLogits(envs).action_space
    Box(-1.0, 1.0, (2, 64), float32)
    """

    def __init__(self, env: VectorEnv[Any, NDArray[np.int8], NDArray[Any]]) -> None:
        super().__init__(env)
        self.single_action_space = _logit_space(env.single_action_space)
        self.action_space = batch_space(self.single_action_space, env.num_envs)

    def actions(self, actions: NDArray[np.float32]) -> NDArray[np.int8]:
        """Return the keep masks (num_envs, max_units) of logits (num_envs, max_units)."""
        return keep_above_zero(actions)


class VectorAutoreset(VectorWrapper, RecordConstructorArgs):
    """Converts a vector environment with SAME_STEP autoreset to another autoreset mode.

    `gym.make_vec("pcrl_gym:PromptCompression-v0")` resets in the step that ends the episodes.
    Gymnasium's vector observation wrappers and RLlib expect the reset in the next step, TorchRL
    expects an explicit call to `reset`; see https://farama.org/Vector-Autoreset-Mode. Prompts and
    their order do not change. Apply this wrapper first, below all other wrappers.

    * NEXT_STEP: the final step returns the last observations and infos of its episodes. The next
      step starts the next episodes; its actions are ignored and its rewards are 0.
    * DISABLED: the final step returns the same, and `reset` must be called next, with or without
      the option `reset_mask` (bool (num_envs,), all True).

    Args:
        env: A vector environment whose sub-environments end together, such as
            `PromptCompression-v0`.
        mode: `AutoresetMode.NEXT_STEP` or `AutoresetMode.DISABLED`.

    Raises:
        ValueError: If the autoreset mode of `env` is not SAME_STEP, or `mode` is SAME_STEP; in
            `step`, if only some episodes are over; in `reset`, if only some are to be reset.

    >>> envs = gym.make_vec("pcrl_gym:PromptCompression-v0", num_envs=2, max_units=64)
    >>> envs = VectorAutoreset(envs)
    >>> envs.metadata["autoreset_mode"]
    <AutoresetMode.NEXT_STEP: 'NextStep'>
    >>> gym.wrappers.vector.FlattenObservation(envs).observation_space.shape
    (2, 192)
    """

    def __init__(
        self,
        env: VectorEnv[Any, Any, NDArray[Any]],
        mode: AutoresetMode = AutoresetMode.NEXT_STEP,
    ) -> None:
        RecordConstructorArgs.__init__(self, mode=mode)
        super().__init__(env)
        inner = env.metadata.get("autoreset_mode")
        if inner is not AutoresetMode.SAME_STEP:
            raise ValueError(
                f"expected a vector environment with SAME_STEP autoreset, got {inner}: "
                "apply this wrapper before all others, or leave it out"
            )
        if mode not in (AutoresetMode.NEXT_STEP, AutoresetMode.DISABLED):
            raise ValueError(
                f"expected AutoresetMode.NEXT_STEP or AutoresetMode.DISABLED, got {mode!r}"
            )
        self.metadata = {**env.metadata, "autoreset_mode": mode}
        # Gymnasium's vector environments also have this attribute, and TorchRL reads it.
        self.autoreset_mode = mode
        # First observations and infos of the next episodes, once the current ones are over.
        self._next: tuple[Any, dict[str, Any]] | None = None

    def reset(
        self, *, seed: Any = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Start an episode in every sub-environment.

        Args:
            seed: Passed to the environment.
            options: Options of the environment, and `reset_mask`: bool (num_envs,), all True.
        """
        options = dict(options or {})
        mask = options.pop("reset_mask", None)
        if mask is not None and not (np.shape(mask) == (self.num_envs,) and np.all(mask)):
            raise ValueError(
                f"expected reset_mask to be True for all num_envs={self.num_envs} "
                f"sub-environments, because they end together, got {mask!r}"
            )
        following, self._next = self._next, None
        if following is not None and seed is None and not options:
            return following
        return self.env.reset(seed=seed, options=options or None)

    def step(
        self, actions: Any
    ) -> tuple[Any, NDArray[Any], NDArray[Any], NDArray[Any], dict[str, Any]]:
        """Step every sub-environment, or start the next episodes in NEXT_STEP mode.

        Raises:
            ResetNeeded: If the episodes are over and the mode is DISABLED.
        """
        if self._next is not None:
            if self.autoreset_mode is AutoresetMode.DISABLED:
                raise ResetNeeded("The episodes are over: call `envs.reset()` before the next step")
            observations, infos = self._next
            self._next = None
            running = np.zeros(self.num_envs, np.bool_)
            return observations, np.zeros(self.num_envs), running, running.copy(), infos
        observations, rewards, terminated, truncated, infos = self.env.step(actions)
        over = terminated | truncated
        if over.any():
            if not over.all():
                raise ValueError(
                    "expected all sub-environments to end together, but only "
                    f"{over.sum()} of {self.num_envs} have ended"
                )
            final = {key: infos.pop(key) for key in ("final_obs", "final_info")}
            del infos["_final_obs"], infos["_final_info"]
            self._next = observations, infos
            infos = final["final_info"]
            space = self.single_observation_space
            batch: Any = create_empty_array(space, self.num_envs)
            observations = concatenate(space, final["final_obs"], batch)
        return observations, rewards, terminated, truncated, infos
