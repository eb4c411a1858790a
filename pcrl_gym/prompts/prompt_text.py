"""The text of a prompt, with the ranges of characters that belong to the template."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

Span = tuple[int, int]


class PromptText(str):
    """A string that records which of its characters were written by a template.

    Otherwise, it is an ordinary string. Local generators read control tokens (such as
    `<|im_start|>`) as control tokens in the template's ranges and as text anywhere else. Slices,
    sums, and other results of string methods are plain strings.

    Two prompts with the same characters but different ranges are not equal, because a model may
    read them differently. A plain string equals a prompt with the same characters.

    Args:
        text: The characters.
        fixed: Ranges `(start, end)` of template text, sorted and not overlapping.

    Attributes:
        fixed: The ranges; adjacent ones are merged, and none is empty.

    Raises:
        ValueError: If a range is not inside the text, or the ranges are not sorted or overlap.

    Example:
        >>> text = PromptText("<s>Sort: b a", ((0, 3), (3, 9)))
        >>> text, text.fixed
        ('<s>Sort: b a', ((0, 9),))
        >>> text == "<s>Sort: b a", text == PromptText("<s>Sort: b a", ((0, 3),))
        (True, False)
    """

    fixed: tuple[Span, ...]

    def __new__(cls, text: str, fixed: Iterable[Span] = ()) -> PromptText:
        """Validate and merge the ranges; see the class."""
        made = super().__new__(cls, text)
        merged: list[Span] = []
        end = 0
        for start, stop in fixed:
            if not end <= start <= stop <= len(text):
                raise ValueError(
                    "the fixed ranges of a prompt must be sorted, non-overlapping, and within its "
                    f"{len(text)} characters, got {(start, stop)}"
                )
            if start < stop:
                touches = bool(merged) and end == start
                merged.append((merged.pop()[0] if touches else start, stop))
                end = stop
        made.fixed = tuple(merged)
        return made

    def __eq__(self, other: object) -> bool:
        if isinstance(other, PromptText) and self.fixed != other.fixed:
            return False
        return str.__eq__(self, other)

    def __ne__(self, other: object) -> bool:
        return not self == other

    __hash__ = str.__hash__

    def __reduce__(self) -> tuple[type[PromptText], tuple[str, tuple[Span, ...]]]:
        return type(self), (str(self), self.fixed)


@dataclass(frozen=True, slots=True)
class RenderedPrompt:
    """The text that a generator reads for one prompt.

    Attributes:
        text: The whole text, stored as a `PromptText` with `fixed`.
        fixed: Character ranges `(start, end)` of `text` that belong to the template, sorted, not
            overlapping, none empty. Everything else is user content.

    Raises:
        ValueError: If `fixed` is invalid.
    """

    text: str
    fixed: tuple[Span, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "text", PromptText(self.text, self.fixed))


def join_pieces(pieces: Sequence[tuple[str, bool]]) -> RenderedPrompt:
    """Join `(text, is_template)` pieces, skipping empty ones."""
    fixed, end = [], 0
    for text, is_fixed in pieces:
        start, end = end, end + len(text)
        if is_fixed and text:
            fixed.append((start, end))
    return RenderedPrompt("".join(text for text, _ in pieces), tuple(fixed))


def framed(text: str, frame: tuple[str, str]) -> str:
    """Return a text as a `PromptText` whose prefix and suffix belong to the template.

    A text that does not begin and end with `frame` (see `ChatTemplate.frame`) is returned
    unchanged.
    """
    prefix, suffix = frame
    start, end = len(prefix), len(text) - len(suffix)
    if start > end or not (text.startswith(prefix) and text.endswith(suffix)):
        return text
    return PromptText(text, ((0, start), (end, len(text))))


def join_kept(text: str, spans: Sequence[Span], kept: Sequence[bool]) -> str:
    """Join the kept units of a text; the ranges of a `PromptText` move with their characters.

    Args:
        text: A plain string or a `PromptText`.
        spans: Range of each unit, a partition of `text`; each is inside or outside a fixed range.
        kept: Whether each unit is kept.

    Example:
        >>> short = join_kept(
        ...     PromptText("Say: a b", ((0, 5),)), [(0, 5), (5, 6), (6, 8)], [1, 0, 1]
        ... )
        >>> short, short.fixed
        ('Say:  b', ((0, 5),))
    """
    left = [span for span, keep in zip(spans, kept, strict=True) if keep]
    joined = "".join([text[start:end] for start, end in left])
    if not isinstance(text, PromptText):
        return joined
    moved = []
    behind = (len(text), len(text) + 1)
    ranges = iter(text.fixed)
    first, last = next(ranges, behind)
    place = 0
    for start, end in left:
        while start >= last:
            first, last = next(ranges, behind)
        if start >= first:
            moved.append((place, place + end - start))
        place += end - start
    return PromptText(joined, moved)


def cache_key(text: str) -> str:
    """Return a key that differs for prompts that a model may read differently."""
    fixed = getattr(text, "fixed", ())
    return f"{text}\0{json.dumps(fixed)}" if fixed else str(text)
