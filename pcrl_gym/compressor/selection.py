"""From the logits of a policy to the units that are dropped."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def dropped_units(
    logits: NDArray[np.float64], droppable: NDArray[np.bool_], rate: float | None
) -> NDArray[np.bool_]:
    """Return where a policy drops the units of one text, bool (n_units,), from its keep logits.

    Args:
        logits: Keep logits, float64 (n_units,).
        droppable: Bool (n_units,).
        rate: Share of the droppable units to drop exactly, rounded down: those with the lowest
            logits, of equal ones the first. None: those that are not likelier kept, logit <= 0.

    Example:
        >>> logits, droppable = np.array([2.0, -1.0, 1.0]), np.array([True, True, True])
        >>> dropped_units(logits, droppable, None)
        array([False,  True, False])
        >>> dropped_units(logits, droppable, 0.7)
        array([False,  True,  True])
    """
    if rate is None:
        return droppable & (logits <= 0)
    # Logits, not probabilities: those of very sure units would all be 1.0.
    chosen: NDArray[np.bool_] = drop_highest(-logits[None], droppable[None], rate)[0]
    return chosen


def drop_highest(
    scores: NDArray[np.floating[Any]], droppable: NDArray[Any], rate: float
) -> NDArray[np.bool_]:
    """Choose exactly a share of each text's droppable units, rounded down, by highest score.

    Args:
        scores: Float array (batch, n_units). Equal scores are dropped from the left.
        droppable: Array (batch, n_units), non-zero where a unit may be dropped.
        rate: Share of the droppable units to drop, 0 to 1.

    Returns:
        Bool array (batch, n_units), true where a unit is to be dropped:
        `floor(rate * droppable units)` of each row.

    Example:
        >>> drop_highest(np.array([[9.0, 1.0, 3.0, 2.0]]), np.array([[0, 1, 1, 1]]), rate=0.5)
        array([[False, False,  True, False]])
    """
    allowed = droppable.astype(bool)
    # The nudge keeps e.g. 0.29 * 100 (28.999...) from losing a unit.
    count = np.floor(rate * allowed.sum(axis=1) + 1e-9)
    order = np.argsort(np.where(allowed, -scores, np.inf), axis=1, kind="stable")
    dropped: NDArray[np.bool_] = allowed & (order.argsort(axis=1) < count[:, None])
    return dropped
