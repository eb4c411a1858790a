"""How long training may last: episodes, seconds, or whichever of both is used up first."""

from __future__ import annotations

import time
from collections.abc import Callable


class Budget:
    """A training budget that knows how much of it is gone.

    Args:
        episodes: Number of finished episodes, at least 1.
        seconds: Wall-clock seconds from now on, above 0.
        clock: Tells the time in seconds.

    Raises:
        ValueError: If neither is given, or one of them is not positive.

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
    ) -> None:
        if episodes is None and seconds is None:
            raise ValueError("training needs a budget: give episodes=..., seconds=... or both")
        for name, value in (("episodes", episodes), ("seconds", seconds)):
            if value is not None and value <= 0:
                raise ValueError(f"the training budget {name}={value!r} must be positive")
        self.episodes = episodes
        self.seconds = seconds
        self.episodes_done = 0
        self._clock = clock
        self._start = clock()

    def restart(self) -> None:
        """Count seconds from now on: setting up is no training."""
        self._start = self._clock()

    def add(self, episodes: int) -> None:
        """Count finished episodes."""
        self.episodes_done += episodes

    @property
    def seconds_done(self) -> float:
        """Seconds since the budget was made."""
        return self._clock() - self._start

    @property
    def used(self) -> float:
        """Share of the budget that is gone, 0 to 1."""
        by_episodes = self.episodes_done / self.episodes if self.episodes else 0.0
        by_seconds = self.seconds_done / self.seconds if self.seconds else 0.0
        return min(1.0, max(by_episodes, by_seconds))
