r"""Words of an episode: groups of units that are dropped together or not at all.

A policy may read tokens but drop words, so that the compressed text stays readable. A group is

* a word from `units.split_units`; in scripts without spaces, a character with its marks;
* a number of several words from `protection.find_numbers`: `1 250,75`, `(555) 123-4567`;
* a name: capitalized words one space apart, without the first word of a sentence:
  `San Francisco`, `Ms Ada Lovelace`.

A unit that spans several words belongs to the first of them.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence

import numpy as np
import regex
from numpy.typing import NDArray

from pcrl_gym.episodes.protection import find_numbers
from pcrl_gym.episodes.units import Span, first_visible, split_units

_CAPITALIZED = r"(?:(?:Mr|Mrs|Ms|Dr|Prof|St|\p{Lu})\.|\p{Lu}[\p{L}\p{M}\p{N}'\u2019&-]*)"
_NAME = regex.compile(rf"(?<=[\p{{L}}\p{{N}},;)] ){_CAPITALIZED}(?: {_CAPITALIZED})+")


def word_groups(
    text: str, spans: Sequence[Span], droppable: NDArray[np.bool_]
) -> NDArray[np.int64]:
    """Return the group number of each unit, int64 (n_units,); -1 for protected groups.

    Groups are numbered from 0 in text order. A group with a protected unit is protected.

    Args:
        text: The text of an episode.
        spans: Character range of each unit, together a partition of the text or of a prefix of it;
            a word that extends beyond the prefix is protected.
        droppable: Bool (n_units,).

    Example:
        >>> spans = [(0, 2), (2, 5), (5, 7), (7, 12), (12, 15), (15, 17)]
        >>> word_groups("Is Lake Como far?", spans, np.array([True] * 6))
        array([0, 1, 1, 1, 2, 2])
    """
    if not len(spans):
        return np.zeros(0, np.int64)
    changes = np.flatnonzero(droppable[1:] != droppable[:-1]).tolist()
    edges = [spans[place][1] for place in changes]
    words = split_units(text, (), "word", [(edge, edge) for edge in edges])
    starts = [start for start, _ in words]
    firsts = np.arange(len(words))  # the first word of each one's group
    for start, end in _things(text):
        first, last = (bisect_right(starts, place) - 1 for place in (start, end - 1))
        firsts[first : last + 1] = firsts[first]
    visible = [first_visible(text, span) for span in spans]
    of_unit = firsts[[bisect_right(starts, place) - 1 for place in visible]]
    fixed = of_unit[~droppable].tolist()
    if spans[-1][1] < len(text):
        rest = first_visible(text, (spans[-1][1], len(text)))
        fixed.append(firsts[bisect_right(starts, rest) - 1])
    protected = np.isin(of_unit, fixed)
    _, numbers = np.unique(np.where(protected, -1, of_unit), return_inverse=True)
    return numbers.astype(np.int64) - bool(protected.any())


def _things(text: str) -> list[Span]:
    """Return the ranges that may span several words (numbers and names), in order."""
    return sorted([*find_numbers(text), *(match.span() for match in _NAME.finditer(text))])
