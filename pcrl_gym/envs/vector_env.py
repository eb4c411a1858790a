"""Native vector environment: all sub-environments are scored in one call per step."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from gymnasium import spaces
from gymnasium.error import ResetNeeded
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from pcrl_gym.envs.shared_spec import SharedSpec
from pcrl_gym.envs.spaces import Observation, flat_action_masks, parse_keep_mask, stack_observations
from pcrl_gym.envs.task import (
    check_arguments,
    check_positive,
    check_reset_options,
    check_seed,
    make_task,
)
from pcrl_gym.envs.vector_info import stack_infos
from pcrl_gym.envs.walk import ShuffledWalk
from pcrl_gym.rendering.frame import Frame
from pcrl_gym.rendering.text import (
    RENDER_FPS,
    RENDER_MODES,
    check_render_mode,
    print_frame,
    render_frame,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pcrl_gym.episodes.episode import Episode


class PromptCompressionVectorEnv(
    SharedSpec, VectorEnv[Observation, NDArray[np.int8], NDArray[Any]]
):
    """`num_envs` episodes of `PromptCompression-v0` side by side.

    `gym.make_vec("pcrl_gym:PromptCompression-v0", num_envs=64)` builds it. Spaces, rewards and
    infos are those of `PromptCompressionEnv`, batched as Gymnasium does it (`info["_key"]` tells
    which sub-environments have `key`). What differs:

    * Autoreset is `SAME_STEP`: when an episode ends, the returned observation and info already
      belong to the next one; `info["final_obs"]` and `info["final_info"]` hold the finished one.
    * The sub-environments share one walk over the split, so that together they meet every prompt
      once per pass, and one generator.
    * `reset(options={"index": [...]})` takes one index per sub-environment.
    * `render()` shows the last finished step of every sub-environment, not the fresh prompts.

    Args:
        num_envs: Number of sub-environments, at least 1.
        render_mode: "ansi", "human" (prints after every step) or "rgb_array".
        **options: The arguments of `pcrl_gym.make_task`.
    """

    metadata: dict[str, Any] = {  # noqa: RUF012
        "render_modes": RENDER_MODES,
        "render_fps": RENDER_FPS,
        "autoreset_mode": AutoresetMode.SAME_STEP,
    }

    def __init__(
        self, num_envs: int = 1, *, render_mode: str | None = None, **options: Any
    ) -> None:
        check_positive("num_envs", num_envs)
        check_render_mode(render_mode)
        check_arguments(options)
        self.num_envs = num_envs
        self.render_mode = render_mode
        self.task = make_task(**options)
        self.single_observation_space = self.task.observation_space()
        self.single_action_space = spaces.MultiBinary(self.task.max_units)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self._walk = ShuffledWalk(len(self.task.episodes))
        self._episodes: list[Episode] = []
        self._kept: list[NDArray[np.bool_]] = []
        self._observation: Observation = {}
        self._frames: list[Frame] = []
        self._steps = 0

    @property
    def skipped_prompts(self) -> tuple[str, ...]:
        """Ids of the prompts that were left out as too long."""
        return self.task.skipped_prompts

    def action_masks(self) -> NDArray[np.bool_]:
        """Return the current masks in sb3-contrib's form, bool (num_envs, 2 * max_units)."""
        self._check_started()
        return flat_action_masks(self._observation)

    def reset(
        self,
        *,
        seed: int | Sequence[int | None] | None = None,
        options: dict[str, Any] | None = None,
    ) -> tuple[Observation, dict[str, Any]]:
        """Start an episode in every sub-environment.

        Args:
            seed: An integer >= 0 seeds `np_random` and starts the walk anew. A list of `num_envs`
                integers or None is accepted as in `SyncVectorEnv`; as the walk is shared, it acts
                as one joint seed, in which the current `np_random` draws what is None. None, or a
                list of nothing else, continues the walk.
            options: `{"index": [...]}` picks one prompt per sub-environment.

        Raises:
            ValueError: If a seed or option is not as described.
        """
        if isinstance(seed, (list, tuple, range, np.ndarray)) and np.ndim(seed):
            seeds = [check_seed(one) for one in seed]
            if len(seeds) != self.num_envs:
                raise ValueError(
                    f"expected one seed or a list of num_envs={self.num_envs} seeds, got "
                    f"{len(seeds)}"
                )
            seeded = any(one is not None for one in seeds)
            if seeded:
                self.np_random = np.random.default_rng(
                    [int(self.np_random.integers(2**32)) if s is None else s for s in seeds]
                )
        else:
            seeded = seed is not None
            super().reset(seed=check_seed(seed))
        if seeded:
            self._walk.restart()
        picked = check_reset_options(options, len(self.task.episodes), self.num_envs)
        infos = self._begin(picked)
        self._frames = [
            Frame(episode, kept) for episode, kept in zip(self._episodes, self._kept, strict=True)
        ]
        return self._copy_observation(), stack_infos(infos)

    def step(
        self, actions: NDArray[np.int8]
    ) -> tuple[Observation, NDArray[Any], NDArray[Any], NDArray[Any], dict[str, Any]]:
        """Drop the units whose bits are 0 in every sub-environment.

        Args:
            actions: Keep masks of zeros and ones (num_envs, max_units), 1 = keep.

        Returns:
            observation, reward float64 (num_envs,), terminated bool (num_envs,), truncated bool
            (num_envs,) and info.

        Raises:
            ValueError: If the actions have another shape or other values.
            ResetNeeded: Before the first reset.
            GeneratorError: If the generator failed; a failure never becomes a reward.
        """
        self._check_started()
        keep = parse_keep_mask(actions, (self.num_envs, self.task.max_units))
        kept = [
            old & episode.kept(row)
            for episode, old, row in zip(self._episodes, self._kept, keep, strict=True)
        ]
        # All sub-environments take the same number of steps, so they end together.
        terminated = self._steps + 1 == self.task.max_steps
        rewards = np.zeros(self.num_envs)
        infos, observations = self._describe(kept)
        if terminated:
            scores = self.task.scorer(self._episodes, kept)
            rewards = np.array(scores.reward, np.float64)
            for i, info in enumerate(infos):
                info |= scores.info(i)
        self._frames = [
            Frame(episode, mask, info, float(reward)) if terminated else Frame(episode, mask)
            for episode, mask, info, reward in zip(
                self._episodes, kept, infos, rewards, strict=True
            )
        ]
        if terminated:
            final = stack_infos(
                [
                    {"final_obs": o, "final_info": i}
                    for o, i in zip(observations, infos, strict=True)
                ]
            )
            infos_out = stack_infos(self._begin(None)) | final
        else:
            self._steps += 1
            self._kept, self._observation = kept, stack_observations(observations)
            infos_out = stack_infos(infos)
        if self.render_mode == "human":
            for frame in self._frames:
                print_frame(frame)
        done = np.full(self.num_envs, terminated)
        return self._copy_observation(), rewards, done, np.zeros_like(done), infos_out

    def render(self) -> tuple[Any, ...] | None:
        """Return one frame per sub-environment; see `PromptCompressionEnv.render`."""
        self._check_started()
        if self.render_mode in (None, "human"):
            return None
        return tuple(render_frame(frame, self.render_mode) for frame in self._frames)

    def _begin(self, indices: list[int] | None) -> list[dict[str, Any]]:
        if indices is None:
            indices = self._walk.take(self.num_envs, self.np_random)
        self._episodes = self.task.episodes.take(indices)
        self._kept = [np.ones(len(episode), np.bool_) for episode in self._episodes]
        self._steps = 0
        infos, observations = self._describe(self._kept)
        self._observation = stack_observations(observations)
        return infos

    def _describe(
        self, kept: list[NDArray[np.bool_]]
    ) -> tuple[list[dict[str, Any]], list[Observation]]:
        observations = [
            self.task.observe(episode, mask)
            for episode, mask in zip(self._episodes, kept, strict=True)
        ]
        infos = [
            self.task.info(episode, observation)
            for episode, observation in zip(self._episodes, observations, strict=True)
        ]
        return infos, observations

    def _copy_observation(self) -> Observation:
        return {key: array.copy() for key, array in self._observation.items()}

    def _check_started(self) -> None:
        if not self._episodes:
            raise ResetNeeded("There is no episode yet: call `envs.reset()` first")
