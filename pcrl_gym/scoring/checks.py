"""Checks: does an answer hold what the gold answer says? Decided by a program, without a model."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Callable

import regex

from pcrl_gym.errors import did_you_mean

# A number, a character of a script that puts no spaces between words, or a run of letters.
_WORD = regex.compile(
    r"(?:(?<!\w)-)?\p{N}+(?:[.,]\p{N}+)*|[\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}]"
    r"|[\p{L}\p{M}]+(?:['\u2019][\p{L}\p{M}]+)*"
)
_THOUSANDS = regex.compile(r"(?<=\d),(?=\d{3}\b)")


def passes(check: str, answer: str, gold: str) -> bool:
    """Return whether an answer passes the check of a prompt.

    Words are compared whatever their case, and punctuation does not count. Numbers are words, with
    their sign and decimals and without commas between thousands.

    | check | the answer passes if |
    |---|---|
    | `exact` | it has the words of the gold answer and no others |
    | `contains` | it has the words of the gold answer in a row |
    | `contains:Paris|7/seven` | it has the words of each of these in a row, or another way of it |
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
    """Return the words with a space before and behind each, without signs."""
    words = _WORD.findall(unicodedata.normalize("NFC", text).casefold())
    return f" {' '.join(_THOUSANDS.sub('', word) for word in words)} "


def _has(answer: str, part: str) -> bool:
    return _words(part) in _words(answer)


def _is_json(answer: str, gold: str) -> bool:
    found = re.search(r"[\[{].*[\]}]", answer, re.DOTALL)
    try:
        # Numbers may be written as 5 or 5.0, and true is no number.
        texts = [json.loads(text, parse_int=float) for text in (found[0] if found else "", gold)]
        return json.dumps(texts[0], sort_keys=True) == json.dumps(texts[1], sort_keys=True)
    except ValueError:
        return False
