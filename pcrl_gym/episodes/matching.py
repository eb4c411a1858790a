"""Matching a compressor's text to the units of the original prompt."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from rapidfuzz.distance import LCSseq

from pcrl_gym.episodes.units import Span

_WORD = re.compile(r"\w+|[^\w\s]")


def exact_mask(
    units: Sequence[str], droppable: NDArray[np.bool_], text: str
) -> NDArray[np.bool_] | None:
    """Return the keep mask that yields a text, bool (n_units,), or None if there is none.

    Of several masks, it returns the one that keeps the first unit where they differ.

    Args:
        units: Text of each unit, none empty.
        droppable: Bool (n_units,); other units are always kept.
        text: The compressed text.

    Example:
        >>> exact_mask(["a", " b", " a"], np.array([True, True, True]), "a b")
        array([ True,  True, False])
        >>> exact_mask(["a", " b"], np.array([True, True]), "b") is None
        True
    """
    # Entry n: the positions in the text where the last n units may begin.
    places = [{len(text)}]
    for unit, free in zip(reversed(units), reversed(droppable.tolist()), strict=True):
        behind = places[-1]
        before = {end - len(unit) for end in behind if text.endswith(unit, 0, end)}
        places.append(before | behind if free else before)
    if 0 not in places[-1]:
        return None
    place, mask = 0, []
    for unit, behind in zip(units, reversed(places[:-1]), strict=True):
        mask.append(text.startswith(unit, place) and place + len(unit) in behind)
        place += len(unit) if mask[-1] else 0
    return np.array(mask, np.bool_)


def nearest_mask(
    text: str, units: Sequence[Span], droppable: NDArray[np.bool_], rewritten: str
) -> NDArray[np.bool_]:
    """Return which units remain in a rewritten text, bool (n_units,).

    A unit with words (runs of letters and digits, or single signs) is dropped if none of them is in
    a longest common subsequence of the words of both texts. A unit without words is dropped if the
    unit before it is. Protected units count as kept.

    Args:
        text: The original.
        units: Character range of each unit, a partition of `text`.
        droppable: Bool (n_units,).
        rewritten: Any text.

    Example:
        >>> units = [(0, 6), (6, 11), (11, 12), (12, 14)]
        >>> nearest_mask("Please sort: b", units, np.ones(4, np.bool_), "Now sort b!")
        array([False,  True, False,  True])
    """
    words = [match.span() for match in _WORD.finditer(text)]
    own = [text[start:end] for start, end in words]
    gone = np.zeros(len(text) + 1, np.int64)
    has_word = np.zeros(len(text) + 1, np.int64)
    left = {
        place
        for step in LCSseq.opcodes(own, _WORD.findall(rewritten))
        if step.tag == "equal"
        for place in range(step.src_start, step.src_end)
    }
    for i, (start, end) in enumerate(words):
        has_word[start + 1 : end + 1] = 1
        gone[start + 1 : end + 1] = i not in left
    covered, lost = np.cumsum(has_word), np.cumsum(gone)
    kept, before = [], True
    for (start, end), free in zip(units, droppable.tolist(), strict=True):
        letters = covered[end] - covered[start]
        before = not free or (before if not letters else lost[end] - lost[start] < letters)
        kept.append(before)
    return np.array(kept, np.bool_)
