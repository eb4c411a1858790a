from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from benchmarks.statistics import (
    bootstrap_interval,
    compare,
    interquartile_mean,
    normalized_score,
    probability_of_improvement,
    sign_flip_p_value,
    survival_rate,
)

# Eighths: sums of them are exact, and ties are frequent.
EIGHTHS = st.integers(-24, 24).map(lambda n: n / 8)
RUNS = st.lists(EIGHTHS, min_size=1, max_size=30)
FEW_RUNS = st.lists(EIGHTHS, min_size=1, max_size=9)


@st.composite
def two_grids(draw: st.DrawFn) -> tuple[list[list[float]], list[list[float]]]:
    prompts = draw(st.integers(1, 6))
    line = st.lists(EIGHTHS, min_size=prompts, max_size=prompts)
    grid = st.lists(line, min_size=1, max_size=4)
    return draw(grid), draw(grid)


def test_survival_needs_more_than_the_threshold():
    assert survival_rate([0.9, 0.9000001, 1.0, 0.0]) == 0.5
    assert survival_rate([0.5, 0.5], threshold=0.4) == 1.0


def test_normalized_score():
    assert normalized_score(0.25, 0.25, 0.75) == 0.0
    assert normalized_score(1.0, 0.25, 0.75) == 1.5
    assert normalized_score(0.0, 0.25, 0.75) == -0.5
    for ceiling in (0.25, 0.2, math.nan):
        assert normalized_score(1.0, 0.25, ceiling) is None


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([7.0], 7.0),
        ([1.0, 2.0, 6.0], 3.0),  # floor(3 / 4) = 0: nothing is cut off
        ([100.0, 1.0, 2.0, -50.0], 1.5),
        ([0.0, 1.0, 2.0, 3.0, 100.0], 2.0),
        ([[9.0, 1.0, 2.0, 3.0], [4.0, 5.0, 6.0, -9.0]], 3.5),
    ],
)
def test_interquartile_mean_by_hand(values, expected):
    assert interquartile_mean(values) == expected


def test_interval_over_prompts_is_the_binomial_one():
    # The sum of a resample of five 0 and five 1 is Binomial(10, 1/2). P(X <= 1) = 0.0107 and
    # P(X <= 2) = 0.0547 enclose 0.025, so the interval is [2, 8] / 10.
    assert bootstrap_interval([[0.0] * 5 + [1.0] * 5], replicates=20_000) == (0.2, 0.8)


def test_interval_over_seeds_is_the_binomial_one():
    # Four seeds, all prompts alike: sums of Binomial(4, 1/2), P(X = 0) = 1/16 > 0.025.
    grid = [[0.0] * 7, [0.0] * 7, [1.0] * 7, [1.0] * 7]
    assert bootstrap_interval(grid) == (0.0, 1.0)
    # Ten seeds: as of ten prompts.
    ten = [*[[0.0] * 7] * 5, *[[1.0] * 7] * 5]
    assert bootstrap_interval(ten, replicates=20_000) == (0.2, 0.8)


def test_interval_draws_seeds_and_prompts_apart():
    # grid = a_s * b_p, so a resample's mean is (u.a / 2) * (v.b / 2) with both in {0, 1/2, 1}:
    # P(mean = 0) = 1 - (3/4)^2 = 7/16, P(mean = 1) = 1/16, 1/4 and 1/2 between them.
    grid = [[0.0, 0.0], [0.0, 1.0]]
    assert bootstrap_interval(grid, replicates=20_000) == (0.0, 1.0)


def test_interval_of_the_interquartile_mean():
    # Of ten cells the middle six count: with X ~ Binomial(10, 1/2) ones the figure is
    # (X - 2) / 6, 0 up to two ones. The interval of X is [2, 8], as above.
    options = {"statistic": interquartile_mean, "replicates": 20_000}
    assert bootstrap_interval([[0.0] * 5 + [1.0] * 5], **options) == (0.0, 1.0)


def test_intervals_are_seeded_and_leave_global_chance_alone():
    grid = np.random.default_rng(1).random((3, 50))
    state = np.random.get_state()[1].copy()
    first, second = bootstrap_interval(grid), bootstrap_interval(grid)
    assert first == second
    assert first != bootstrap_interval(grid, seed=1)
    assert first[0] < grid.mean() < first[1]
    assert compare(grid, 1 - grid) == compare(grid, 1 - grid)
    assert (np.random.get_state()[1] == state).all()


