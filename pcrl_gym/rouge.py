"""Similarity of two answers: ROUGE F1 on lower-cased Latin words and digits."""

from __future__ import annotations

import re
from collections import Counter

from rapidfuzz.distance import LCSseq

_WORD = re.compile("[a-z0-9]+")


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
    answer_words = _WORD.findall(answer.lower())
    reference_words = _WORD.findall(reference.lower())
    if not answer_words or not reference_words:
        return 0.0
    common = LCSseq.similarity(answer_words, reference_words)
    return _f1(common, len(answer_words), len(reference_words))


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
        ValueError: n is less than 1.

    Example:
        >>> rouge_n_f1("the cat sat", "The cat sat down.", 2)
        0.8
    """
    if n < 1:
        raise ValueError(f"n must be at least 1, got {n}.")
    answer_grams, reference_grams = _n_grams(answer, n), _n_grams(reference, n)
    common = (answer_grams & reference_grams).total()
    return _f1(common, answer_grams.total(), reference_grams.total())


def _n_grams(text: str, n: int) -> Counter[tuple[str, ...]]:
    words = _WORD.findall(text.lower())
    return Counter(tuple(words[i : i + n]) for i in range(len(words) - n + 1))


def _f1(common: int, in_answer: int, in_reference: int) -> float:
    if common == 0:
        return 0.0
    # Precision and recall are formed first, as rouge-score does: the rounding must be the same.
    precision = common / in_answer
    recall = common / in_reference
    return 2 * precision * recall / (precision + recall)


def similarity(answer: str, reference: str) -> float:
    """Similarity of an answer to the original answer, in [0, 1].

    Identical texts are 1.0 even without a Latin word in them (both empty included); all others get
    `rouge_l_f1`, which is 0.0 for two different texts in, say, Chinese.

    Example:
        >>> similarity("猫", "猫"), similarity("猫", "犬"), similarity("Yes", "yes.")
        (1.0, 0.0, 1.0)
    """
    return 1.0 if answer == reference else rouge_l_f1(answer, reference)
