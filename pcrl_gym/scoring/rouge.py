"""Similarity of two answers: ROUGE-L on words of any script and on signs, or as published."""

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
"""Largest share of an answer's characters that ROUGE-L may ignore without a warning.

White space and the punctuation of sentences are not counted.
"""

_UNCOUNTED = re.compile(r"""[\s.,;:!?'"]""")


class IgnoredTextWarning(UserWarning):
    """ROUGE-L as published ignores much of an answer."""


@dataclass(frozen=True, eq=False)
class Measure:
    """A similarity of two answers: F1 of the longest common subsequence of their words.

    Attributes:
        name: Name in rewards, suites and tables.
        word: Pattern of a word in lower-cased text.
        letter: Pattern of a character that lengthens the word it follows.
    """

    name: str
    word: Any
    letter: Any

    def __reduce__(self) -> tuple[Any, ...]:
        # One object per process, by which `early_stop` remembers positions.
        return measure_by_name, (self.name,)

    def words(self, text: str) -> list[str]:
        """Return the lower-cased words of a text."""
        return find_words(text, self.word)

    def __call__(self, answer: str, reference: str) -> float:
        """Return the similarity in [0, 1]; 1.0 for identical texts, even without a word."""
        if answer == reference:
            return 1.0
        return _lcs_f1(self.words(answer), self.words(reference))


class _Published(Measure):
    """A measure that warns where it ignores much of an answer."""

    def __call__(self, answer: str, reference: str) -> float:
        for text in (answer, reference):
            counted = len(_UNCOUNTED.sub("", text))
            if counted - sum(map(len, self.words(text))) > MAX_IGNORED * counted:
                warnings.warn(
                    "ROUGE-L as published compares the letters a to z and digits, and ignores more "
                    f"than {MAX_IGNORED:.0%} of an answer: its scores may not tell such answers "
                    "apart. In a reward, use the measure 'unicode_rouge_l'",
                    IgnoredTextWarning,
                    stacklevel=2,
                )
        return super().__call__(answer, reference)


UNICODE_ROUGE_L = Measure("unicode_rouge_l", UNICODE_WORD, UNICODE_LETTER)
ROUGE_L = _Published("rouge_l", ASCII_WORD, ASCII_LETTER)
MEASURES = {measure.name: measure for measure in (UNICODE_ROUGE_L, ROUGE_L)}
"""Every measure by its name; the first is the default of rewards."""


def measure_by_name(name: str) -> Measure:
    """Return the measure of a name.

    Raises:
        ValueError: If there is none.
    """
    if name not in MEASURES:
        raise ValueError(f"measure must be one of {', '.join(MEASURES)}, got {name!r}")
    return MEASURES[name]


def similarity(answer: str, reference: str) -> float:
    r"""Return the similarity of an answer to the original answer, the measure `unicode_rouge_l`.

    ROUGE-L F1 (see `rouge_l_f1`) on words of any script. A word is a maximal run of letters, marks
    and digits after lower-casing; in scripts written without spaces (Han, kana, Thai, Lao, Khmer,
    Burmese) each character is one, and so is each sign: punctuation, symbols, currencies, emoji.
    Only white space and case do not count. Identical texts are 1.0, both empty included.

    Args:
        answer: The text to judge.
        reference: The text to compare it with; the score is symmetric.

    Returns:
        The score in [0, 1].

    Example:
        >>> similarity("Yes", "yes"), similarity("5 €", "5 $"), similarity("猫", "犬")
        (1.0, 0.5, 0.0)
    """
    return UNICODE_ROUGE_L(answer, reference)


def rouge_l_f1(answer: str, reference: str) -> float:
    r"""ROUGE-L F1 without stemming, equal to `rouge-score` bit for bit.

    With $l$ the length of the longest common subsequence of the words (maximal runs of a-z and 0-9
    after lower-casing), $P = l / |\text{answer}|$ and $R = l / |\text{reference}|$:

    $$ F_1 = \frac{2 P R}{P + R} $$

    0.0 if either text has no such word. Source: Lin, "ROUGE: A Package for Automatic Evaluation of
    Summaries" (2004), https://aclanthology.org/W04-1013.

    Args:
        answer: The text to judge.
        reference: The text to compare it with; the score is symmetric.

    Returns:
        The score in [0, 1].

    Example:
        >>> rouge_l_f1("the cat sat", "The cat sat down.")
        0.8571428571428571
    """
    return _lcs_f1(ROUGE_L.words(answer), ROUGE_L.words(reference))


def rouge_n_f1(answer: str, reference: str, n: int) -> float:
    r"""ROUGE-N F1 without stemming, equal to `rouge-score` bit for bit.

    With $a_g$ and $r_g$ how often the n-gram $g$ of words (see `rouge_l_f1`) stands in the answer
    and in the reference, and counts clipped to the smaller of the two:

    $$ P = \frac{\sum_g \min(a_g, r_g)}{\sum_g a_g}, \quad
       R = \frac{\sum_g \min(a_g, r_g)}{\sum_g r_g}, \quad F_1 = \frac{2 P R}{P + R} $$

    0.0 if either text has fewer than n words. Source: Lin, "ROUGE: A Package for Automatic
    Evaluation of Summaries" (2004), https://aclanthology.org/W04-1013.

    Args:
        answer: The text to judge.
        reference: The text to compare it with; the score is symmetric.
        n: Words per n-gram, at least 1.

    Returns:
        The score in [0, 1].

    Raises:
        ValueError: If n is less than 1.

    Example:
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
    # Precision and recall are formed first, as rouge-score does: the rounding must be the same.
    precision = common / in_answer
    recall = common / in_reference
    return 2 * precision * recall / (precision + recall)


def _lcs_f1(answer: list[str], reference: list[str]) -> float:
    if not answer or not reference:
        return 0.0
    return _f1(LCSseq.similarity(answer, reference), len(answer), len(reference))
