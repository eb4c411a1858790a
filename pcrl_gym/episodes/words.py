"""The words of a text, as similarities of answers compare them."""

from __future__ import annotations

import re
from typing import Any

import regex

# Scripts written without spaces between words: each of their characters counts as a word. These are
# fewer than `episodes.units.UNSPACED` has: published similarities were measured with them.
_UNSPACED = r"\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}"
_LETTER = rf"[[\p{{L}}\p{{M}}\p{{N}}]--[{_UNSPACED}]]"
# Some control characters are white space to `str.strip` but not to Unicode.
_SIGN = r"[^\s\x1c-\x1f]"

UNICODE_LETTER = regex.compile(_LETTER, regex.VERSION1)
"""A character that lengthens the word it follows, in any script."""

UNICODE_WORD = regex.compile(rf"{_LETTER}+|{_SIGN}", regex.VERSION1)
"""A run of such characters, or any other visible one."""

ASCII_LETTER, ASCII_WORD = re.compile("[a-z0-9]"), re.compile("[a-z0-9]+")
"""The same as ROUGE-L was published."""


def find_words(text: str, word: Any) -> list[str]:
    """Return the lower-cased words of a text by the pattern of a word.

    Example:
        >>> find_words("Fig, 3 €", UNICODE_WORD), find_words("Fig, 3 €", ASCII_WORD)
        (['fig', ',', '3', '€'], ['fig', '3'])
    """
    return list(word.findall(lowered(text)))


def lowered(text: str) -> str:
    """Return a text lower-cased so that no character depends on those around it.

    Example:
        >>> lowered("ΟΔΟΣ")
        'οδοσ'
    """
    # What `lower` makes of a capital sigma depends on what follows.
    return text.lower().replace(
        "\N{GREEK SMALL LETTER FINAL SIGMA}", "\N{GREEK SMALL LETTER SIGMA}"
    )
