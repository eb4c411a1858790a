"""Rate long texts in overlapping windows: each unit once, with context on both sides."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from pcrl_gym.episodes.episode import Episode

CONTEXT_SHARE = 8
"""1 / CONTEXT_SHARE of a window is context on each side, which adds a third more windows."""


class Rater(Protocol):
    """A policy network with an array interface, which threads may share.

    Attributes:
        device: Device that it runs on, such as "cpu" or "cuda".
        vocabulary_size: Number of token IDs that it knows.
        max_units: Maximum number of units that it reads at once, or None if unlimited.
    """

    device: str
    vocabulary_size: int
    max_units: int | None

    def rate(
        self,
        ids: NDArray[np.int64],
        attended: NDArray[np.bool_],
        droppable: NDArray[np.bool_],
    ) -> NDArray[np.float64]:
        """Return keep logits, float64 (batch, units); 0 where a unit cannot be dropped.

        Args:
            ids: Token ID of each unit, int64 (batch, units), with at least one row.
            attended: Bool (batch, units), True where there is a unit.
            droppable: Bool (batch, units), True where it may be dropped.
        """
        ...


class Window(NamedTuple):
    """Units `start` to `end`, read together to rate the units `first` to `last`."""

    start: int
    end: int
    first: int
    last: int


def plan_windows(units: int, room: int, context: int) -> list[Window]:
    """Cover units with windows so that exactly one window rates each unit.

    Except at the ends of the text, each unit is read with at least `context` units on either side.
    If there are several windows, all are full.

    Args:
        units: Number of units, 0 or more.
        room: Units per window, more than twice the context.
        context: Units at the inner ends of a window that the neighboring window rates.

    Example:
        >>> plan_windows(8, room=8, context=2)
        [Window(start=0, end=8, first=0, last=8)]
        >>> plan_windows(9, room=8, context=2)
        [Window(start=0, end=8, first=0, last=6), Window(start=1, end=9, first=6, last=9)]
    """
    windows = []
    first = start = 0
    while start + room < units:
        windows.append(Window(start, start + room, first, start + room - context))
        first = start + room - context
        start += room - 2 * context
    if units:
        start = max(0, min(start, units - room))
        windows.append(Window(start, units, first, units))
    return windows


class _Row(NamedTuple):
    """Policy input for one window, including the template's units around it."""

    ids: NDArray[np.int64]
    droppable: NDArray[np.bool_]
    logits: NDArray[np.float64]
    """View of the episode's ratings to fill; its first entry is the rating at index `first`."""
    first: int


def rate_units(
    rater: Rater, episodes: Sequence[Episode], max_units: int, batch_size: int
) -> list[NDArray[np.float64]]:
    """Return each episode's keep logits, float64 (n_units,); 0 where a unit cannot be dropped.

    The template's units surround every window of at most `max_units`. The windows of all episodes
    are processed together, in batches of similar length.

    Raises:
        ValueError: If the template leaves no room for a unit, or the network returns NaN.
    """
    ratings = [np.zeros(len(episode), np.float64) for episode in episodes]
    rows = [
        row
        for episode, rating in zip(episodes, ratings, strict=True)
        for row in _rows(episode, rating, max_units)
    ]
    rows.sort(key=lambda row: len(row.ids))
    for begin in range(0, len(rows), batch_size):
        batch = rows[begin : begin + batch_size]
        for row, logits in zip(batch, _logits(rater, batch), strict=True):
            row.logits[:] = logits[row.first : row.first + len(row.logits)]
    return ratings


def _rows(episode: Episode, rating: NDArray[np.float64], max_units: int) -> Iterator[_Row]:
    """Yield the policy input for each window of one episode."""
    body, (before, after) = episode.body, episode.around
    head = np.array([*before, *episode.unit_ids[: body.start]], np.int64)
    tail = np.array([*episode.unit_ids[body.stop :], *after], np.int64)
    ids, droppable, rating = episode.unit_ids[body], episode.droppable[body], rating[body]
    room = max_units - len(head) - len(tail)
    if len(ids) and room < 1:
        raise ValueError(
            f"the template alone has {max_units - room} units, but the policy reads only "
            f"{max_units} at once: raise max_units"
        )
    if not droppable.any():
        return
    for start, end, first, last in plan_windows(len(ids), room, room // CONTEXT_SHARE):
        yield _Row(
            np.concatenate([head, ids[start:end], tail]),
            np.pad(droppable[start:end], (len(head), len(tail))),
            rating[first:last],
            len(head) + first - start,
        )


def _logits(rater: Rater, rows: Sequence[_Row]) -> NDArray[np.float64]:
    shape = (len(rows), max(len(row.ids) for row in rows))
    ids = np.zeros(shape, np.int64)
    attended, droppable = np.zeros(shape, np.bool_), np.zeros(shape, np.bool_)
    for place, row in enumerate(rows):
        n = len(row.ids)
        ids[place, :n], attended[place, :n], droppable[place, :n] = row.ids, True, row.droppable
    logits = rater.rate(ids, attended, droppable)
    if not np.isfinite(logits).all():
        raise ValueError("the policy's logits contain NaN or infinity: its weights are damaged")
    return logits
