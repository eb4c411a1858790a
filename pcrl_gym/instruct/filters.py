"""Which of the texts that a model wrote may be prompts: pure rules."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

import regex

MIN_WORDS, MAX_WORDS = 8, 120
RUN = 4
"""Words in a row by which near-duplicates are found."""
SHARED = 0.5
"""Share of its runs that a prompt may have in common with one prompt before it."""

_PERSONAL = regex.compile(
    # Addresses; telephone numbers, and others of nine digits or more.
    r"\w@\w|https?:|www\.|\d{9}|(?<!\d)\(?\d{2,4}\)?[ .-]\d{3,4}[ .-]?\d{3,4}(?!\d)"
)
_CONTROL = regex.compile(
    r"<\|\w*\|>|</?s>|<(bos|eos|pad|unk)>|\[/?INST\]|^\s*(system|assistant|user|human|ai)\s*:"
    r"|smollm|hugging ?face",
    regex.IGNORECASE | regex.MULTILINE,
)
_BLANK = regex.compile(
    r"\[[^\]\n]*\b(name|insert|your|company|date|title|product)\b[^\]\n]*\]", regex.I
)


def fault(text: str, ended: bool) -> str | None:
    """Return why a text cannot be a prompt, as a key of the data card; None if it can.

    Example:
        >>> fault("Write to anna@example.org and ask her for the report.", True)
        'personal data'
    """
    words = text.split()
    rules = {
        "unfinished": not ended,
        "length": not MIN_WORDS <= len(words) <= MAX_WORDS,
        "personal data": _PERSONAL.search(text),
        "control text": _CONTROL.search(text),
        "blanks to fill in": _BLANK.search(text),
        "repetition": _repeats(words),
    }
    return next((rule for rule, broken in rules.items() if broken), None)


def _repeats(words: Sequence[str]) -> bool:
    """Return whether half of the runs of three words are there twice, as where a model loops."""
    runs = list(zip(words, words[1:], words[2:], strict=False))
    return len(set(runs)) <= len(runs) / 2


def without_duplicates(texts: Sequence[str], others: Iterable[str] = ()) -> list[int]:
    """Return the indices of the texts that no text before them, and none of `others`, is close to.

    Two texts are close if more than `SHARED` of the later one's runs of `RUN` words, whatever their
    case, are in the other one.

    Example:
        >>> without_duplicates(["Sort b c d a now please.", "sort b c d a", "Name a large river."])
        [0, 2]
    """
    places: dict[tuple[str, ...], list[int]] = {}
    kept: list[int] = []
    before = list(others)
    for place, text in enumerate([*before, *texts]):
        words = regex.findall(r"[\w']+", text.lower())
        runs = {tuple(words[i : i + RUN]) for i in range(max(1, len(words) - RUN + 1))}
        common = Counter(other for run in runs for other in places.get(run, ()))
        if place >= len(before):
            if max(common.values(), default=0) > SHARED * len(runs):
                continue
            kept.append(place - len(before))
        for run in runs:
            places.setdefault(run, []).append(place)
    return kept
