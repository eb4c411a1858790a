"""Training budget in updates, episodes, or seconds, whichever is used up first."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Budget:
    """Tracks how much of a training budget is used; without seconds, it ignores the clock.

    Example:
        >>> budget = Budget(episodes=200)
        >>> budget.add(50)
        >>> budget.used
        0.25
    """

    def __init__(
        self,
        episodes: int | None = None,
        seconds: float | None = None,
        clock: Callable[[], float] = time.monotonic,
        *,
        updates: int | None = None,
    ) -> None:
        limits = {"updates": updates, "episodes": episodes, "seconds": seconds}
        self._limits = {name: value for name, value in limits.items() if value is not None}
        if not self._limits or min(self._limits.values()) <= 0:
            raise ValueError(
                "training needs a positive budget: set updates, episodes, seconds, or several of "
                f"them, got {self._limits}"
            )
        self._clock = clock
        self._paused_at: float | None = None
        self.resume(0, 0, 0.0)

    def restart(self) -> None:
        """Start counting seconds from now on, as setup is not part of training."""
        self._start = self._clock()

    def resume(self, updates: int, episodes: int, seconds: float) -> None:
        """Continue from the `progress` of an interrupted training run."""
        self.updates_done, self.episodes_done = updates, episodes
        self._seconds_before = seconds
        self.restart()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Exclude the seconds that the block takes."""
        self._paused_at = began = self._clock()
        try:
            yield
        finally:
            self._paused_at = None
            self._start += self._clock() - began

    def add(self, episodes: int) -> None:
        """Count one update and the episodes it finished."""
        self.updates_done += 1
        self.episodes_done += episodes

    @property
    def progress(self) -> dict[str, float]:
        """Updates, episodes, and seconds so far, including resumed but not paused ones."""
        now = self._clock() if self._paused_at is None else self._paused_at
        seconds = self._seconds_before + now - self._start
        return {
            "updates": self.updates_done, "episodes": self.episodes_done, "seconds": seconds,
        }  # fmt: skip

    @property
    def used(self) -> float:
        """Share of the budget that is used, 0 to 1."""
        done = self.progress
        return min(1.0, max(done[name] / limit for name, limit in self._limits.items()))