@pytest.mark.parametrize(
    ("x", "y", "expected"),
    [
        ([1.0], [0.0], 1.0),
        ([1.0], [1.0], 0.5),
        ([1.0, 2.0], [0.0, 1.0], 3.5 / 4),
        ([0.0, 0.0, 3.0], [1.0, 2.0], 1 / 3),
        ([[1.0, 0.0], [1.0, 2.0]], [[0.0, 1.0]], (1 + 1 / 2) / 2),  # the mean over two prompts
    ],
)
def test_probability_of_improvement_by_hand(x, y, expected):
    assert probability_of_improvement(x, y) == pytest.approx(expected, rel=1e-15)


@given(RUNS, RUNS)
def test_probability_of_improvement_counts_pairs(x: list[float], y: list[float]):
    wins = sum((a > b) + (a == b) / 2 for a, b in itertools.product(x, y))
    assert probability_of_improvement(x, y) == wins / (len(x) * len(y))


@pytest.mark.parametrize(
    ("differences", "p_value", "n"),
    [
        ([0.0, 0.0], 1.0, 0),
        ([5.0], 1.0, 1),
        ([1.0, 1.0], 0.5, 2),
        ([1.0, -1.0], 1.0, 2),
        # |T| = 2; of 8 signs, +++ and --- reach 4 and +-+, -+- reach 2.
        ([1.0, -1.0, 2.0], 0.75, 3),
        ([0.5] * 9, 2 / 2**9, 9),
        ([0.5, 0.0] * 9, 2 / 2**9, 9),
        # 0.1 + 0.2 is 0.30000000000000004: two of the eight sums are as far out as |T| = 0.6, and
        # the two sums of 0.3 - 0.1 - 0.2 are 0.
        ([0.1, 0.2, 0.3], 0.25, 3),
        ([0.1, 0.2, -0.3], 1.0, 3),
    ],
)
def test_sign_flip_by_hand(differences, p_value, n):
    result = sign_flip_p_value(differences)
    assert (result.p_value, result.exact, result.n) == (p_value, True, n)


@given(FEW_RUNS)
def test_sign_flip_tries_all_signs(differences: list[float]):
    observed = abs(sum(differences))
    signs = itertools.product([1, -1], repeat=len(differences))
    sums = [sum(s * d for s, d in zip(sign, differences, strict=True)) for sign in signs]
    result = sign_flip_p_value(differences)
    assert result.exact
    assert result.p_value == sum(abs(total) >= observed for total in sums) / len(sums)


@given(st.lists(EIGHTHS, min_size=1, max_size=40), st.sampled_from([1e-300, 0.1, 3.0, 1e300]))
def test_sign_flip_has_no_direction_and_no_unit(differences: list[float], unit: float):
    result = sign_flip_p_value(differences, draws=200)
    assert 0.0 < result.p_value <= 1.0
    assert sign_flip_p_value([-value for value in differences], draws=200) == result
    # In tenths, sums that are equal on paper differ in their last place.
    assert sign_flip_p_value([unit * value for value in differences], draws=200) == result


def test_sign_flip_draws_signs_where_there_are_too_many():
    differences = np.random.default_rng(3).normal(0.4, 1.0, 16)
    drawn = sign_flip_p_value(differences)
    assert (drawn.exact, drawn.n) == (False, 16)
    exact = stats.permutation_test(
        (differences,), np.sum, permutation_type="samples", n_resamples=2**16
    ).pvalue
    # Four standard errors of a share of 9,999.
    assert drawn.p_value == pytest.approx(exact, abs=4 * math.sqrt(exact * (1 - exact) / 9_999))
    assert drawn != sign_flip_p_value(differences, seed=1)
    # No random signs reach the sum of 40 equal differences: the observed ones alone count.
    assert sign_flip_p_value([1.0] * 40, draws=99).p_value == 0.01
    assert sign_flip_p_value([0.1, 0.2, -0.3] * 10).p_value == 1.0


