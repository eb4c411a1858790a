"""Programmatic checks of an answer against the gold answer, without a model."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Callable

import regex

from pcrl_gym.errors import did_you_mean

# A number, a character of a script written without spaces between words, or a run of letters.
_WORD = regex.compile(
    r"(?:(?<!\w)-)?\p{N}+(?:[.,]\p{N}+)*|[\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}]"
    r"|[\p{L}\p{M}]+(?:['\u2019][\p{L}\p{M}]+)*"
)
_THOUSANDS = regex.compile(r"(?<=\d),(?=\d{3}\b)")


def passes(check: str, answer: str, gold: str) -> bool:
    """Return whether an answer passes the check of a prompt.

    Words are compared case-insensitively, and punctuation is ignored. Numbers count as words,
    including their sign and decimals but without thousands separators.

    | check | the answer passes if |
    |---|---|
    | `exact` | its words are exactly those of the gold answer |
    | `contains` | it has the words of the gold answer in a row |
    | `contains:Paris|7/seven` | it has the words of each item in a row; `/` marks alternatives |
    | `label:yes|no` | it contains the gold label and none of the other labels |
    | `json` | the text from its first to its last bracket is JSON equal to the gold answer |

    Args:
        check: A check from the table.
        answer: The generator's answer.
        gold: The prompt's gold answer.

    Raises:
        ValueError: If the check is unknown, or the gold answer is not one of the labels.

    Example:
        >>> passes("contains:Paris", "It is Paris.", "The capital of France is Paris.")
        True
        >>> passes("label:positive|negative", "Not negative but positive", "positive")
        False
    """
    kind, _, rest = check.partition(":")
    options = rest.split("|") if rest else []
    if kind == "label" and gold not in options:
        raise ValueError(f"check {check!r}: the gold answer {gold!r} is not one of its labels")
    kinds: dict[str, Callable[[], bool]] = {
        "exact": lambda: _words(answer) == _words(gold),
        "contains": lambda: all(
            any(_has(answer, way) for way in part.split("/")) for part in options or [gold]
        ),
        "label": lambda: [label for label in options if _has(answer, label)] == [gold],
        "json": lambda: _is_json(answer, gold),
    }
    if kind not in kinds:
        raise ValueError(f"unknown check {check!r}{did_you_mean(kind, list(kinds))}")
    return kinds[kind]()


def _words(text: str) -> str:
    """Return the words without punctuation, with a space before and after each."""
    words = _WORD.findall(unicodedata.normalize("NFC", text).casefold())
    return f" {' '.join(_THOUSANDS.sub('', word) for word in words)} "


def _has(answer: str, part: str) -> bool:
    return _words(part) in _words(answer)


def _is_json(answer: str, gold: str) -> bool:
    found = re.search(r"[\[{].*[\]}]", answer, re.DOTALL)
    try:
        # Numbers may be written as 5 or 5.0, but true is not a number.
        texts = [json.loads(text, parse_int=float) for text in (found[0] if found else "", gold)]
        return json.dumps(texts[0], sort_keys=True) == json.dumps(texts[1], sort_keys=True)
    except ValueError:
        return False
