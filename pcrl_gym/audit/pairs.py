"""Pairs of prompts that differ in one detail that changes the correct answer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources

import regex

from pcrl_gym.episodes.units import split_units

_SLOT = regex.compile(r"\{([^{}|]*)\|([^{}|]*)\}")
_EDGES = regex.compile(r"^[\p{P}\p{S}]+|[\p{P}\p{S}]+$")


@dataclass(frozen=True, slots=True)
class FlipPair:
    """Two prompts with different correct answers.

    Attributes:
        kind: Class of the difference, such as "not" or "number".
        first: The first prompt.
        second: The same prompt with the detail changed or removed.
        source: Origin of the pair: "written", or the family of micro.
    """

    kind: str
    first: str
    second: str
    source: str = "written"


def words_of(text: str) -> list[str]:
    """Return the words of a text, case-folded and without surrounding punctuation.

    In scripts written without spaces, each character is a word.

    Example:
        >>> words_of("Give me “3” pears, not 4!")
        ['give', 'me', '3', 'pears', 'not', '4']
    """
    spans = split_units(text, (), "word")
    words = [text[start:end].strip().casefold() for start, end in spans]
    # A word of only punctuation can be decisive: "8 + 3".
    return [_EDGES.sub("", word) or word for word in words if word]


def decisive_words(pair: FlipPair) -> list[str]:
    """Return the words of the first prompt that the second one lacks or has less often.

    Example:
        >>> decisive_words(FlipPair("limit", "Name at most three", "Name at least three"))
        ['most']
    """
    return list((Counter(words_of(pair.first)) - Counter(words_of(pair.second))).elements())


def fault(pair: FlipPair, first: str, second: str) -> str | None:
    """Return how a compressor fails a pair: "same", "lost", or None if it does not.

    A pair fails if both compressed prompts have the same words, or if the first one lacks a word
    that only it must have; see `decisive_words`.

    Args:
        pair: The pair.
        first: The compressed first prompt.
        second: The compressed second prompt.

    Example:
        >>> pair = FlipPair("not", "Name fruits that are not sweet", "Name fruits that are sweet")
        >>> fault(pair, "fruits sweet", "fruits sweet"), fault(pair, "fruits", "fruits sweet")
        ('same', 'lost')
        >>> fault(pair, "fruits not sweet", "fruits sweet")
    """
    left = words_of(first)
    if left == words_of(second):
        return "same"
    needed = Counter(decisive_words(pair))
    return "lost" if needed - Counter(left) else None


@cache
def written_pairs() -> tuple[FlipPair, ...]:
    """Return the pairs of `pairs.txt`, which were written one by one."""
    text = (resources.files("pcrl_gym.audit") / "pairs.txt").read_text(encoding="utf-8")
    return read_pairs(text.splitlines())


def read_pairs(lines: Sequence[str]) -> tuple[FlipPair, ...]:
    """Parse pairs from lines: "[class]", a prompt with "{one|other}", or a "#" comment.

    Raises:
        ValueError: If a line does not have exactly one slot, or precedes the first class.

    Example:
        >>> [pair] = read_pairs(["[not]", "Name fruits that are {not |}sweet"])
        >>> pair.first, pair.second
        ('Name fruits that are not sweet', 'Name fruits that are sweet')
    """
    pairs = []
    kind = ""
    for line in lines:
        if not line.strip() or line.startswith("#"):
            continue
        if line.startswith("["):
            kind = line.strip("[]")
            continue
        if not kind or len(_SLOT.findall(line)) != 1:
            raise ValueError(
                f"expected a prompt with one {{one|other}} below a [class], got {line!r}"
            )
        pairs.append(FlipPair(kind, _SLOT.sub(r"\1", line), _SLOT.sub(r"\2", line)))
    return tuple(pairs)
