"""Figures of the leaderboard, each defined once with its formula.

Values of one leaderboard row form a grid: one line per seed, one column per prompt, because every
seed is evaluated on the same prompts.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

SURVIVAL_THRESHOLD = 0.9
_CHUNK_CELLS = 4_000_000  # resampling counts held at once: 32 MB, whatever the number of prompts


def mean(values: Iterable[float | None]) -> float | None:
    """Arithmetic mean of the values that are there.

    Formula: `sum(x) / len(x)` over every x that is neither None nor NaN.

    Args:
        values: any number of figures; None and NaN mean "not measured".

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
    """Share of prompts whose answer survived the compression.

    Formula: `mean(1 if similarity > threshold else 0)`; the comparison is strict, as in the
    threshold reward.

    Args:
        similarities: ROUGE-L F1 between the answers to compressed and original prompt, in [0, 1],
            any shape with at least one entry.
        threshold: similarity that must be exceeded.

    Returns:
        A number in [0, 1].

    Raises:
        ValueError: there are no similarities.

    Example:
        >>> survival_rate([1.0, 0.9, 0.95, 0.2])
        0.5
    """
    values = np.asarray(similarities, dtype=np.float64)
    if values.size == 0:
        raise ValueError("survival_rate needs at least one similarity, got none.")
    return float(np.mean(values > threshold))


def exact_match(answers: Iterable[str], golds: Iterable[str]) -> float | None:
    """Share of answers that equal the gold answer, white space around them aside.

    Formula: `mean(1 if answer == gold else 0)` over the pairs with a gold answer. The generators of
    micro answer in the form of the gold answer; of others it is not to be expected.

    Args:
        answers: answers to the compressed prompts.
        golds: gold answers, "" where there is none; as many.

    Returns:
        A number in [0, 1], or None without any gold answer.

    Raises:
        ValueError: there are not as many of both.

    Example:
        >>> exact_match(["fig", "pear", "?"], ["fig", "Pear", ""])
        0.5
    """
    pairs = zip(answers, golds, strict=True)
    return mean(float(answer.strip() == gold.strip()) for answer, gold in pairs if gold)


def micro_compression_ratio(
    original: npt.ArrayLike, compressed: npt.ArrayLike, template: npt.ArrayLike
) -> float:
    """Compression over all tokens of a row, so that long prompts weigh more than short ones.

    Formula: `1 - sum(n' - f) / sum(n - f)`, with n and n' the generator tokens of the original and
    the compressed prompt and f those of the template's own text. 0.0 where `sum(n - f)` is 0. The
    macro ratio beside it in the leaderboard is the plain mean of `1 - (n' - f) / (n - f)`.

    Args:
        original: n, shape (records,).
        compressed: n', shape (records,).
        template: f, shape (records,).

    Returns:
        A number of at most 1; negative where re-tokenising inflated the prompts.

    Raises:
        ValueError: the three arrays differ in shape.

    Example:
        >>> micro_compression_ratio([12, 102], [7, 102], [2, 2])
        0.045454545454545414
    """
    n = np.asarray(original, dtype=np.int64)
    n_compressed = np.asarray(compressed, dtype=np.int64)
    f = np.asarray(template, dtype=np.int64)
    if not n.shape == n_compressed.shape == f.shape:
        raise ValueError(
            f"Token counts must have one shape, got {n.shape}, {n_compressed.shape} and {f.shape}."
        )
    paid = int((n - f).sum())
    return 1.0 - int((n_compressed - f).sum()) / paid if paid else 0.0


def bootstrap_interval(
    grid: npt.ArrayLike, *, level: float = 0.95, replicates: int = 2000, seed: int = 0
) -> tuple[float, float]:
    """Percentile bootstrap interval of the mean, stratified over seeds and prompts.

    Seeds and prompts are crossed: all seeds see the same prompts. So each replicate draws S seeds
    with replacement and, apart from that, P prompts with replacement (the same for every drawn
    seed), and averages the S x P cells:

        `m_b = sum_s sum_p u_s * v_p * grid[s, p] / (S * P)`,  u, v = how often each was drawn

    The interval goes from the (1 - level) / 2 to the (1 + level) / 2 quantile of all m_b. It covers
    chance in training and chance in the choice of prompts together (the pigeonhole bootstrap of
    Owen 2007, https://arxiv.org/abs/0712.1111). With one seed it is the ordinary bootstrap over
    prompts, and with two or three seeds it is coarse. It says nothing about other generators.

    Args:
        grid: one figure per seed and prompt, shape (seeds, prompts), finite.
        level: coverage of the interval, in (0, 1).
        replicates: number of resamples.
        seed: seed of the resampling, which uses a generator of its own.

    Returns:
        Lower and upper end, in the unit of the figures.

    Raises:
        ValueError: the grid is not two-dimensional, is empty or has entries that are not finite, or
            level or replicates are out of range.

    Example:
        >>> bootstrap_interval([[0.0, 1.0]])
        (0.0, 1.0)
        >>> bootstrap_interval([[0.5, 0.5], [0.5, 0.5]])
        (0.5, 0.5)
    """
    values = np.asarray(grid, dtype=np.float64)
    if values.ndim != 2 or values.size == 0:
        raise ValueError(f"grid must have shape (seeds, prompts), not empty; got {values.shape}.")
    if not np.isfinite(values).all():
        raise ValueError("grid must be finite: leave out prompts without a figure first.")
    if not 0.0 < level < 1.0 or replicates < 1:
        raise ValueError(
            f"level must lie in (0, 1) and replicates be positive; got {level} and {replicates}."
        )
    seeds, prompts = values.shape
    # One stream each, so that the size of the chunks changes nothing.
    for_seeds, for_prompts = np.random.default_rng(seed).spawn(2)
    means = np.empty(replicates, dtype=np.float64)
    chunk = max(1, _CHUNK_CELLS // max(seeds, prompts))
    for start in range(0, replicates, chunk):
        size = min(chunk, replicates - start)
        drawn_seeds = for_seeds.multinomial(seeds, np.full(seeds, 1.0 / seeds), size=size)
        drawn_prompts = for_prompts.multinomial(prompts, np.full(prompts, 1.0 / prompts), size=size)
        sums = np.einsum("bs,bs->b", drawn_seeds, drawn_prompts @ values.T)
        means[start : start + size] = sums / (seeds * prompts)
    low, high = np.quantile(means, [(1.0 - level) / 2.0, (1.0 + level) / 2.0])
    return float(low), float(high)
