"""Units: the slices of a text that an action bit keeps or drops."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Literal, TypeAlias, get_args

import regex

UnitKind: TypeAlias = Literal["token", "word"]
Span: TypeAlias = tuple[int, int]

UNSPACED = (
    r"[\p{Han}\p{Hiragana}\p{Katakana}\p{Word_Break=Katakana}\p{Bopomofo}\p{Yi}\p{Tibetan}"
    r"\p{Line_Break=Complex_Context}--\p{N}]"
)
"""Character set of scripts written without spaces, for `regex` with the `V1` flag.

`Complex_Context` covers Thai, Lao, Khmer, Myanmar, and related scripts.
"""

_RUN = re.compile(r"\S+")
_UNSPACED = regex.compile(UNSPACED, regex.V1)
_OPENING = r"[\p{Ps}\p{Pi}]"
_WORD = regex.compile(
    # Runs of Katakana and syllables of Tibetan are words; in other scripts, each character is one.
    rf"{_OPENING}*(?:[\p{{Katakana}}\p{{Word_Break=Katakana}}]+|[\p{{Tibetan}}--\p{{P}}]+|(?={UNSPACED})\X)"
    # Punctuation and symbols belong to the word that they follow.
    rf"(?:(?!{_OPENING})[^\p{{L}}\p{{M}}\p{{N}}_])*"
    rf"|(?:(?!{UNSPACED}).)+",
    regex.V1 | regex.DOTALL,
)


def split_units(
    text: str, offsets: Sequence[Span], kind: UnitKind, ranges: Iterable[Span] = ()
) -> list[Span]:
    """Split a text into units.

    The units are a partition: every character (Unicode code point) is in exactly one of them, in
    order, so that joining all slices restores the exact text.

    * `"token"`: one unit per token of the policy's tokenizer. Tokens that share a character form
      one unit, and whitespace tokens are merged with the next token.
    * `"word"`: one unit per run of non-whitespace characters. In scripts written without spaces,
      one per character with its marks (Chinese, Hiragana, Thai, Lao, Khmer, Myanmar, ...), run of
      Katakana, or syllable of Tibetan, each with the punctuation that follows.

    Whitespace belongs to the next unit, or to the previous one at the end of a range. Characters
    that the tokenizer omits (uncased tokenizers drop accents and control characters) belong to the
    token directly before them, else to the next one. The borders of `ranges` are borders of units,
    so whitespace between two borders is a unit.

    Args:
        text: The text; may be empty.
        offsets: Character range `(start, end)` of each token. Empty ranges are ignored, order
            does not matter, and ranges may overlap or leave gaps, as those of real tokenizers do.
        kind: `"token"` or `"word"`.
        ranges: Character ranges that units may not cross: template text and protected text.

    Returns:
        Character ranges `(start, end)` of the units in text order, none empty.

    Raises:
        ValueError: If the kind is unknown.

    Example:
        >>> split_units("Sort: b a ", [(0, 4), (4, 5), (6, 7), (8, 9)], "token", ranges=[(0, 6)])
        [(0, 4), (4, 6), (6, 7), (7, 10)]
        >>> split_units("Sort: b a ", [], "word")
        [(0, 5), (5, 7), (7, 10)]
        >>> split_units("iPhone手机 ok", [], "word")
        [(0, 6), (6, 7), (7, 8), (8, 11)]
    """
    check_unit_kind(kind)
    pieces = list(_words(text) if kind == "word" else _merge_overlapping(text, offsets))
    borders = sorted({0, len(text)}.union(*ranges))
    spans: list[Span] = []
    index = 0
    for start, end in pairwise(borders):
        ends = []
        while index < len(pieces) and pieces[index][0] < end:
            ends.append(min(pieces[index][1], end))
            if pieces[index][1] > end:  # continues past the border
                break
            index += 1
        spans += _cut_range(text, start, end, ends)
    return spans


def first_tokens(text: str, spans: Sequence[Span], offsets: Sequence[Span]) -> list[int | None]:
    """Return the index of the first token of each unit.

    This is the first token with a visible character in the unit, else the first token with any
    character in it, or None if the tokenizer omits all of the unit's characters.

    Example:
        >>> first_tokens("a  b", [(0, 1), (1, 4)], [(0, 1), (1, 2), (2, 4)])
        [0, 2]
    """
    starts = [start for start, _ in spans]
    visible: list[int | None] = [None] * len(spans)
    blank: list[int | None] = [None] * len(spans)
    for token, (start, end) in enumerate(offsets):
        if start >= end:
            continue
        piece = text[start:end]
        first_visible = start + len(piece) - len(piece.lstrip())
        found, begin = (visible, first_visible) if first_visible < end else (blank, start)
        unit = bisect_right(starts, begin) - 1
        while unit < len(spans) and starts[unit] < end:
            if found[unit] is None:
                found[unit] = token
            unit += 1
    return [b if v is None else v for v, b in zip(visible, blank, strict=True)]


def merge_spans(spans: Iterable[Span]) -> list[Span]:
    """Return character ranges in order, merging those that overlap or touch.

    Example:
        >>> merge_spans([(3, 7), (0, 2), (2, 3), (8, 9)])
        [(0, 7), (8, 9)]
    """
    merged: list[Span] = []
    for start, end in sorted(spans):
        if merged and start <= merged[-1][1]:
            start, end = merged[-1][0], max(end, merged.pop()[1])
        merged.append((start, end))
    return merged


def check_unit_kind(kind: str) -> None:
    """Raise a `ValueError` if the kind of unit is unknown."""
    if kind not in get_args(UnitKind):
        kinds = " or ".join(repr(known) for known in get_args(UnitKind))
        raise ValueError(f"unit must be {kinds}, got {kind!r}")


def _words(text: str) -> Iterator[Span]:
    """Yield the words, separated only by whitespace."""
    for run in _RUN.finditer(text):
        if _UNSPACED.search(text, *run.span()):
            yield from (word.span() for word in _WORD.finditer(text, *run.span()))
        else:
            yield run.span()


def _merge_overlapping(text: str, offsets: Iterable[Span]) -> Iterator[Span]:
    """Yield the ranges in order, joining overlaps and extending ranges over visible gaps."""
    first = last = 0
    for start, end in sorted(offsets):
        if start >= end:
            continue
        if start < last:
            last = max(last, end)
        else:
            if last:
                while last < start and not text[last].isspace():
                    last += 1
                yield first, last
            first, last = start, end
    if last:
        yield first, last


def _cut_range(text: str, start: int, end: int, ends: Iterable[int]) -> list[Span]:
    """Split a range after each of `ends`, merging whitespace-only pieces with a neighbor."""
    spans: list[Span] = []
    begin = start
    for cut in ends:
        if not text[begin:cut].isspace():
            spans.append((begin, cut))
            begin = cut
    if begin < end:
        last = spans.pop()[0] if spans else begin
        spans.append((last, end))
    return spans


def first_visible(text: str, span: Span) -> int:
    r"""Return the index of the first non-whitespace character of a span, else of its last one.

    Example:
        >>> first_visible("a  b", (1, 4)), first_visible("a\n\nb", (1, 3))
        (3, 2)
    """
    start, end = span
    return end - len(text[start:end].lstrip() or " ")
