"""The words of a text as used by the similarity measures."""

from __future__ import annotations

import re
from typing import Any

import regex

# Scripts written without spaces between words, where each character counts as a word. A subset of
# `episodes.units.UNSPACED`, fixed because published similarities were measured with it.
_UNSPACED = r"\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}"
_LETTER = rf"[[\p{{L}}\p{{M}}\p{{N}}]--[{_UNSPACED}]]"
# Some control characters are whitespace for `str.strip` but not in Unicode.
_SIGN = r"[^\s\x1c-\x1f]"

UNICODE_LETTER = regex.compile(_LETTER, regex.VERSION1)
"""A character that extends the word it follows, in any script."""

UNICODE_WORD = regex.compile(rf"{_LETTER}+|{_SIGN}", regex.VERSION1)
"""A run of such characters, or any other visible character."""

ASCII_LETTER, ASCII_WORD = re.compile("[a-z0-9]"), re.compile("[a-z0-9]+")
"""The same patterns for ROUGE-L as published."""


def find_words(text: str, word: Any) -> list[str]:
    """Return the lowercased words of a text, given the pattern of a word.

    Example:
        >>> find_words("Fig, 3 €", UNICODE_WORD), find_words("Fig, 3 €", ASCII_WORD)
        (['fig', ',', '3', '€'], ['fig', '3'])
    """
    return list(word.findall(lowered(text)))


def lowered(text: str) -> str:
    """Return a text lowercased such that no character depends on its neighbors.

    Example:
        >>> lowered("ΟΔΟΣ")
        'οδοσ'
    """
    # `lower` maps a capital sigma differently depending on what follows.
    return text.lower().replace(
        "\N{GREEK SMALL LETTER FINAL SIGMA}", "\N{GREEK SMALL LETTER SIGMA}"
    )
