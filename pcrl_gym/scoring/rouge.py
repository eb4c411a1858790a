"""Similarity of two answers: ROUGE-L on words of any script and signs, or as published."""

from __future__ import annotations

import re
import warnings
from collections import Counter
from dataclasses import dataclass
from typing import Any

from rapidfuzz.distance import LCSseq

from pcrl_gym.episodes.words import (
    ASCII_LETTER,
    ASCII_WORD,
    UNICODE_LETTER,
    UNICODE_WORD,
    find_words,
)

MAX_IGNORED = 0.2
"""Largest fraction of an answer's characters that ROUGE-L may ignore without a warning.

Whitespace and sentence punctuation are not counted.
"""

_UNCOUNTED = re.compile(r"""[\s.,;:!?'"]""")


class IgnoredTextWarning(UserWarning):
    """ROUGE-L as published ignores a large part of an answer."""


@dataclass(frozen=True, eq=False)
class Measure:
    """A similarity of two answers: ROUGE-L F1 on their lowercased words.

    Attributes:
        name: Name in rewards, suites, and tables.
        word: Pattern of a word in lowercased text.
        letter: Pattern of a character that extends the word it follows.
    """

    name: str
    word: Any
    letter: Any

    def __reduce__(self) -> tuple[Any, ...]:
        # One object per process, because `early_stop` caches positions by it.
        return measure_by_name, (self.name,)

    def words(self, text: str) -> list[str]:
        """Return the lowercased words of a text."""
        return find_words(text, self.word)

    def __call__(self, answer: str, reference: str) -> float:
        """Return the similarity in [0, 1]: `f1`, but 1.0 for identical texts without words."""
        return 1.0 if answer == reference else self.f1(answer, reference)

    def f1(self, answer: str, reference: str) -> float:
        r"""Return ROUGE-L F1 without stemming; `ROUGE_L` matches `rouge-score` bit for bit.

        Let $l$ be the length of the longest common subsequence of words, $P = l /
        |\text{answer}|$, and $R = l / |\text{reference}|$. Then

        $$ F_1 = \frac{2 P R}{P + R} $$

        It is symmetric, and 0.0 if either text has no words. Source: Lin, "ROUGE: A Package for
        Automatic Evaluation of Summaries" (2004), https://aclanthology.org/W04-1013.

        >>> ROUGE_L.f1("the cat sat", "The cat sat down.")
        0.8571428571428571
        """
        words, others = self.words(answer), self.words(reference)
        return _f1(LCSseq.similarity(words, others), len(words), len(others))


class _Published(Measure):
    """A measure that warns if it ignores a large part of an answer."""

    def __call__(self, answer: str, reference: str) -> float:
        for text in (answer, reference):
            counted = len(_UNCOUNTED.sub("", text))
            if counted - sum(map(len, self.words(text))) > MAX_IGNORED * counted:
                warnings.warn(
                    "ROUGE-L as published compares only the letters a to z and digits, so it "
                    f"ignores more than {MAX_IGNORED:.0%} of an answer, and its scores may not "
                    "tell such answers apart. In a reward, use the measure 'unicode_rouge_l'",
                    IgnoredTextWarning,
                    stacklevel=2,
                )
        return super().__call__(answer, reference)


UNICODE_ROUGE_L = Measure("unicode_rouge_l", UNICODE_WORD, UNICODE_LETTER)
"""ROUGE-L F1 on words of any script.

A word is a maximal run of letters, marks, and digits after lowercasing. In scripts written without
spaces (Han, kana, Thai, Lao, Khmer, Burmese), each character is a word, and so is each sign:
punctuation, symbols, currencies, emoji. Only whitespace and case are ignored.

>>> UNICODE_ROUGE_L("Yes", "yes"), UNICODE_ROUGE_L("5 €", "5 $"), UNICODE_ROUGE_L("猫", "犬")
(1.0, 0.5, 0.0)
"""

ROUGE_L = _Published("rouge_l", ASCII_WORD, ASCII_LETTER)
"""ROUGE-L F1 as published: words are maximal runs of a-z and 0-9 after lowercasing."""

similarity = UNICODE_ROUGE_L
"""The default similarity of two answers, in [0, 1]."""

rouge_l_f1 = ROUGE_L.f1
"""ROUGE-L F1 as computed by `rouge-score`, see `Measure.f1`."""

MEASURES = {measure.name: measure for measure in (UNICODE_ROUGE_L, ROUGE_L)}
"""All measures by name; the first is the default of rewards."""


def measure_by_name(name: str) -> Measure:
    """Return the measure with the given name.

    Raises:
        ValueError: If the name is unknown.
    """
    if name not in MEASURES:
        raise ValueError(f"measure must be one of {', '.join(MEASURES)}, got {name!r}")
    return MEASURES[name]


def rouge_n_f1(answer: str, reference: str, n: int) -> float:
    r"""Return ROUGE-N F1 on the words of `ROUGE_L`; it matches `rouge-score` bit for bit.

    With $a_g$ and $r_g$ the number of occurrences of the word n-gram $g$ in the answer and in the
    reference, and counts clipped to the smaller of the two:

    $$ P = \frac{\sum_g \min(a_g, r_g)}{\sum_g a_g}, \quad
       R = \frac{\sum_g \min(a_g, r_g)}{\sum_g r_g}, \quad F_1 = \frac{2 P R}{P + R} $$

    It is symmetric, and 0.0 if either text has fewer than n words. Source: see `Measure.f1`.

    Raises:
        ValueError: If n is less than 1.

    >>> rouge_n_f1("the cat sat", "The cat sat down.", 2)
    0.8
    """
    if n < 1:
        raise ValueError(f"n must be at least 1, got {n}")
    answer_grams, reference_grams = _n_grams(answer, n), _n_grams(reference, n)
    common = (answer_grams & reference_grams).total()
    return _f1(common, answer_grams.total(), reference_grams.total())


def _n_grams(text: str, n: int) -> Counter[tuple[str, ...]]:
    words = ROUGE_L.words(text)
    return Counter(tuple(words[i : i + n]) for i in range(len(words) - n + 1))


def _f1(common: int, in_answer: int, in_reference: int) -> float:
    if common == 0:
        return 0.0
    # Compute precision and recall first, as rouge-score does, for identical rounding.
    precision = common / in_answer
    recall = common / in_reference
    return 2 * precision * recall / (precision + recall)
