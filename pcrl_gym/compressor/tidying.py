"""Remove the stray spaces that dropped units leave behind in a text."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from pcrl_gym.episodes.units import Span

_BREAKS = "\n\r\v\f\x1c\x1d\x1e\x85\u2028\u2029"


def tidy(original: str, kept: Iterable[Span]) -> str:
    """Return the kept ranges of a text, joined, without stray spaces where something was dropped.

    Only at these positions:

    * spaces (and tabs) on both sides become one space, but are kept between two words with digits,
      since numbers one space apart read as one;
    * spaces at the beginning and the end of the text or a line are removed.

    Line breaks are kept.

    Args:
        original: The text before compression.
        kept: Ranges that were kept, in order, as in `Compression.kept_spans`.

    Example:
        >>> tidy("Please sort these words: b a", [(6, 11), (23, 28)])
        'sort: b a'
        >>> tidy("one, please, two", [(0, 5), (12, 16)]), tidy("3 and 5", [(0, 2), (5, 7)])
        ('one, two', '3  5')
    """
    pieces, cuts = [], []
    end = length = 0
    for start, stop in [*kept, (len(original), len(original))]:
        if start > end:
            cuts.append(length)
        pieces.append(original[start:stop])
        length += stop - start
        end = stop
    text = "".join(pieces)
    tidied, done = [], 0
    for start, end, inside in _blanks(text, cuts):
        tidied.append(text[done:start])
        done = end
        at_border = start == 0 or end == len(text)
        if not (at_border or text[start - 1] in _BREAKS or text[end] in _BREAKS):
            stays = not inside or (_has_digit(text, start, -1) and _has_digit(text, end, 1))
            tidied.append(text[start:end] if stays else " ")
    return "".join([*tidied, text[done:]])


def _blanks(text: str, cuts: Iterable[int]) -> Iterator[tuple[int, int, bool]]:
    """Yield each run of spaces that touches a cut, and whether a cut has spaces on both sides."""
    start = end = -1
    inside = False
    for cut in cuts:
        if cut > end:
            if end > start:
                yield start, end, inside
            start, end, inside = cut, cut, False
            while start > 0 and _is_blank(text[start - 1]):
                start -= 1
            while end < len(text) and _is_blank(text[end]):
                end += 1
        inside |= start < cut < end
    if end > start:
        yield start, end, inside


def _is_blank(character: str) -> bool:
    return character.isspace() and character not in _BREAKS


def _has_digit(text: str, place: int, step: int) -> bool:
    """Return whether the word that ends (step -1) or begins (1) at `place` has a digit."""
    if step < 0:
        place -= 1
    while 0 <= place < len(text) and not text[place].isspace():
        if text[place].isnumeric():
            return True
        place += step
    return False
