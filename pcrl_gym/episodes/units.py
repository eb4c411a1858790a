"""Units: the slices of a text that one action bit keeps or drops."""

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
"""Set of the letters and marks of scripts written without spaces, for `regex` with its `V1` flag.

Complex context are Thai, Lao, Khmer, Myanmar and their relatives.
"""

_RUN = re.compile(r"\S+")
_UNSPACED = regex.compile(UNSPACED, regex.V1)
_OPENING = r"[\p{Ps}\p{Pi}]"
_WORD = regex.compile(
    # Runs of Katakana and syllables of Tibetan are words, of the other scripts each character is.
    rf"{_OPENING}*(?:[\p{{Katakana}}\p{{Word_Break=Katakana}}]+|[\p{{Tibetan}}--\p{{P}}]+|(?={UNSPACED})\X)"
    # Punctuation and symbols go with what they follow.
    rf"(?:(?!{_OPENING})[^\p{{L}}\p{{M}}\p{{N}}_])*"
    rf"|(?:(?!{UNSPACED}).)+",
    regex.V1 | regex.DOTALL,
)


def split_units(
    text: str, offsets: Sequence[Span], kind: UnitKind, ranges: Iterable[Span] = ()
) -> list[Span]:
    """Cut a text into units.

    The units are a partition: every character (Unicode code point) is in exactly one of them, in
    order, so that joining all slices gives the text back to the byte.

    * `"token"`: one unit per token of the policy's tokenizer. Tokens that share a character are
      one unit, so are tokens of white space with the token that follows.
    * `"word"`: one unit per run of characters that are not white space. In scripts written
      without spaces, one per character with its marks (Chinese, Hiragana, Thai, Lao, Khmer,
      Myanmar, ...), run of Katakana or syllable of Tibetan, with the punctuation that follows.

    White space belongs to the unit that follows, at the end of a range to the one before.
    Characters that the tokenizer left out (an uncased one drops accents and control characters)
    belong to the token that they directly follow, else to the next. The borders of given ranges
    are borders of units, so white space between two of them is a unit.

    Args:
        text: The text; may be empty.
        offsets: Character range `(start, end)` of each token. Empty ranges are ignored, order
            does not matter, and ranges may overlap or leave gaps, as those of real tokenizers do.
        kind: `"token"` or `"word"`.
        ranges: Character ranges that no unit reaches into or out of: the template's own text, and
            what is protected.

    Returns:
        Character ranges `(start, end)` of the units in the order of the text, none empty.

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
    """Return for each unit the index of the token that it begins with.

    That is the first token with a visible character in the unit; where there is none, the first
    token with any character in it; None if the tokenizer left all of the unit's characters out.

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
    """Return character ranges in order, those that overlap or touch as one.

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
    """Raise `ValueError` if there is no such kind of unit."""
    if kind not in get_args(UnitKind):
        kinds = " or ".join(repr(known) for known in get_args(UnitKind))
        raise ValueError(f"unit must be {kinds}, got {kind!r}")


def _words(text: str) -> Iterator[Span]:
    """Yield the words; between two of them there is nothing but white space."""
    for run in _RUN.finditer(text):
        if _UNSPACED.search(text, *run.span()):
            yield from (word.span() for word in _WORD.finditer(text, *run.span()))
        else:
            yield run.span()


def _merge_overlapping(text: str, offsets: Iterable[Span]) -> Iterator[Span]:
    """Yield the ranges in order; those that overlap are joined, visible gaps go to the left."""
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
    """Cut one range behind each of `ends`, leaving no unit of white space beside another unit."""
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
    r"""Return the place of the first character of a span that is not white space, else its last.

    Example:
        >>> first_visible("a  b", (1, 4)), first_visible("a\n\nb", (1, 3))
        (3, 2)
    """
    start, end = span
    return end - len(text[start:end].lstrip() or " ")
