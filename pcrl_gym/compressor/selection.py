"""Select the units to drop from the keep logits of a policy."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray


def dropped_units(
    logits: NDArray[np.float64],
    droppable: NDArray[np.bool_],
    rate: float | None,
    groups: NDArray[np.int64] | None = None,
) -> NDArray[np.bool_]:
    """Return which units of one text are dropped, bool (n_units,), given its keep logits.

    Args:
        logits: Keep logits, float64 (n_units,); see `group_means`.
        droppable: Bool (n_units,).
        rate: Share of the droppable units to drop, rounded down, lowest logits first. Ties are
            dropped from the left. If None, units with logit <= 0 are dropped.
        groups: Group number of each unit, int64 (n_units,), -1 if it is protected. A group is
            dropped as a whole. With a rate, groups are dropped from the lowest logit up as long as
            at most that share of the units is dropped. If None, each droppable unit is its own
            group, and the rate is exact.

    Example:
        >>> logits, droppable = np.array([2.0, -1.0, 1.0]), np.array([True, True, True])
        >>> dropped_units(logits, droppable, None)
        array([False,  True, False])
        >>> dropped_units(logits, droppable, 0.7)
        array([False,  True,  True])
        >>> dropped_units(np.array([2.0, 0.0, 0.0]), droppable, 0.7, np.array([0, 1, 1]))
        array([False,  True,  True])
        >>> dropped_units(np.array([2.0, 0.0, 0.0]), droppable, 0.5, np.array([0, 1, 1]))
        array([False, False, False])
    """
    if rate is None:
        return droppable & (logits <= 0)
    # Logits, not probabilities, which would all be 1.0 for very certain units.
    ranks = drop_ranks(logits, single_units(droppable) if groups is None else groups)
    sizes = np.bincount(ranks[droppable])
    most = _whole_units(rate, np.count_nonzero(droppable))
    return droppable & (ranks < np.searchsorted(np.cumsum(sizes), most, side="right"))


def single_units(droppable: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return groups of one droppable unit each, int64 (n_units,); -1 where a unit is protected.

    Example:
        >>> single_units(np.array([True, False, True]))
        array([ 0, -1,  1])
    """
    return np.where(droppable, np.cumsum(droppable) - 1, -1).astype(np.int64)


def group_means(logits: NDArray[np.float64], groups: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the mean logit of each unit's group, float64 (n_units,); 0 where it is protected.

    `groups` are numbers from 0, int64 (n_units,); -1 where a unit is protected.

    Example:
        >>> group_means(np.array([1.0, 3.0, -1.0, 5.0]), np.array([0, 0, 1, -1]))
        array([ 2.,  2., -1.,  0.])
    """
    inside = groups >= 0
    sums = np.bincount(groups[inside], logits[inside])
    means = np.zeros(len(groups))
    means[inside] = (sums / np.bincount(groups[inside]))[groups[inside]]
    return means


def character_means(
    values: NDArray[np.float64], ranges: ArrayLike, spans: ArrayLike, length: int
) -> NDArray[np.float64]:
    """Return the mean value of the characters of each span, float64 (n_spans,).

    Args:
        values: Value of each range, float64 (n_ranges,).
        ranges: Character ranges, int (n_ranges, 2), sorted, not overlapping.
        spans: Character ranges, int (n_spans, 2), in any order. Characters in no range are ignored;
            the mean is 0 if there are no others.
        length: Number of characters of the text.

    Example:
        >>> character_means(np.array([1.0, 3.0]), [(0, 2), (3, 4)], [(0, 4), (2, 3)], length=4)
        array([1.66666667, 0.        ])
    """
    totals, counts = np.zeros((2, length + 1))
    for value, (start, end) in zip(values, np.asarray(ranges).tolist(), strict=True):
        totals[start + 1 : end + 1] = value
        counts[start + 1 : end + 1] = 1
    totals, counts = np.cumsum(totals), np.cumsum(counts)
    starts, ends = np.asarray(spans, np.int64).reshape(-1, 2).T
    covered = counts[ends] - counts[starts]
    sums = totals[ends] - totals[starts]
    return np.divide(sums, covered, out=np.zeros(len(starts)), where=covered > 0)


def drop_ranks(logits: NDArray[np.float64], groups: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the rank of each unit's group in the order of dropping, int64 (n_units,).

    The group with the lowest logit has rank 0; ties are ranked in text order. Protected units have
    group -1 and rank -1. All units of a group have the same logit. Groups are numbered from 0
    without gaps.

    Example:
        >>> drop_ranks(np.array([2.0, 0.0, 5.0, 0.0]), np.array([0, 1, -1, 2]))
        array([ 2,  0, -1,  1])
    """
    numbers, firsts = np.unique(groups, return_index=True)
    order = np.argsort(logits[firsts[numbers >= 0]], kind="stable")
    # One more entry at the end, which index -1 reads.
    places = np.full(len(order) + 1, -1)
    places[order] = np.arange(len(order))
    ranks: NDArray[np.int64] = places[groups]
    return ranks


def drop_highest(
    scores: NDArray[np.floating[Any]], droppable: NDArray[Any], rate: float
) -> NDArray[np.bool_]:
    """Select the highest-scoring share of each text's droppable units, rounded down.

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
    count = _whole_units(rate, allowed.sum(axis=1))
    order = np.argsort(np.where(allowed, -scores, np.inf), axis=1, kind="stable")
    dropped: NDArray[np.bool_] = allowed & (order.argsort(axis=1) < count[:, None])
    return dropped


def _whole_units(rate: float, units: ArrayLike) -> NDArray[np.float64]:
    """Return a share of each number of units, rounded down."""
    # The nudge keeps e.g. 0.29 * 100 (28.999...) from losing a unit.
    whole: NDArray[np.float64] = np.floor(rate * np.asarray(units) + 1e-9)
    return whole
