"""Common base of the environment and the vector environment, which runs the episodes."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

import numpy as np
from gymnasium.error import ResetNeeded
from numpy.typing import NDArray

from pcrl_gym.envs.options import TaskArguments
from pcrl_gym.envs.shared_kwargs import SharedSpec
from pcrl_gym.envs.spaces import Observation, flat_action_masks
from pcrl_gym.envs.task import make_task
from pcrl_gym.errors import UnknownArgumentError, did_you_mean
from pcrl_gym.rendering.frame import Frame
from pcrl_gym.rendering.text import (
    RENDER_FPS,
    RENDER_MODES,
    check_render_mode,
    print_frame,
)

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from pcrl_gym.episodes.episode import Episode


class PromptCompressionBase(SharedSpec):
    """Runs parallel episodes: one in the environment, `num_envs` in the vector environment."""

    metadata: dict[str, Any] = {"render_modes": RENDER_MODES, "render_fps": RENDER_FPS}  # noqa: RUF012

    def __init__(self, render_mode: str | None, **options: Unpack[TaskArguments]) -> None:
        check_render_mode(render_mode)
        self.render_mode = render_mode
        known = [*TaskArguments.__annotations__, "render_mode"]
        for name in options:
            if name not in known:
                raise UnknownArgumentError(
                    f"PromptCompression-v0 got an unexpected keyword argument {name!r}"
                    f"{did_you_mean(name, known)}"
                )
        self.task = make_task(**options)
        self._upcoming: deque[int] = deque()
        self._episodes: list[Episode] = []
        self._kept: list[NDArray[np.bool_]] = []
        self._observations: Observation = {}
        self._frames: list[Frame] = []
        self._steps = 0

    @property
    def skipped_prompts(self) -> tuple[str, ...]:
        """IDs of the prompts that were skipped because they are too long."""
        return self.task.skipped_prompts

    def _reset(
        self, seeded: bool, options: dict[str, Any] | None, n: int, rng: np.random.Generator
    ) -> tuple[Observation, list[dict[str, Any]]]:
        """Start `n` episodes for `reset`; a seed also starts a new pass over the split."""
        if seeded:
            self._upcoming.clear()
        begun = self._begin(n, rng, _picked(options, len(self.task.episodes), n))
        self._frames = [Frame(e, kept) for e, kept in zip(self._episodes, self._kept, strict=True)]
        return begun

    def _begin(
        self, n: int, rng: np.random.Generator, indices: list[int] | None = None
    ) -> tuple[Observation, list[dict[str, Any]]]:
        """Start the episodes with these indices, or the next `n` of the shuffled split.

        Each pass over the split is a permutation, drawn from `rng` at the start of the pass.
        """
        if indices is None:
            while len(self._upcoming) < n:
                self._upcoming.extend(rng.permutation(len(self.task.episodes)).tolist())
            indices = [self._upcoming.popleft() for _ in range(n)]
        episodes = self.task.episodes.take(indices)
        self._observations, infos = self.task.begin(episodes)
        self._episodes, self._steps = episodes, 0
        self._kept = [np.ones(len(episode), np.bool_) for episode in episodes]
        return _copied(self._observations), infos

    def _advance(
        self, keep: NDArray[np.bool_]
    ) -> tuple[Observation, NDArray[np.float64], bool, list[dict[str, Any]]]:
        """Drop units (`keep` is (n, max_units)) and score the last step of the episodes."""
        pairs = zip(self._kept, self._episodes, keep, strict=True)
        kept = [before & episode.kept(mask) for before, episode, mask in pairs]
        terminated = self._steps + 1 == self.task.max_steps
        observations, infos = self.task.look(self._episodes, kept)
        rewards = np.zeros(len(kept))
        if terminated:
            scores = self.task.scorer(self._episodes, kept)
            rewards += scores.reward
            for i, info in enumerate(infos):
                info |= scores.info(i)
        played = zip(self._episodes, kept, infos, rewards.tolist(), strict=True)
        self._frames = [
            Frame(episode, mask, info if terminated else None, reward)
            for episode, mask, info, reward in played
        ]
        if self.render_mode == "human":
            for frame in self._frames:
                print_frame(frame)
        self._kept, self._steps, self._observations = kept, self._steps + 1, observations
        return _copied(observations), rewards, terminated, infos

    def _action_masks(self) -> NDArray[np.bool_]:
        """Return the masks in sb3-contrib's form, (n, 2 * max_units)."""
        self._check_started()
        return flat_action_masks(self._observations)

    def _check_started(self) -> None:
        if not self._episodes:
            raise ResetNeeded("No episode has started: call `reset()` first")


def _copied(observations: Observation) -> Observation:
    return {key: array.copy() for key, array in observations.items()}


def check_seed(seed: object) -> int | None:
    """Return the seed as a Python integer, or None.

    Raises:
        ValueError: If it is neither None nor an integer >= 0.
    """
    if seed is None:
        return None
    if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)) or seed < 0:
        raise ValueError(f"expected seed to be an integer >= 0 or None, got {seed!r}")
    return int(seed)


def _picked(options: dict[str, Any] | None, n_episodes: int, num_envs: int) -> list[int] | None:
    """Return the `num_envs` indices that `reset(options={"index": ...})` asks for, or None."""
    unknown = set(options or {}) - {"index"}
    if unknown:
        raise ValueError(f"expected reset options {{'index': ...}}, got {sorted(unknown)}")
    if not options:
        return None
    index = options["index"]
    indices = np.atleast_1d(index)
    if indices.shape != (num_envs,) or not np.issubdtype(indices.dtype, np.integer):
        raise ValueError(f"expected options['index'] to be {num_envs} integer(s), got {index!r}")
    if indices.min() < 0 or indices.max() >= n_episodes:
        raise ValueError(f"expected options['index'] in [0, {n_episodes}), got {index!r}")
    return [int(i) for i in indices]
