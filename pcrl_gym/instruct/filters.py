"""Rule-based filters for model-written prompts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

import regex

MIN_WORDS, MAX_WORDS = 8, 120
RUN = 4
"""Length in words of the runs by which near-duplicates are detected."""
SHARED = 0.5
"""Maximum fraction of its runs that a prompt may share with an earlier prompt."""

_PERSONAL = regex.compile(
    # Email addresses and URLs; phone numbers and other numbers with nine or more digits.
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
    """Return why a text cannot be a prompt, as a key of the data card, or None if it can.

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
    """Return whether half of the three-word runs are repeats, as when a model loops."""
    runs = list(zip(words, words[1:], words[2:], strict=False))
    return len(set(runs)) <= len(runs) / 2


def without_duplicates(texts: Sequence[str], others: Iterable[str] = ()) -> list[int]:
    """Return the indices of texts that are no near-duplicates of earlier texts or of `others`.

    A text is a near-duplicate if an earlier text contains more than `SHARED` of its runs of `RUN`
    words, ignoring case.

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
