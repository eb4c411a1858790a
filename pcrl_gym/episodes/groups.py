r"""Words of an episode: groups of its units that are dropped together or not at all.

A policy may read tokens and drop words, so that what it leaves can be read. A group is

* a word, as `units.split_units` cuts it: in scripts without spaces a character with its marks;
* a number of several words, as `protection.find_numbers` finds it: `1 250,75`, `(555) 123-4567`;
* a name: words one space apart that begin with a capital letter, without the first word of a
  sentence: `San Francisco`, `Ms Ada Lovelace`.

A unit that reaches into several words belongs to the first of them.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING

import numpy as np
import regex
from numpy.typing import NDArray

from pcrl_gym.episodes.protection import find_numbers
from pcrl_gym.episodes.units import Span, split_units

if TYPE_CHECKING:
    from pcrl_gym.episodes.episode import Episode

_CAPITALIZED = r"(?:(?:Mr|Mrs|Ms|Dr|Prof|St|\p{Lu})\.|\p{Lu}[\p{L}\p{M}\p{N}'\u2019&-]*)"
_NAME = regex.compile(rf"(?<=[\p{{L}}\p{{N}},;)] ){_CAPITALIZED}(?: {_CAPITALIZED})+")


def word_groups(episode: Episode) -> NDArray[np.int64]:
    """Return the number of the group of each unit, int64 (n_units,); -1 where it is protected.

    Groups are numbered from 0 in the order of the text. A group with a protected unit is protected.

    Example:
        >>> from pcrl_gym.envs.task import make_task
        >>> from pcrl_gym.prompts.prompt import Prompt
        >>> prompts = [Prompt("0", "Is Lake Como far? Go to Lake Como.")]
        >>> [episode] = make_task(dataset=prompts, unit="word").episodes[:]
        >>> [episode.text[start:end] for start, end in episode.spans][1:-1]
        ['Is', ' Lake', ' Como', ' far?', ' Go', ' to', ' Lake', ' Como.']
        >>> word_groups(episode)[1:-1]
        array([0, 1, 1, 2, 3, 4, 5, 5])
    """
    text = str(episode.text)
    words = split_units(text, (), "word", episode.fixed)
    starts = [start for start, _ in words]
    first_words = np.arange(len(words))
    for start, end in _things(text, episode.fixed):
        first, last = (bisect_right(starts, place) - 1 for place in (start, end - 1))
        first_words[first : last + 1] = first_words[first]
    visible = [_first_visible(text, span) for span in episode.spans]
    of_unit = first_words[[bisect_right(starts, place) - 1 for place in visible]]
    protected = np.isin(of_unit, of_unit[~episode.droppable])
    _, numbers = np.unique(np.where(protected, -1, of_unit), return_inverse=True)
    return numbers.astype(np.int64) - bool(protected.any())


def _things(text: str, fixed: tuple[Span, ...]) -> list[Span]:
    """Return what may be several words, in order of the kinds; the template's text holds none."""
    borders = [0, *(place for span in fixed for place in span), len(text)]
    found = []
    for start, end in zip(borders[::2], borders[1::2], strict=True):
        own = text[start:end]
        spans = [*find_numbers(own), *(match.span() for match in _NAME.finditer(own))]
        found += [(start + first, start + last) for first, last in spans]
    return sorted(found)


def _first_visible(text: str, span: Span) -> int:
    start, end = span
    return end - len(text[start:end].lstrip() or " ")
