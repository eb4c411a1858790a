"""Long texts in windows: every unit is rated once, with neighbours on both sides in sight."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from pcrl_gym.generators.torch_state import own_state

if TYPE_CHECKING:
    from pcrl_gym.compressor.network import KeepNetwork
    from pcrl_gym.compressor.passages import Passage

CONTEXT_SHARE = 8
"""One part in so many of a window's room is context on each side: it costs a third more windows."""


class Window(NamedTuple):
    """A range of units that the policy reads together.

    Attributes:
        start: First unit that is read.
        end: Behind the last unit that is read.
        first: First unit whose rating counts.
        last: Behind the last unit whose rating counts.
    """

    start: int
    end: int
    first: int
    last: int


def plan_windows(units: int, room: int, context: int) -> list[Window]:
    """Cover some units with windows, so that each unit's rating comes from exactly one.

    Inside the text at least `context` units on either side of a unit are read with it. If there are
    several windows, all are full.

    Args:
        units: How many units there are, 0 or more.
        room: Units per window.
        context: Units at the inner ends of a window whose rating is left to its neighbour; below
            half the room.

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


def rate_passages(
    network: KeepNetwork,
    passages: Sequence[Passage],
    max_units: int,
    batch_size: int,
) -> list[NDArray[np.float64]]:
    """Ask the policy about every unit.

    The template's units stand around every window. Windows of all passages go through the network
    together, those of about one length in one batch.

    Args:
        network: The policy.
        passages: What to rate.
        max_units: Most units that the policy reads at once, template included.
        batch_size: Windows per batch.

    Returns:
        Per passage the keep logits, float64 (n_read,); 0 where a unit cannot be dropped.

    Raises:
        ValueError: If the template leaves no room for a unit, or the network gives NaN.
    """
    ratings = [np.zeros(len(passage.ids), np.float64) for passage in passages]
    jobs = []
    for index, passage in enumerate(passages):
        body = passage.tail - passage.head
        room = max_units - (len(passage.ids) - body)
        if body and room < 1:
            raise ValueError(
                f"the template alone has {max_units - room} units, and the policy reads "
                f"{max_units} at once: raise max_units"
            )
        jobs += [(index, window) for window in plan_windows(body, room, room // CONTEXT_SHARE)]
    read = [_units_read(passages[index], window) for index, window in jobs]
    order = sorted(range(len(jobs)), key=lambda job: len(read[job]))
    for begin in range(0, len(order), batch_size):
        chosen = order[begin : begin + batch_size]
        logits = _logits(network, passages, [(jobs[j][0], read[j]) for j in chosen])
        for row, job in enumerate(chosen):
            index, window = jobs[job]
            head = passages[index].head
            ratings[index][head + window.first : head + window.last] = logits[
                row, head + window.first - window.start : head + window.last - window.start
            ]
    return ratings


def _units_read(passage: Passage, window: Window) -> NDArray[np.intp]:
    """Return places of the units that are read in one window, the template's around the others."""
    head, tail = passage.head, passage.tail
    return np.concatenate(
        [
            np.arange(head),
            np.arange(head + window.start, head + window.end),
            np.arange(tail, len(passage.ids)),
        ]
    )


def _logits(
    network: KeepNetwork,
    passages: Sequence[Passage],
    rows: Sequence[tuple[int, NDArray[np.intp]]],
) -> NDArray[np.float64]:
    shape = (len(rows), max(len(units) for _, units in rows))
    ids = np.zeros(shape, np.int64)
    attended = np.zeros(shape, np.int64)
    free = np.zeros(shape, np.int64)
    for row, (index, units) in enumerate(rows):
        ids[row, : len(units)] = passages[index].ids[units]
        attended[row, : len(units)] = 1
        free[row, : len(units)] = passages[index].free[units]
    device = network.droppable_embedding.weight.device
    with own_state(network):
        tensors = (torch.from_numpy(array).to(device) for array in (ids, attended, free))
        logits: NDArray[np.float64] = network(*tensors)[0].cpu().double().numpy()
    if not np.isfinite(logits).all():
        raise ValueError("the policy rates units with NaN or infinity: its weights are broken")
    return logits
