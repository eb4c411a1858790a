"""The order in which an environment visits the prompts of its split."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


class ShuffledWalk:
    """Endless walk over `size` prompts: each once per pass, every pass in a new random order.

    The walk owns no randomness: each call brings the generator of the environment, from which one
    permutation is drawn at the start of a pass.

    >>> walk, rng = ShuffledWalk(3), np.random.default_rng(0)
    >>> [sorted(walk.take(3, rng)) for _ in range(2)]
    [[0, 1, 2], [0, 1, 2]]
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._order: NDArray[np.int64] = np.empty(0, np.int64)
        self._position = 0

    def restart(self) -> None:
        """Forget the current pass; the next call begins a new one."""
        self._position = len(self._order)

    def take(self, n: int, rng: np.random.Generator) -> list[int]:
        """Return the next `n` indices, each in [0, size)."""
        taken: list[int] = []
        while len(taken) < n:
            if self._position == len(self._order):
                self._order, self._position = rng.permutation(self._size), 0
            part = self._order[self._position : self._position + n - len(taken)]
            self._position += len(part)
            taken.extend(part.tolist())
        return taken
