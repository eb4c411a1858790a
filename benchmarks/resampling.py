"""Bootstrap intervals over seeds and prompts.

Values of one leaderboard row form a grid: one line per seed, one column per prompt, because every
seed is evaluated on the same prompts.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

CHUNK_CELLS = 1_000_000
"""Resampled cells held at once: 8 MB per array, whatever the number of prompts."""


def bootstrap_interval(
    grid: npt.ArrayLike, *, level: float = 0.95, replicates: int = 2000, seed: int = 0
) -> tuple[float, float]:
    """Return the percentile bootstrap interval of the mean, stratified over seeds and prompts.

    Seeds and prompts are crossed: all seeds see the same prompts. So each replicate draws S seeds
    with replacement and, apart from that, P prompts with replacement (the same for every drawn
    seed), and averages the S x P cells:

        `m_b = sum_s sum_p u_s * v_p * grid[s, p] / (S * P)`,  u, v = how often each was drawn

    The interval goes from the (1 - level) / 2 to the (1 + level) / 2 quantile of all m_b. It covers
    chance in training and chance in the choice of prompts together (the pigeonhole bootstrap of
    Owen 2007, https://arxiv.org/abs/0712.1111). With one seed it is the ordinary bootstrap over
    prompts, and with two or three seeds it is coarse. It says nothing about other generators.

    Args:
        grid: One figure per seed and prompt, shape (seeds, prompts), finite.
        level: Coverage of the interval, in (0, 1).
        replicates: Number of resamples.
        seed: Seed of the resampling, which uses a generator of its own.

    Returns:
        Lower and upper end, in the unit of the figures.

    Raises:
        ValueError: If the grid is not two-dimensional, is empty or has entries that are not finite,
            or level or replicates are out of range.

    Example:
        >>> bootstrap_interval([[0.0, 1.0]])
        (0.0, 1.0)
        >>> bootstrap_interval([[0.5, 0.5], [0.5, 0.5]])
        (0.5, 0.5)
    """
    values = figures_of(grid, "grid", 2)

    def means(drawn_seeds: IntArray, drawn_prompts: IntArray) -> FloatArray:
        return np.einsum("bs,bs->b", drawn_seeds, drawn_prompts @ values.T) / values.size

    return percentile_interval(
        means, values.shape, cells=max(values.shape), level=level, replicates=replicates, seed=seed
    )


def interquartile_mean(values: npt.ArrayLike) -> float:
    """Return the mean of the middle half of the values: less moved by outliers than the mean.

    Formula: with the n values sorted and `k = floor(n / 4)`, `sum(x[k : n - k]) / (n - 2 k)`; the
    25 % trimmed mean. Source: Agarwal et al. 2021, https://arxiv.org/abs/2108.13264.

    Args:
        values: Figures of any shape, at least one, finite.

    Returns:
        The mean, in the unit of the figures.

    Raises:
        ValueError: If there are no values, or some are not finite.

    Example:
        >>> interquartile_mean([0.0, 1.0, 2.0, 100.0])
        1.5
    """
    ordered = np.sort(figures_of(values, "values"), axis=None)
    cut = ordered.size // 4
    return float(ordered[cut : ordered.size - cut].mean())


def bootstrap_iqm_interval(
    grid: npt.ArrayLike, *, level: float = 0.95, replicates: int = 500, seed: int = 0
) -> tuple[float, float]:
    """Return the percentile bootstrap interval of the interquartile mean over all cells of a grid.

    Arguments, errors and resampling are those of `bootstrap_interval`: cell (s, p) counts
    `u_s * v_p` times in a replicate, and its figure is the interquartile mean of the S x P drawn
    cells. Source: Agarwal et al. 2021, https://arxiv.org/abs/2108.13264.

    Example:
        >>> bootstrap_iqm_interval([[0.5, 0.5], [0.5, 0.5]])
        (0.5, 0.5)
    """
    values = figures_of(grid, "grid", 2)
    cells, cut = values.size, values.size // 4
    order = np.argsort(values, axis=None)
    ordered = values.ravel()[order]
    seed_of, prompt_of = np.divmod(order, values.shape[1])

    def middle_means(drawn_seeds: IntArray, drawn_prompts: IntArray) -> FloatArray:
        # Ranks of the drawn cells, in order of their figures, without writing the cells out: what
        # of each run of equal ones lies between the cuts is kept.
        ranks = np.cumsum(drawn_seeds[:, seed_of] * drawn_prompts[:, prompt_of], axis=1)
        kept = np.diff(np.clip(ranks, cut, cells - cut), axis=1, prepend=cut)
        # Not a matrix product, whose rounding depends on the size of the chunk.
        means: FloatArray = (kept * ordered).sum(axis=1) / (cells - 2 * cut)
        return means

    return percentile_interval(
        middle_means, values.shape, cells=cells, level=level, replicates=replicates, seed=seed
    )


def percentile_interval(
    statistic: Callable[..., FloatArray],
    sizes: Sequence[int],
    *,
    cells: int,
    level: float,
    replicates: int,
    seed: int,
) -> tuple[float, float]:
    """Return the percentile bootstrap interval of a statistic of what was drawn.

    Args:
        statistic: Takes per size n how often each of n was drawn in n draws with replacement, int
            (chunk, n), and returns the figures of these replicates, shape (chunk,).
        sizes: From how many is drawn, each apart from the others.
        cells: Most numbers per replicate that the statistic holds at once.
        level: Coverage of the interval.
        replicates: Number of resamples.
        seed: Seed of the resampling.

    Raises:
        ValueError: If level or replicates are out of range.
    """
    if not 0.0 < level < 1.0 or replicates < 1:
        raise ValueError(
            f"level must lie in (0, 1) and replicates be positive; got {level} and {replicates}"
        )
    # One stream each, so that the size of the chunks changes nothing.
    streams = np.random.default_rng(seed).spawn(len(sizes))
    chunk = max(1, CHUNK_CELLS // cells)
    parts = []
    for start in range(0, replicates, chunk):
        size = min(chunk, replicates - start)
        draws = zip(streams, sizes, strict=True)
        parts.append(statistic(*(r.multinomial(n, np.full(n, 1.0 / n), size) for r, n in draws)))
    figures = np.concatenate(parts)
    low, high = np.quantile(figures, [(1.0 - level) / 2.0, (1.0 + level) / 2.0])
    return float(low), float(high)


def figures_of(values: npt.ArrayLike, name: str, ndim: int | None = None) -> FloatArray:
    """Return the values as float64; with `ndim` 1 of one run each, with 2 a grid as above.

    Raises:
        ValueError: If there are none, some are not finite, or the dimensions are others.
    """
    figures = np.asarray(values, dtype=np.float64)
    if ndim == 2 and (figures.ndim != 2 or figures.size == 0):
        raise ValueError(
            f"{name} must have shape (seeds, prompts) with at least one figure, got {figures.shape}"
        )
    if figures.size == 0:
        raise ValueError(f"{name} must hold at least one figure, got none")
    if ndim not in (None, figures.ndim):
        raise ValueError(f"{name} must have one dimension, got shape {figures.shape}")
    if not np.isfinite(figures).all():
        raise ValueError(f"{name} must be finite: leave out prompts without a figure first")
    return figures
