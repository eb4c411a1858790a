"""Comparing two agents: probability of improvement, interval and test.

Figures of one agent on one split form a grid as in `benchmarks.resampling`. The measures follow
Agarwal et al., "Deep Reinforcement Learning at the Edge of the Statistical Precipice" (2021),
https://arxiv.org/abs/2108.13264.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from benchmarks import resampling
from benchmarks.resampling import FloatArray, IntArray, figures_of, percentile_interval

ENUMERATED = 20  # differences up to which all 2^n signs are tried: 2^19 sums, 4 MB
FEW = 10  # pairs or prompts below which a result gets a note
_ROUNDING = 1e-12  # relative; figures closer than this differ by rounding only


@dataclass(frozen=True)
class SignFlip:
    """Result of `sign_flip_p_value`.

    Attributes:
        p_value: Two-sided, in (0, 1].
        exact: Whether all signs were tried; otherwise the p-value is a Monte Carlo estimate.
        n: Number of differences other than 0, which alone count.
        note: Begins with "small n" where n is less than 10; otherwise "".
    """

    p_value: float
    exact: bool
    n: int
    note: str


@dataclass(frozen=True)
class Comparison:
    """Agent a against agent b on the same prompts, from `compare`.

    Attributes:
        mean_difference: Mean of a minus mean of b, in the unit of the figures.
        low: Lower end of its interval.
        high: Upper end of its interval.
        level: Coverage of the interval.
        probability_of_improvement: Of a over b, mean over the prompts, in [0, 1].
        sign_flip: Test of the prompt-wise differences; the seeds are taken as they are.
        seeds_a: Seeds of a.
        seeds_b: Seeds of b.
        prompts: Prompts that both were evaluated on.
        note: What is too small to be relied on; "" where nothing is.
    """

    mean_difference: float
    low: float
    high: float
    level: float
    probability_of_improvement: float
    sign_flip: SignFlip
    seeds_a: int
    seeds_b: int
    prompts: int
    note: str


def probability_of_improvement(x: npt.ArrayLike, y: npt.ArrayLike) -> float:
    """Return how probably a run of x beats a run of y.

    Formula: `(#{x_i > y_j} + #{x_i = y_j} / 2) / (n m)` over all pairs (i, j), which is the
    Mann-Whitney U of x divided by n m. 0.5 means "no difference". Source: Agarwal et al. 2021,
    https://arxiv.org/abs/2108.13264.

    Args:
        x: Figures of the first agent, shape (n,), finite.
        y: Figures of the second agent, shape (m,), finite.

    Returns:
        A number in [0, 1].

    Raises:
        ValueError: If one of the two is not one-dimensional, is empty or has entries that are not
            finite.

    Example:
        >>> probability_of_improvement([1.0, 2.0], [0.0, 1.0])
        0.875
    """
    first, second = figures_of(x, "x", 1), np.sort(figures_of(y, "y", 1))
    below = np.searchsorted(second, first, side="left").sum()
    not_above = np.searchsorted(second, first, side="right").sum()
    return int(below + not_above) / (2 * first.size * second.size)


def sign_flip_p_value(differences: npt.ArrayLike, *, draws: int = 9_999, seed: int = 0) -> SignFlip:
    """Paired two-sided permutation test: is the mean difference 0?

    If the two agents were equally good, each difference could as well have the other sign. With T
    the sum of the differences and T* that with other signs:

        `p = #{|T*| >= |T|} / 2^n`  over all signs, for n of at most 20 differences other than 0
        `p = (1 + #{|T*| >= |T|}) / (1 + draws)`  over random signs, for more

    Differences of 0 have no sign and change neither. The smallest p-value that n differences can
    have is `2 / 2^n`. Sources: Fisher, "The Design of Experiments" (1935), section 21; for the
    random signs Phipson and Smyth 2010, https://arxiv.org/abs/1603.05766.

    Args:
        differences: One per pair, shape (pairs,), finite.
        draws: Number of random signs; not used where all are tried.
        seed: Seed of the random signs, which use a generator of their own.

    Returns:
        The p-value, how it was found, and a note where n is less than 10.

    Raises:
        ValueError: If the differences are not one-dimensional, are none or are not finite, or draws
            is not positive.

    Example:
        >>> sign_flip_p_value([1.0, 2.0, 0.0, 3.0])
        SignFlip(p_value=0.25, exact=True, n=3, note='small n: 3, so the p-value is at least 0.25')
    """
    values = figures_of(differences, "differences", 1)
    if draws < 1:
        raise ValueError(f"draws must be positive, got {draws}")
    values = values[values != 0.0]
    n = values.size
    note = ""
    if n < FEW:
        note = f"small n: {n}, so the p-value is at least {min(1.0, 2.0 / 2.0**n):.3g}"
    if n == 0:
        return SignFlip(1.0, True, 0, note)
    values = values / np.abs(values).max()  # no overflow, and p does not depend on the unit
    # Sums that are equal on paper come out some units in the last place apart.
    bound = abs(values.sum()) - _ROUNDING * np.abs(values).sum()
    if n <= ENUMERATED:
        # All signs turned round give the same |T*|, so the first sign can stay: half the work.
        sums = values[:1]
        for value in values[1:]:
            sums = np.concatenate([sums + value, sums - value])
        return SignFlip(float(np.mean(np.abs(sums) >= bound)), True, n, note)
    rng = np.random.default_rng(seed)
    extreme = 0
    chunk = max(1, resampling.CHUNK_CELLS // n)
    for start in range(0, draws, chunk):
        flips = rng.random((min(chunk, draws - start), n)) < 0.5
        sums = values.sum() - 2.0 * (flips @ values)
        extreme += int(np.count_nonzero(np.abs(sums) >= bound))
    return SignFlip((1 + extreme) / (1 + draws), False, n, note)


def compare(
    a_grid: npt.ArrayLike,
    b_grid: npt.ArrayLike,
    *,
    level: float = 0.95,
    replicates: int = 2000,
    seed: int = 0,
) -> Comparison:
    """Compare two agents that were evaluated on the same prompts.

    With a_p and b_p the means of prompt p over the seeds of each agent:

    - mean difference `mean(a_p - b_p)`, with a percentile bootstrap interval. Each replicate draws
      the prompts once for both agents, and the seeds of each agent apart from those of the other:

        `d_b = sum_p v_p * (sum_s u_s * a[s, p] / S_a - sum_s w_s * b[s, p] / S_b) / P`

    - the mean over prompts of `probability_of_improvement` between the seeds of a and of b on one
      prompt (prompts are the tasks of Agarwal et al.);
    - `sign_flip_p_value` of the `a_p - b_p`.

    The interval covers chance in training and in the choice of prompts; the test covers the prompts
    alone, so that it may call "different" what two more seeds would turn round. Sources: Agarwal et
    al. 2021, https://arxiv.org/abs/2108.13264; Owen 2007, https://arxiv.org/abs/0712.1111.

    Args:
        a_grid: Figures of agent a, shape (seeds_a, prompts), finite.
        b_grid: Figures of agent b on the same prompts in the same order, shape (seeds_b, prompts),
            finite.
        level: Coverage of the interval, in (0, 1).
        replicates: Number of resamples.
        seed: Seed of resampling and random signs, which use generators of their own.

    Returns:
        All figures, with numbers of seeds and prompts.

    Raises:
        ValueError: If a grid is not two-dimensional, is empty or has entries that are not finite,
            the grids differ in their number of prompts, or level or replicates are out of range.

    Example:
        >>> result = compare([[1.0, 1.0, 0.5, 0.5]], [[0.5, 0.5, 0.5, 0.5]])
        >>> result.mean_difference, result.probability_of_improvement, result.sign_flip.p_value
        (0.25, 0.75, 0.5)
    """
    a, b = figures_of(a_grid, "a_grid", 2), figures_of(b_grid, "b_grid", 2)
    (seeds_a, prompts), seeds_b = a.shape, b.shape[0]
    if b.shape[1] != prompts:
        raise ValueError(f"Both grids must have the same prompts, got {prompts} and {b.shape[1]}")

    def differences(of_prompts: IntArray, of_a: IntArray, of_b: IntArray) -> FloatArray:
        mean_a, mean_b = (
            np.einsum("bs,bs->b", of_seeds, of_prompts @ grid.T) / grid.size
            for of_seeds, grid in ((of_a, a), (of_b, b))
        )
        return mean_a - mean_b

    sizes = (prompts, seeds_a, seeds_b)
    low, high = percentile_interval(
        differences, sizes, cells=max(sizes), level=level, replicates=replicates, seed=seed
    )
    a_means, b_means = _without_rounding(a.mean(axis=0), b.mean(axis=0))
    sign_flip = sign_flip_p_value(a_means - b_means, seed=seed)
    notes = []
    if min(seeds_a, seeds_b) == 1:
        notes.append("one seed: the interval leaves out any chance between seeds")
    elif min(seeds_a, seeds_b) <= 3:
        notes.append(f"{min(seeds_a, seeds_b)} seeds: the interval is coarse")
    if prompts < FEW:
        notes.append(f"{prompts} prompts: the interval is too narrow")
    if sign_flip.note:
        notes.append(sign_flip.note)
    return Comparison(
        mean_difference=float(a.mean() - b.mean()),
        low=low,
        high=high,
        level=level,
        probability_of_improvement=float(
            np.mean([probability_of_improvement(x, y) for x, y in zip(a.T, b.T, strict=True)])
        ),
        sign_flip=sign_flip,
        seeds_a=seeds_a,
        seeds_b=seeds_b,
        prompts=prompts,
        note="; ".join(notes),
    )


def _without_rounding(x: FloatArray, y: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Make values equal that differ by rounding only.

    An agent without chance has one figure per prompt, but its mean over three seeds and that over
    one may differ in the last place: a win or a difference where there is none.
    """
    values = np.concatenate([x, y])
    order = np.argsort(values)
    ordered = values[order]
    first = np.append(True, np.diff(ordered) > _ROUNDING * np.abs(values).max())
    values[order] = ordered[first][np.cumsum(first) - 1]
    return values[: x.size], values[x.size :]
