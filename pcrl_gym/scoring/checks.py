"""Checks: does an answer hold what the gold answer says? Decided by a program, without a model."""

from __future__ import annotations

import json
import re
from collections.abc import Callable

from pcrl_gym.episodes.words import UNICODE_WORD, find_words
from pcrl_gym.errors import did_you_mean


def passes(check: str, answer: str, gold: str) -> bool:
    """Return whether an answer passes the check of a prompt.

    Words are compared whatever their case, and punctuation does not count.

    | check | the answer passes if |
    |---|---|
    | `exact` | it has the words of the gold answer and no others |
    | `contains` | it has the words of the gold answer in a row |
    | `contains:Paris|1889` | it has the words of each of these in a row |
    | `label:yes|no` | of these labels it has the gold one, and no other |
    | `json` | what stands from its first bracket to its last is JSON equal to the gold answer |

    Args:
        check: One of the table.
        answer: What the generator wrote.
        gold: The prompt's gold answer.

    Raises:
        ValueError: If there is no such check, or the gold answer is none of the labels.

    Example:
        >>> passes("contains:Paris", "It is Paris.", "The capital of France is Paris.")
        True
        >>> passes("label:positive|negative", "Not negative but positive", "positive")
        False
    """
    kind, _, rest = check.partition(":")
    options = rest.split("|") if rest else []
    if kind == "label" and gold not in options:
        raise ValueError(f"check {check!r}: the gold answer {gold!r} is none of its labels")
    kinds: dict[str, Callable[[], bool]] = {
        "exact": lambda: _words(answer) == _words(gold),
        "contains": lambda: all(_has(answer, part) for part in options or [gold]),
        "label": lambda: [label for label in options if _has(answer, label)] == [gold],
        "json": lambda: _is_json(answer, gold),
    }
    if kind not in kinds:
        raise ValueError(f"unknown check {check!r}{did_you_mean(kind, list(kinds))}")
    return kinds[kind]()


def _words(text: str) -> str:
    """Return the words with a space before and behind each, without signs."""
    words = (word for word in find_words(text, UNICODE_WORD) if word.isalnum())
    return f" {' '.join(words)} "


def _has(answer: str, part: str) -> bool:
    return _words(part) in _words(answer)


def _is_json(answer: str, gold: str) -> bool:
    found = re.search(r"[\[{].*[\]}]", answer, re.DOTALL)
    try:
        return found is not None and bool(json.loads(found[0]) == json.loads(gold))
    except ValueError:
        return False
