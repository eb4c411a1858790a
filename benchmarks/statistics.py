"""Statistics of the leaderboard and their uncertainty, each with its formula and source.

The values of one agent on one split form a grid, with a row per seed and a column per prompt, as
every seed is evaluated on the same prompts. The measures follow Agarwal et al., "Deep Reinforcement
Learning at the Edge of the Statistical Precipice" (2021), https://arxiv.org/abs/2108.13264.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from pcrl_gym.scoring.scorer import SURVIVAL_THRESHOLD

_FEW = 10  # pairs or prompts below which a result gets a note
_CELLS = 1_000_000  # resampled at once: 8 MB per array for any number of prompts
_DECIMALS = 12  # values that agree to this many differ only by rounding


class SignFlip(NamedTuple):
    """Result of `sign_flip_p_value`."""

    p_value: float  # two-sided, in (0, 1]
    exact: bool  # whether all signs were tried; else the p-value is a Monte Carlo estimate
    n: int  # number of nonzero differences, which alone count


class Comparison(NamedTuple):
    """Comparison of agent a with agent b on the same prompts, from `compare`."""

    difference: float  # mean of a minus mean of b
    interval: tuple[float, float]  # its 95% interval
    probability_of_improvement: float  # of a over b, mean over the prompts, in [0, 1]
    sign_flip: SignFlip  # of the prompt-wise differences, with the seeds fixed
    note: str  # which samples are too small to be reliable, or ""


def survival_rate(similarities: npt.ArrayLike, threshold: float = SURVIVAL_THRESHOLD) -> float:
    """Return the share of answers whose similarity, in [0, 1], is above the threshold.

    Example:
        >>> survival_rate([1.0, 0.9, 0.95, 0.2])
        0.5
    """
    return float(np.mean(_figures(similarities, "similarities") > threshold))


def normalized_score(agent: float, keep_all: float, ceiling: float) -> float | None:
    """Return the score of an agent, scaled so that keep-all is 0 and the best known result is 1.

    Formula: `(agent - keep_all) / (ceiling - keep_all)` of mean values on the same prompts; None if
    the ceiling is not above keep-all. Follows the human-normalized score of Mnih et al. 2015,
    https://doi.org/10.1038/nature14236, with keep-all instead of the random agent.

    Example:
        >>> normalized_score(0.5, 0.25, 0.75), normalized_score(0.5, 0.25, 0.25)
        (0.5, None)
    """
    return (agent - keep_all) / (ceiling - keep_all) if ceiling > keep_all else None


def interquartile_mean(values: npt.ArrayLike, axis: int | None = None) -> Any:
    """Return the mean of the middle half of all values, or of those along an axis.

    Formula: with the n values sorted and `k = floor(n / 4)`, `sum(x[k : n - k]) / (n - 2 k)`. This
    is the 25% trimmed mean of Agarwal et al., which is more robust to outliers than the mean.

    Example:
        >>> float(interquartile_mean([0.0, 1.0, 2.0, 100.0]))
        1.5
    """
    from scipy.stats import trim_mean

    return trim_mean(_figures(values, "values"), 0.25, axis=axis)


def bootstrap_interval(
    *grids: npt.ArrayLike,
    statistic: Callable[..., Any] = np.mean,
    replicates: int = 2000,
    seed: int = 0,
) -> tuple[float, float]:
    """Return the 95% percentile bootstrap interval of a statistic over seeds and prompts.

    Each replicate draws P prompts with replacement, the same for every seed and grid, and S seeds
    for each grid, and applies the statistic to the drawn cells. The interval covers randomness in
    training and in the choice of prompts (the pigeonhole bootstrap of Owen 2007,
    https://arxiv.org/abs/0712.1111). With one seed, it is the ordinary bootstrap over prompts; with
    two or three, it is coarse. It does not cover other generators.

    Args:
        *grids: A value per seed and prompt, shape (seeds, prompts), finite; several grids must have
            the same prompts.
        statistic: Takes the drawn cells of each grid, shape (resamples, cells), and `axis=1`.
        replicates: Number of resamples.
        seed: Seed of the resampling, which uses its own generator.

    Raises:
        ValueError: If a grid has another shape, is empty or not finite, the grids differ in their
            number of prompts, or replicates is not positive.

    Example:
        >>> bootstrap_interval([[0.0, 1.0]])
        (0.0, 1.0)
    """
    values = [_figures(grid, "grid", 2) for grid in grids]
    prompts = values[0].shape[1]
    if any(grid.shape[1] != prompts for grid in values):
        raise ValueError(f"All grids must have the same prompts, got {[g.shape for g in values]}")
    if replicates < 1:
        raise ValueError(f"replicates must be positive, got {replicates}")
    rng = np.random.default_rng(seed)
    chunk = max(1, _CELLS // max(grid.size for grid in values))
    figures = []
    for start in range(0, replicates, chunk):
        size = min(chunk, replicates - start)
        drawn = rng.integers(prompts, size=(size, 1, prompts))
        seeds = [rng.integers(len(grid), size=(size, len(grid), 1)) for grid in values]
        cells = (grid[own, drawn] for grid, own in zip(values, seeds, strict=True))
        figures.append(statistic(*(drawn.reshape(size, -1) for drawn in cells), axis=1))
    low, high = np.quantile(np.concatenate(figures), [0.025, 0.975])
    return float(low), float(high)


def probability_of_improvement(x: npt.ArrayLike, y: npt.ArrayLike) -> float:
    """Return the probability that a run of x beats a run of y, as the mean over prompts.

    Formula: `(#{x_i > y_j} + #{x_i = y_j} / 2) / (n m)` over all pairs (i, j), which is the
    Mann-Whitney U of x divided by n m. 0.5 means "no difference". `x` has shape (n,) or (n,
    prompts), and `y` (m,) or (m, prompts).

    Example:
        >>> probability_of_improvement([1.0, 2.0], [0.0, 1.0])
        0.875
    """
    from scipy.stats import mannwhitneyu

    a, b = _figures(x, "x"), _figures(y, "y")
    if a.shape[1:] != b.shape[1:]:
        raise ValueError(f"x and y must have the same prompts, got shapes {a.shape} and {b.shape}")
    u = mannwhitneyu(a, b, axis=0, method="asymptotic").statistic
    return float(np.mean(u) / (len(a) * len(b)))


def sign_flip_p_value(differences: npt.ArrayLike, *, draws: int = 9_999, seed: int = 0) -> SignFlip:
    """Test whether the mean difference is 0 by a paired two-sided permutation test.

    If the two agents were equally good, each difference could just as well have the opposite sign.
    With T the sum of the n nonzero differences and T* the sum with other signs:

        `p = #{|T*| >= |T|} / 2^n`  over all signs, if there are at most `draws`
        `p = (1 + #{|T*| >= |T|}) / (1 + draws)`  over random signs otherwise

    The smallest possible p-value of n differences is `2 / 2^n`. Sources: Fisher, "The Design of
    Experiments" (1935), section 21; for random signs, Phipson and Smyth 2010,
    https://arxiv.org/abs/1603.05766.

    Args:
        differences: One per pair, shape (pairs,), finite.
        draws: Number of random signs, at least 1.
        seed: Seed of the random signs.

    Example:
        >>> sign_flip_p_value([1.0, 2.0, 0.0, 3.0])
        SignFlip(p_value=0.25, exact=True, n=3)
    """
    from scipy.stats import monte_carlo_test, permutation_test

    values = _figures(differences, "differences", 1)
    values = values[values != 0.0]
    n = values.size
    if n < 2:  # which scipy refuses
        return SignFlip(1.0, True, n)
    values = values / np.abs(values).max()  # no overflow, and p does not depend on the unit
    rng = np.random.default_rng(seed)

    def distance(flipped: npt.NDArray[np.float64], axis: int = -1) -> Any:
        # Sums that are equal in theory may differ by some units in the last place.
        return np.abs(flipped.sum(axis=axis)).round(_DECIMALS)

    options: dict[str, Any] = {"alternative": "greater", "n_resamples": draws}
    if exact := 2**n <= draws:
        result = permutation_test((values,), distance, permutation_type="samples", **options)
    else:  # takes a fifth of the time of `permutation_test` with random signs
        options["rvs"] = lambda size: values * rng.choice((-1.0, 1.0), size)
        options["batch"] = max(1, _CELLS // n)
        result = monte_carlo_test(values, statistic=distance, **options)
    return SignFlip(float(result.pvalue), exact, n)


def compare(
    a_grid: npt.ArrayLike, b_grid: npt.ArrayLike, *, replicates: int = 2000, seed: int = 0
) -> Comparison:
    """Compare two agents that were evaluated on the same prompts.

    With a_p and b_p the means of prompt p over the seeds of each agent, the result holds the mean
    of `a_p - b_p`, its `bootstrap_interval` (prompts drawn once for both agents), the mean over
    prompts of `probability_of_improvement`, and `sign_flip_p_value` of the `a_p - b_p`. The
    interval covers randomness in training and in the choice of prompts. The test only covers the
    prompts, so it may find a difference that two more seeds would reverse.

    Args:
        a_grid: Values of agent a, shape (seeds, prompts), finite.
        b_grid: Values of agent b on the same prompts in the same order.
        replicates: Number of resamples.
        seed: Seed of resampling and random signs.

    Example:
        >>> result = compare([[1.0, 1.0, 0.5, 0.5]], [[0.5, 0.5, 0.5, 0.5]])
        >>> result.difference, result.probability_of_improvement, result.sign_flip.p_value
        (0.25, 0.75, 0.5)
    """
    a, b = _figures(a_grid, "a_grid", 2), _figures(b_grid, "b_grid", 2)

    def difference(x: Any, y: Any, axis: int | None = None) -> Any:
        return x.mean(axis) - y.mean(axis)

    interval = bootstrap_interval(a, b, statistic=difference, replicates=replicates, seed=seed)
    of_prompts = a.mean(axis=0) - b.mean(axis=0)
    # The mean of three equal values may differ from them in the last place.
    rounding = 10.0**-_DECIMALS * max(np.abs(a).max(), np.abs(b).max())
    test = sign_flip_p_value(np.where(np.abs(of_prompts) > rounding, of_prompts, 0.0), seed=seed)
    seeds, prompts, least = min(len(a), len(b)), a.shape[1], min(1.0, 2.0 ** (1 - test.n))
    notes = {
        "one seed: the interval leaves out any chance between seeds": seeds == 1,
        f"{seeds} seeds: the interval is coarse": 1 < seeds <= 3,
        f"{prompts} prompts: the interval is too narrow": prompts < _FEW,
        f"small n: {test.n}, so the p-value is at least {least:.3g}": test.n < _FEW,
    }
    note = "; ".join(text for text, holds in notes.items() if holds)
    probability = probability_of_improvement(a, b)
    return Comparison(float(difference(a, b)), interval, probability, test, note)


def _figures(values: npt.ArrayLike, name: str, ndim: int | None = None) -> npt.NDArray[np.float64]:
    figures = np.asarray(values, dtype=np.float64)
    if ndim not in (None, figures.ndim):
        shape = "(seeds, prompts)" if ndim == 2 else "(pairs,)"
        raise ValueError(f"{name} must have shape {shape}, got {figures.shape}")
    if figures.size == 0:
        raise ValueError(f"{name} must hold at least one figure, got shape {figures.shape}")
    if not np.isfinite(figures).all():
        raise ValueError(f"{name} must be finite: remove prompts without a figure first")
    return figures
