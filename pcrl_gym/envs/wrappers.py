"""Wrappers for clients that cannot take the environment as it is.

Gymnasium's own wrappers do the rest: `FlattenObservation` makes one vector of the observation,
`TransformAction` any other action of the keep mask. On the vector environment those that change
observations need `VectorAutoreset` below them, as they refuse SAME_STEP autoreset.
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
        ValueError: If a logit is not a number.
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
            f"expected an environment with keep masks, MultiBinary, as actions, got {space}"
        )
    return spaces.Box(-1.0, 1.0, space.shape, np.float32)


class KeepLogits(
    gym.ActionWrapper[Observation, NDArray[np.float32], NDArray[np.int8]], RecordConstructorArgs
):
    """Takes one logit per unit as the action, for clients that know continuous actions alone.

    A unit is kept where its logit is above 0. The action space is
    `Box(-1, 1, (max_units,), float32)`; as only signs count, a logit that a client clips into the
    box, or that lies outside of it, means the same.

    Args:
        env: An environment whose action is a keep mask, as `PromptCompression-v0`.

    Raises:
        ValueError: If the actions of `env` are others; by `step`, if a logit is not a number.

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
        """Keep mask (max_units,) of the logits (max_units,)."""
        return keep_above_zero(action)


# Without type parameters, which the vector wrappers of Gymnasium 1.2 do not take.
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
        """Keep masks (num_envs, max_units) of the logits (num_envs, max_units)."""
        return keep_above_zero(actions)


class VectorAutoreset(VectorWrapper, RecordConstructorArgs):
    """Makes a vector environment with SAME_STEP autoreset one of another autoreset mode.

    `gym.make_vec("pcrl_gym:PromptCompression-v0")` resets in the step that ends the episodes.
    Gymnasium's vector wrappers of observations and RLlib want that in the next step, TorchRL by a
    call of `reset`; see https://farama.org/Vector-Autoreset-Mode. The prompts are the same, in the
    same order. Put it right around the environment, below all other wrappers.

    * NEXT_STEP: a finished step returns the last observations and infos of its episodes. The step
      after it starts the next ones: its actions are ignored and its rewards are 0.
    * DISABLED: a finished step returns the same, and `reset` has to follow; with the option
      `reset_mask` (bool (num_envs,), all of them True) or without.

    Args:
        env: A vector environment whose sub-environments end together, as those of
            `PromptCompression-v0` do.
        mode: `AutoresetMode.NEXT_STEP` or `AutoresetMode.DISABLED`.

    Raises:
        ValueError: If `env` resets in another way, or `mode` is SAME_STEP; by `step`, if some
            episodes are over and some are not; by `reset`, if some are to be reset and some are
            not.

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
                "wrap it before all others, or leave this wrapper out"
            )
        if mode not in (AutoresetMode.NEXT_STEP, AutoresetMode.DISABLED):
            raise ValueError(
                f"expected AutoresetMode.NEXT_STEP or AutoresetMode.DISABLED, got {mode!r}"
            )
        self.metadata = {**env.metadata, "autoreset_mode": mode}
        # The vector environments of Gymnasium have it here as well, and TorchRL reads it.
        self.autoreset_mode = mode
        # First observations and infos of the next episodes, once the last ones are over.
        self._next: tuple[Any, dict[str, Any]] | None = None

    def reset(
        self, *, seed: Any = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Start an episode in every sub-environment.

        Args:
            seed: As the environment takes it.
            options: Those of the environment, and `reset_mask`: bool (num_envs,), all True.
        """
        options = dict(options or {})
        mask = options.pop("reset_mask", None)
        if mask is not None and not (np.shape(mask) == (self.num_envs,) and np.all(mask)):
            raise ValueError(
                "expected a reset_mask of num_envs times True, as the sub-environments end "
                f"together, got {mask!r}"
            )
        following, self._next = self._next, None
        if following is not None and seed is None and not options:
            return following
        return self.env.reset(seed=seed, options=options or None)

    def step(
        self, actions: Any
    ) -> tuple[Any, NDArray[Any], NDArray[Any], NDArray[Any], dict[str, Any]]:
        """Step every sub-environment, or in NEXT_STEP mode start the episodes that follow.

        Raises:
            ResetNeeded: If the episodes are over, in DISABLED mode.
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
                    "expected sub-environments that end together, got "
                    f"{over.sum()} of {self.num_envs} that are over"
                )
            final = {key: infos.pop(key) for key in ("final_obs", "final_info")}
            del infos["_final_obs"], infos["_final_info"]
            self._next = observations, infos
            infos = final["final_info"]
            space = self.single_observation_space
            batch: Any = create_empty_array(space, self.num_envs)
            observations = concatenate(space, final["final_obs"], batch)
        return observations, rewards, terminated, truncated, infos
