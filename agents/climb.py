"""Search over keep masks: which to try next, given the rewards of earlier ones.

Everything here is a coroutine: it yields lists of masks, bool (n,), that it has not yielded before,
and is sent the reward of each. Its output depends only on those rewards and its random numbers.
"""

from __future__ import annotations

from collections.abc import Generator

import numpy as np
from numpy.typing import NDArray

BoolArray = NDArray[np.bool_]
Proposals = Generator[list[BoolArray], list[float], None]
Answer = Generator[list[BoolArray], list[float], float]

IDLE_ROUNDS = 20
"""Rounds without a new mask after which a climb ends, as the neighborhood is exhausted."""


def all_masks(n: int, at_once: int = 512) -> Proposals:
    """Yield all 2**n masks: first the one that keeps all units, then counting in binary."""
    numbers = np.arange(2**n)
    for start in range(0, 2**n, at_once):
        bits = numbers[start : start + at_once, None] >> np.arange(n)
        yield list(bits & 1 == 0)


class Climb:
    """Backward elimination, then climbs from the best mask with some of its units restored.

    The first climb starts with every unit and goes from left to right. Like delta debugging (Zeller
    and Hildebrandt 2002), it tries to drop halves, then quarters, and so on, until no single unit
    can be dropped without loss. Units that can be dropped together thus go in few steps. Each later
    round restores units of the best mask so far and, if the result earns no less than keeping all,
    climbs again in random order; after a round without a new mask, it restores all units. There are
    `n` units (at least 1), and each round has one mask.
    """

    def __init__(self, n: int, rng: np.random.Generator) -> None:
        self._n = n
        self._rng = rng
        self._earned: dict[bytes, float] = {}
        self._best = np.ones(n, np.bool_)

    def proposals(self) -> Proposals:
        """Yield masks until none near the best one is new; the first mask keeps all units."""
        yield from self._eliminate(self._best, np.arange(self._n))
        idle = 0
        while idle < IDLE_ROUNDS:
            seen = len(self._earned)
            start = self._best.copy()
            dropped = self._rng.permutation(np.flatnonzero(~start))
            count = int(self._rng.integers(1, max(2, len(dropped) // 2 + 1)))
            if idle:
                count = len(dropped)  # no mask near the best one is new
            start[dropped[:count]] = True
            yield from self._eliminate(start, self._rng.permutation(self._n))
            idle = 0 if len(self._earned) > seen else idle + 1

    def _eliminate(self, kept: BoolArray, order: NDArray[np.int64]) -> Proposals:
        """Drop units block by block until no single unit can be dropped."""
        reward = yield from self._ask(kept)
        if reward < self._earned[np.ones(self._n, np.bool_).tobytes()]:
            return  # on a plateau of failures, every drop looks like progress
        size = max(1, int(kept.sum()) // 2)
        while True:
            units = order[kept[order]]
            before = kept
            for start in range(0, len(units), size):
                mask = kept.copy()
                mask[units[start : start + size]] = False
                earned = yield from self._ask(mask)
                if earned >= reward:
                    kept, reward = mask, earned
            if size == 1 and kept is before:
                return
            size = max(1, size // 2)

    def _ask(self, mask: BoolArray) -> Answer:
        """Yield a mask if it is new, and return its reward."""
        if (key := mask.tobytes()) not in self._earned:
            (self._earned[key],) = yield [mask]
            if self._earned[key] > self._earned[self._best.tobytes()]:
                self._best = mask
        return self._earned[key]
