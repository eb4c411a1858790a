# ruff: noqa: RUF001, RUF002 (digits and punctuation of all scripts)
r"""Protection of text that may not be dropped: numbers and the user's `force_keep` matches.

Protection applies to items of text, not to units. An item is kept as a whole, and none of the text
left around it can become part of it.

**Words.** A word here is a run of characters without a *separator*. Separators are whitespace, the
letters of scripts written without spaces (Chinese, Japanese, Thai, ...), the punctuation
`, ; | " < >`, quotation marks such as `“ ” « »`, the em dash, and the marks of those scripts
(`、 。 「 」`, ...). A comma, full-width colon, or em dash between two digits is not a separator.

**Numbers.** A number is a word with a digit; words with a digit that are one space apart form one
number. A digit is any character in a Unicode number category: `3`, `٣`, `１`, `½`, `²`, `Ⅳ`, but
not `twenty`.

| one item | for example |
|---|---|
| an integer or a decimal | `42` `3.5` `1,250.75` `1 250,75` `1'250` `٣٫٥` `１２` |
| a fraction or a power | `½` `1/2` `x²` `2^10` |
| with sign, exponent or operator | `-5` `±0.1` `1e-5` `2*3` `x=3` |
| with percent, currency or unit | `37%` `$1,250.75` `€5` `5km` `3.5GB` `20°C` |
| a date or a time | `2024-05-12` `12/05/2024` `12:30` `2024-05-12T12:30:00Z` |
| a range or a ratio | `3-5` `10/20` `16:9` `3...4` |
| an address | `192.168.1.10:80` `fe80::1` `https://a.org/b?c=1` `bob7@a.org` |
| a version or a file name | `v1.2.3-rc1` `report_2024.pdf` `/tmp/a1/b` |
| an identifier or a hash | `SGX1234A` `ISO-8601` `#42` `1st` `0x1F` `d41d8cd9` `COVID-19` |
| a telephone number | `(555) 123-4567` `+1 555 123 4567` |

Text that belongs to a number is kept with it even across a separator: a unit of measure, currency,
magnitude, a.m. or p.m., or English month name (`5 km`, `1 250,75 €`, `3 million`, `5 p.m.`,
`USD 5`, `12 May 2024`), a sign or operator before it (`± 0.1`, `3 - 5`, `x >= 3`), and the rest of
an address with `://`.

**Borders.** Protected ranges are extended to whole words and to the separators before and after
them, so that no text can merge with them: `3 and 5` may become `3  5`, never `35` or `3 5`. A range
that begins or ends with a separator, such as a line break, is not extended there. Borders of
protected ranges are also borders of units.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from typing import TypeAlias
from unicodedata import category

import regex

from pcrl_gym.episodes.units import UNSPACED, Span, merge_spans

ForceKeep: TypeAlias = Sequence[str | re.Pattern[str]]

_SPACE = r"[ \u00a0\u2009\u202f]"
_JOINS_DIGITS = ",،，：—"
_SEPARATOR = (
    rf"[\s{UNSPACED}{_JOINS_DIGITS}"
    r';\|"<>“”„‟«»‹›؛।॥、。；！？「」『』【】〔〕《》〈〉（）［］｛｝--\p{N}]'
)
_FLAGS = regex.V1 | regex.DOTALL
_DIGIT = regex.compile(r"\p{N}")
_WORD = regex.compile(rf"(?:(?!{_SEPARATOR}).|(?<=\p{{N}})[{_JOINS_DIGITS}](?=\p{{N}}))+", _FLAGS)
_ONE_SPACE = regex.compile(_SPACE)
_ADDRESS = regex.compile(rf'(?:(?!{UNSPACED})[^\s<>"])+', _FLAGS)

_MONTH = (
    r"Jan(?:uary|\.)?|Feb(?:ruary|\.)?|Mar(?:ch|\.)?|Apr(?:il|\.)?|May|June?|July?|Aug(?:ust|\.)?"
    r"|Sept?(?:ember|\.)?|Oct(?:ober|\.)?|Nov(?:ember|\.)?|Dec(?:ember|\.)?"
)
_CURRENCY = (
    r"[A-Z]{0,3}\p{Sc}|AUD|BRL|CAD|CHF|CNY|CZK|DKK|EUR|GBP|HKD|INR|JPY|KRW|MXN|NOK|NZD|PLN|RUB|SEK|SGD|TRY"
    r"|US|USD|ZAR|kr|zł|Kč"
)
_SYMBOL = (
    r"[kcdmµμn]?m[²³23]?|ft|yd|mi|[kmµμ]?g|t|lbs?|oz|[cdm]?[lL]|gal|[mµμn]?s|secs?|mins?|hrs?|h"
    r"|[kMG]?Hz|[kMGT]?Wh?|[km]?V|mAh?|[mµμ]?A|k?Ω|[kmµμn]?mol|[kM]?N|[kMG]?eV|dB|[kKMGTP]i?B|[kMG]?b(?:it|ps)|fps|dpi|px|[kM]P|mph|rpm"
    r"|ppm|k?cal|k?J|[kMh]?Pa|bar|psi|°[CFK]?|[%‰]|[ap]\.?m\.?|[AP]\.?M\.?|UTC|GMT|BCE?|AD|CE|км|см|мм|м|кг|г|л|руб"
)
_NOUN = (
    r"(?i:hundred|thousand|million|billion|trillion|dozen|square|cubic|percent|per\ cent"
    r"|(?:centi|milli|kilo)?(?:met(?:er|re)|gram|lit(?:er|re))s?"
    r"|(?:kilo|mega|giga|tera)?(?:byte|bit|watt|hertz)s?"
    r"|miles?|feet|foot|inch(?:es)?|yards?|pounds?|ounces?|ton(?:ne)?s?|degrees?|(?:milli)?seconds?"
    r"|minutes?|hours?|days?|weeks?|months?|years?|dollars?|euros?|cents?|pence|yen|rupees?"
    r"|(?:kilo)?calories?|volts?)"
)
_UNSPACED_NOUN = (
    r"公里|公斤|千克|千米|厘米|毫米|毫升|[万萬億亿]?(?:美元|欧元|歐元|日元)|[万萬]円|分钟|分鐘|小时|小時"
    r"|百万|キロ|メートル|グラム|ドル|ユーロ|บาท|กิโลเมตร|กิโลกรัม"
)
_SIGNS = r"(?:[\p{Sm}\p{Pd}*/:&#§^!]{1,3}|x)"
_BEHIND = regex.compile(
    rf"(?:{_SPACE}(?:{_CURRENCY}|{_SYMBOL}|{_NOUN}|{_MONTH})(?![\p{{L}}\p{{M}}\p{{N}}]))+"
    rf"|{_SPACE}?(?:{_UNSPACED_NOUN})"
)
_BEFORE = regex.compile(
    rf"(?<![\p{{L}}\p{{M}}\p{{N}}])(?:{_CURRENCY}|{_MONTH}|{_SIGNS}|Rs\.?|No\.|№){_SPACE}"
    rf"(?=(?:(?!{_SEPARATOR}).)*?\p{{N}})",
    _FLAGS,
)


class Protection:
    r"""Finds the ranges of a text that may not be dropped.

    Args:
        force_keep: Strings, matched literally anywhere, and compiled regular expressions.
        keep_digits: Whether to keep numbers as well.

    Raises:
        ValueError: If `force_keep` is a single string, or contains an empty string or anything
            other than strings and compiled text patterns.

    Example:
        >>> Protection(["Smith"], keep_digits=True)("Pay 1,250.75 to Ms (Smith).")
        [(3, 13), (18, 27)]
        >>> Protection(["\n"])("one\ntwo")
        [(3, 4)]
    """

    def __init__(self, force_keep: ForceKeep = (), keep_digits: bool = False) -> None:
        self._patterns = _compiled(force_keep)
        self._keep_digits = keep_digits

    def __or__(self, other: Protection) -> Protection:
        """Return a protection that protects everything that either of the two protects."""
        both = Protection(keep_digits=self._keep_digits or other._keep_digits)
        both._patterns = self._patterns + other._patterns
        return both

    def __call__(self, text: str) -> list[Span]:
        """Return the protected character ranges in order, none empty and none touching."""
        found = [match.span() for pattern in self._patterns for match in pattern.finditer(text)]
        if not (found or self._keep_digits):
            return []
        words = [match.span() for match in _WORD.finditer(text)]
        if self._keep_digits:
            numbers = _join(text, words)
            found += [*numbers, *_belonging(text, numbers)]
        return merge_spans(_widened(text, words, *span) for span in found if span[0] < span[1])


def find_numbers(text: str) -> list[Span]:
    """Return the character ranges of the numbers in a text, in order.

    `Protection(keep_digits=True)` also keeps text that belongs to them and their borders.

    Example:
        >>> text = "At 12:30 pay 1 250,75 € for (3) x2."
        >>> [text[start:end] for start, end in find_numbers(text)]
        ['12:30', '1 250,75', '(3) x2.']
    """
    return _join(text, [match.span() for match in _WORD.finditer(text)])


def _join(text: str, words: Iterable[Span]) -> list[Span]:
    """Return the words with a digit, merging those that are one space apart."""
    numbers: list[Span] = []
    for start, end in words:
        if not _DIGIT.search(text, start, end):
            continue
        if numbers and _ONE_SPACE.fullmatch(text, numbers[-1][1], start):
            start = numbers.pop()[0]
        numbers.append((start, end))
    return numbers


def _belonging(text: str, numbers: Iterable[Span]) -> Iterator[Span]:
    """Yield the ranges that belong to the numbers without being part of them."""
    for _, end in numbers:
        if behind := _BEHIND.match(text, end):
            yield behind.span()
    yield from (before.span() for before in _BEFORE.finditer(text))
    if "://" in text:
        for address in _ADDRESS.finditer(text):
            if "://" in address[0] and _DIGIT.search(address[0]):
                yield address.span()


def _widened(text: str, words: Sequence[Span], start: int, end: int) -> Span:
    """Extend a range to the words in which it begins and ends and the separators around them."""
    first, last = (
        words[bisect_right(words, (place, len(text))) - 1] if words else (0, 0)
        for place in (start, end - 1)
    )
    if first[0] <= start < first[1]:
        start = max(first[0] - 1, 0)
        while start and category(text[start])[0] == "M":
            start -= 1
    if last[0] < end <= last[1]:
        end = min(last[1] + 1, len(text))
        while end < len(text) and category(text[end])[0] == "M":
            end += 1
    return start, end


def _compiled(force_keep: ForceKeep) -> list[re.Pattern[str]]:
    if isinstance(force_keep, (str, re.Pattern)):
        raise ValueError(
            f"force_keep must be a sequence of strings and compiled patterns, got {force_keep!r}; "
            f"write force_keep=({force_keep!r},)"
        )
    patterns: list[re.Pattern[str]] = []
    for item in force_keep:
        if isinstance(item, str) and item:
            patterns.append(re.compile(re.escape(item)))
        elif isinstance(item, re.Pattern) and isinstance(item.pattern, str):
            patterns.append(item)
        else:
            raise ValueError(
                "force_keep must contain only nonempty strings and regular expressions compiled "
                f"from strings, got {item!r}"
            )
    return patterns
