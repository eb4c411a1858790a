"""Expected cost of dropping units, given a policy's keep logits."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pcrl_gym.compressor.selection import drop_ranks

SLOPES = tuple(round(0.05 * step, 2) for step in range(31))
"""The slopes to try in a fit, 0.0 to 1.5."""


@dataclass(frozen=True)
class LossModel:
    """Expected likelihood loss from dropping units, in nats per token of the answer.

    Formula: `scale * sum(exp(slope * logit)) / n`, where the sum is over the dropped units and n is
    the number of droppable units. A unit costs more if the policy is more certain to keep it, and
    less in longer texts. Interactions between units are not modeled.

    Attributes:
        scale: Cost of dropping a unit with logit 0 if it were the only one, above 0.
        slope: Growth of the cost with the logit, at least 0.

    Raises:
        ValueError: If a number is out of range.

    Example:
        >>> model = LossModel(scale=0.5, slope=1.0)
        >>> model.costs(np.array([0.0, 0.0, 2.0, 9.0]), np.array([True, True, False, False]))
        array([0.25, 0.25, 0.  , 0.  ])
    """

    scale: float
    slope: float

    def __post_init__(self) -> None:
        if not (0.0 < self.scale < np.inf and 0.0 <= self.slope < np.inf):
            raise ValueError(f"scale must be above 0 and slope at least 0, got {self}")

    def costs(
        self, logits: NDArray[np.float64], droppable: NDArray[np.bool_]
    ) -> NDArray[np.float64]:
        """Return the expected cost of dropping each unit, (n_units,); 0 if it is protected.

        Args:
            logits: Keep logits, float64 (n_units,).
            droppable: Bool (n_units,).
        """
        units = max(int(np.count_nonzero(droppable)), 1)
        with np.errstate(over="ignore"):
            costs = self.scale / units * np.exp(self.slope * logits)
        return np.where(droppable, costs, 0.0)

    @classmethod
    def fit(
        cls,
        logits: Sequence[NDArray[np.float64]],
        droppable: Sequence[NDArray[np.bool_]],
        measured: Iterable[tuple[Sequence[NDArray[np.bool_]], NDArray[np.float64]]],
    ) -> LossModel | None:
        """Return the model with the correct mean and the least squared error.

        Args:
            logits: Keep logits of each text, float64 (n_units,).
            droppable: Whether each unit is droppable, bool (n_units,) for each text.
            measured: For each way to compress these texts, the dropped units of each text, bool
                (n_units,), and the likelihood losses, (n_texts,).

        Returns:
            The model, or None if nothing was lost on average.
        """
        pairs = list(measured)
        losses = np.concatenate([loss for _, loss in pairs])
        if not losses.mean() > 0.0:
            return None
        found = []
        for slope in SLOPES:
            unscaled = cls(1.0, slope)
            costs = [unscaled.costs(*own) for own in zip(logits, droppable, strict=True)]
            sums = np.array([
                float(own[gone].sum()) for dropped, _ in pairs
                for own, gone in zip(costs, dropped, strict=True)
            ])  # fmt: skip
            scale = losses.mean() / sums.mean()
            found.append((float(np.square(scale * sums - losses).mean()), slope, float(scale)))
        _, slope, scale = min(found)
        return cls(scale, slope)


def within_tolerance(
    logits: NDArray[np.float64],
    groups: NDArray[np.int64],
    costs: NDArray[np.float64],
    tolerance: float,
) -> NDArray[np.bool_]:
    """Return the most units of a text that a tolerance allows to drop, bool (n_units,).

    Args:
        logits: Keep logits, float64 (n_units,), equal within a group.
        groups: Group number of each unit; see `selection.drop_ranks`, which sets the order.
        costs: Cost of each unit, float64 (n_units,).
        tolerance: Maximum total cost of the dropped units.

    Example:
        >>> logits, groups = np.array([2.0, 0.0, 1.0]), np.array([0, 1, 2])
        >>> within_tolerance(logits, groups, np.array([0.3, 0.1, 0.1]), tolerance=0.2)
        array([False,  True,  True])
    """
    ranks = drop_ranks(logits, groups)
    free = ranks >= 0
    spent = np.cumsum(np.bincount(ranks[free], costs[free]))
    return free & (ranks < np.searchsorted(spent, tolerance + 1e-12, side="right"))