def test_compare_by_hand():
    result = compare([[1.0, 0.0, 1.0], [1.0, 1.0, 1.0]], [[0.5, 0.5, 0.0]])
    # Prompt means 1, 1/2, 1 against 1/2, 1/2, 0; differences 1/2, 0, 1.
    assert result.difference == pytest.approx(0.5)
    # On the prompts one by one both, one of two, and both seeds of a are above b.
    assert result.probability_of_improvement == pytest.approx((1 + 0.5 + 1) / 3)
    assert (result.sign_flip.p_value, result.sign_flip.n) == (0.5, 2)
    assert result.note == (
        "one seed: the interval leaves out any chance between seeds; "
        "3 prompts: the interval is too narrow; "
        "small n: 2, so the p-value is at least 0.5"
    )


def test_compare_draws_the_same_prompts_for_both():
    # Prompts differ widely, the agents by 1/8 on each: resampling prompts moves both alike.
    a = np.random.default_rng(0).integers(0, 800, (1, 200)) / 8
    result = compare(a, a - 0.125)
    assert result.interval == pytest.approx((0.125, 0.125))
    assert result.sign_flip.p_value == 1 / 10_000
    assert result.probability_of_improvement == 1.0


def test_compare_draws_the_seeds_of_each_agent():
    # Seeds of 0 and 1, all prompts alike. Means of each agent in {0, 1/2, 1} with probabilities
    # 1/4, 1/2, 1/4, so the difference is -1 with 1/16 and at most -1/2 with 5/16.
    grid = [[0.0] * 20, [1.0] * 20]
    assert compare(grid, grid).interval == (-1.0, 1.0)
    assert compare(grid, grid).note.startswith("2 seeds: the interval is coarse")
    # Only the agent with chance in it moves the interval.
    assert compare(grid, [[0.5] * 20]).interval == (-0.5, 0.5)


def test_compare_has_no_note_where_there_is_enough():
    rng = np.random.default_rng(2)
    assert compare(rng.random((4, 100)), rng.random((5, 100)), replicates=10).note == ""


def test_compare_sees_no_difference_in_rounding():
    # The mean of three 0.1 is 0.10000000000000002.
    one = np.full((1, 12), 0.1)
    result = compare(one.repeat(3, axis=0), one)
    assert (result.probability_of_improvement, result.sign_flip.n) == (0.5, 0)
    assert result.difference == pytest.approx(0.0, abs=1e-15)


@given(two_grids(), EIGHTHS)
def test_compare_is_antisymmetric_and_moves_with_neither(grids, shift: float):
    a, b = (np.array(grid) for grid in grids)
    there, back = compare(a, b, replicates=50), compare(b, a, replicates=50)
    assert there.interval[0] <= there.interval[1]
    assert there.difference == -back.difference
    both = there.probability_of_improvement + back.probability_of_improvement
    assert both == pytest.approx(1.0, abs=1e-15)
    assert there.sign_flip == back.sign_flip
    moved = compare(a + shift, b + shift, replicates=50)
    assert moved.interval == pytest.approx(there.interval, abs=1e-12)
    assert moved.probability_of_improvement == there.probability_of_improvement
    assert moved.sign_flip == there.sign_flip


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: survival_rate([]), "similarities must hold at least one"),
        (lambda: interquartile_mean([]), "at least one"),
        (lambda: interquartile_mean([math.nan]), "finite"),
        (lambda: bootstrap_interval([0.0, 1.0]), "shape"),
        (lambda: bootstrap_interval([[]]), "at least one"),
        (lambda: bootstrap_interval([[0.0, math.inf]]), "finite"),
        (lambda: bootstrap_interval([[0.0]], replicates=0), "replicates"),
        (lambda: probability_of_improvement([], [1.0]), "x must hold"),
        (lambda: probability_of_improvement([1.0], [[1.0]]), "same prompts"),
        (lambda: sign_flip_p_value([]), "at least one"),
        (lambda: sign_flip_p_value([[1.0]]), "shape"),
        (lambda: sign_flip_p_value([1.0] * 9, draws=0), "n_resamples"),
        (lambda: compare([[1.0]], [[1.0, 2.0]]), "same prompts"),
        (lambda: compare([1.0], [[1.0]]), "a_grid must have shape"),
        (lambda: compare([[1.0]], [[math.nan]]), "b_grid must be finite"),
    ],
)
def test_bad_input_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
