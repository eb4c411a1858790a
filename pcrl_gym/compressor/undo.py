"""Restore the original of a compressed text, or mark its dropped parts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from pcrl_gym.episodes.units import Span


def restore(text: str, dropped: Iterable[tuple[int, str] | Sequence[int | str]]) -> str:
    """Return the original of a compressed text.

    Args:
        text: The kept parts, joined, as in `Compression.text`.
        dropped: The dropped parts in order, as pairs `(start, text)` of the position in the
            original and the text, as in `Compression.dropped`, or as lists loaded from JSON.

    Raises:
        ValueError: If the parts are not in order, overlap, or do not fit the text.

    Example:
        >>> restore("Sort: fig", [(0, "Please "), (7, "S")])
        'Please SSort: fig'
        >>> restore(" sort fig", [(0, "Please"), (11, " these")])
        'Please sort these fig'
    """
    pieces = []
    place = used = 0  # in the original, in the text
    for start, piece in dropped:
        kept = int(start) - place
        if kept < 0 or used + kept > len(text):
            raise ValueError(
                f"cannot restore a part at {start}: the text is restored up to {place}, and "
                f"{len(text) - used} kept characters are left"
            )
        pieces += [text[used : used + kept], str(piece)]
        used += kept
        place = int(start) + len(str(piece))
    return "".join([*pieces, text[used:]])


def with_marker(original: str, dropped: Iterable[Span], marker: str) -> str:
    """Return a text with a marker in place of each dropped range.

    Example:
        >>> with_marker("Please sort these: fig", [(0, 6), (11, 17)], "[...]")
        '[...] sort[...]: fig'
    """
    pieces, end = [], 0
    for start, stop in dropped:
        pieces += [original[end:start], marker]
        end = stop
    return "".join([*pieces, original[end:]])
