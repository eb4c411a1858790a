"""Figures of the leaderboard, each defined once with its formula."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from pcrl_gym.scoring.ratio import compression_ratio
from pcrl_gym.scoring.scorer import SURVIVAL_THRESHOLD


def mean(values: Iterable[float | None]) -> float | None:
    """Return the arithmetic mean of the values that are there.

    Formula: `sum(x) / len(x)` over every x that is neither None nor NaN.

    Args:
        values: Any number of figures; None and NaN mean "not measured".

    Returns:
        The mean, or None where nothing was measured.

    Example:
        >>> mean([1.0, None, 2.0])
        1.5
        >>> mean([None]) is None
        True
    """
    measured = [value for value in values if value is not None and not math.isnan(value)]
    return math.fsum(measured) / len(measured) if measured else None


def survival_rate(similarities: npt.ArrayLike, threshold: float = SURVIVAL_THRESHOLD) -> float:
    """Return the share of prompts whose answer survived the compression.

    Formula: `mean(1 if similarity > threshold else 0)`; the comparison is strict, as in the
    threshold reward.

    Args:
        similarities: Of the answers to compressed and original prompt, by the suite's measure, in
            [0, 1], any shape with at least one entry.
        threshold: Similarity that must be exceeded.

    Returns:
        A number in [0, 1].

    Raises:
        ValueError: If there are no similarities.

    Example:
        >>> survival_rate([1.0, 0.9, 0.95, 0.2])
        0.5
    """
    values = np.asarray(similarities, dtype=np.float64)
    if values.size == 0:
        raise ValueError("survival_rate needs at least one similarity, got none")
    return float(np.mean(values > threshold))


def exact_match(answers: Iterable[str], golds: Iterable[str]) -> float | None:
    """Return the share of answers that equal the gold answer, white space around them aside.

    Formula: `mean(1 if answer == gold else 0)` over the pairs with a gold answer. The generators of
    micro answer in the form of the gold answer; of others it is not to be expected.

    Args:
        answers: Answers to the compressed prompts.
        golds: Gold answers, "" where there is none; as many.

    Returns:
        A number in [0, 1], or None without any gold answer.

    Raises:
        ValueError: If there are not as many of both.

    Example:
        >>> exact_match(["fig", "pear", "?"], ["fig", "Pear", ""])
        0.5
    """
    pairs = zip(answers, golds, strict=True)
    return mean(float(answer.strip() == gold.strip()) for answer, gold in pairs if gold)


def micro_compression_ratio(
    original: npt.ArrayLike, compressed: npt.ArrayLike, template: npt.ArrayLike
) -> float:
    """Return compression over all tokens of a row, so that long prompts weigh more than short ones.

    Formula: `1 - sum(n' - f) / sum(n - f)`, with n and n' the generator tokens of the original and
    the compressed prompt and f those of the template's own text. 0.0 where `sum(n - f)` is 0. The
    macro ratio beside it in the leaderboard is the plain mean of `1 - (n' - f) / (n - f)`.

    Args:
        original: N, shape (records,).
        compressed: N', shape (records,).
        template: F, shape (records,).

    Returns:
        A number of at most 1; negative where re-tokenising inflated the prompts.

    Raises:
        ValueError: If the three arrays differ in shape.

    Example:
        >>> micro_compression_ratio([12, 102], [7, 102], [2, 2])
        0.045454545454545456
    """
    n = np.asarray(original, dtype=np.int64)
    n_compressed = np.asarray(compressed, dtype=np.int64)
    f = np.asarray(template, dtype=np.int64)
    if not n.shape == n_compressed.shape == f.shape:
        raise ValueError(
            f"Token counts must have one shape, got {n.shape}, {n_compressed.shape} and {f.shape}"
        )
    return compression_ratio(int(n.sum()), int(n_compressed.sum()), int(f.sum()))


def normalised_score(agent: float, keep_all: float, ceiling: float) -> float | None:
    """Return the share of the way from keeping every token to the best known result.

    Formula: `(agent - keep_all) / (ceiling - keep_all)`: 0 is no better than keeping everything, 1
    is the ceiling. The form is that of the human-normalised score of Mnih et al. 2015,
    https://doi.org/10.1038/nature14236, with keep-all in place of the random agent.

    Args:
        agent: Mean figure of the agent.
        keep_all: That of the agent that keeps everything.
        ceiling: That of the best known result on the same prompts.

    Returns:
        A number without unit, negative below keep-all and above 1 beyond the ceiling; None where
        the ceiling is not above keep-all, so that there is nothing to gain.

    Example:
        >>> normalised_score(0.5, 0.25, 0.75)
        0.5
        >>> normalised_score(0.5, 0.25, 0.25) is None
        True
    """
    if not ceiling > keep_all:
        return None
    return (agent - keep_all) / (ceiling - keep_all)
