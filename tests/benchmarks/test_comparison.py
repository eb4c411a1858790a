from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.comparison import (
    ENUMERATED,
    compare,
    probability_of_improvement,
    sign_flip_p_value,
)
from benchmarks.resampling import bootstrap_interval, bootstrap_iqm_interval, interquartile_mean
from benchmarks.stats import normalised_score

# Eighths: sums of them are exact, and ties are frequent.
EIGHTHS = st.integers(-24, 24).map(lambda n: n / 8)
RUNS = st.lists(EIGHTHS, min_size=1, max_size=30)
FEW_RUNS = st.lists(EIGHTHS, min_size=1, max_size=9)
FLOATS = st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=30)


@st.composite
def two_grids(draw: st.DrawFn) -> tuple[list[list[float]], list[list[float]]]:
    prompts = draw(st.integers(1, 6))
    line = st.lists(EIGHTHS, min_size=prompts, max_size=prompts)
    grid = st.lists(line, min_size=1, max_size=4)
    return draw(grid), draw(grid)


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


@given(RUNS, EIGHTHS)
def test_interquartile_mean_moves_with_the_values(values: list[float], shift: float):
    moved = interquartile_mean([value + shift for value in values])
    assert moved == pytest.approx(interquartile_mean(values) + shift, abs=1e-12)
    assert interquartile_mean([-value for value in values]) == -interquartile_mean(values)
    assert min(values) <= interquartile_mean(values) <= max(values)


@given(FLOATS)
def test_interquartile_mean_is_scipys_trimmed_mean(values: list[float]):
    stats = pytest.importorskip("scipy.stats")
    assert interquartile_mean(values) == pytest.approx(
        stats.trim_mean(values, 0.25), rel=1e-12, abs=1e-9
    )


def test_iqm_interval_is_that_of_resamples_written_out():
    grid = 1 + np.random.default_rng(0).random((3, 7)).round(1)  # with ties, and no 0
    for_seeds, for_prompts = np.random.default_rng(5).spawn(2)
    drawn = zip(
        for_seeds.multinomial(3, [1 / 3] * 3, size=50),
        for_prompts.multinomial(7, [1 / 7] * 7, size=50),
        strict=True,
    )
    figures = [
        interquartile_mean(grid.repeat(seeds, axis=0).repeat(prompts, axis=1))
        for seeds, prompts in drawn
    ]
    expected = np.quantile(figures, [0.1, 0.9])
    interval = bootstrap_iqm_interval(grid, level=0.8, replicates=50, seed=5)
    assert interval == pytest.approx(tuple(expected), rel=1e-12)


def test_iqm_interval_by_hand():
    # Two prompts, one seed: nothing is cut off, so it is the interval of the mean, {0, 1/2, 1}.
    assert bootstrap_iqm_interval([[0.0, 1.0]]) == (0.0, 1.0)
    # Of four cells the middle two count. The figure is 0 where three or four are 0: with
    # X ~ Binomial(4, 1/2) ones, P(X <= 1) = 5/16 and P(X <= 2) = 11/16.
    options = {"level": 0.5, "replicates": 20_000}
    assert bootstrap_iqm_interval([[0.0, 0.0, 1.0, 1.0]], **options) == (0.0, 1.0)
    options["level"] = 0.3
    assert bootstrap_iqm_interval([[0.0, 0.0, 1.0, 1.0]], **options) == (0.5, 0.5)


def test_intervals_are_seeded_and_leave_global_chance_alone():
    grid = np.random.default_rng(1).random((3, 50))
    state = np.random.get_state()[1].copy()
    first = bootstrap_iqm_interval(grid)
    assert first == bootstrap_iqm_interval(grid)
    assert first != bootstrap_iqm_interval(grid, seed=1)
    assert first[0] < interquartile_mean(grid) < first[1]
    assert compare(grid, 1 - grid) == compare(grid, 1 - grid)
    assert compare(grid, 1 - grid).low != compare(grid, 1 - grid, seed=1).low
    assert (np.random.get_state()[1] == state).all()


def test_nothing_depends_on_the_size_of_the_chunks(monkeypatch: pytest.MonkeyPatch):
    grid = np.random.default_rng(0).integers(0, 9, (3, 30)) / 8

    def results():
        return (
            bootstrap_iqm_interval(grid, replicates=101),
            compare(grid, grid[:2, ::-1], replicates=101),
            sign_flip_p_value(grid[0] - 0.375, draws=101),
        )

    whole = results()
    monkeypatch.setattr("benchmarks.resampling.CHUNK_CELLS", 70)
    assert results() == whole


@pytest.mark.parametrize(
    ("x", "y", "expected"),
    [
        ([1.0], [0.0], 1.0),
        ([1.0], [1.0], 0.5),
        ([1.0, 2.0], [0.0, 1.0], 3.5 / 4),
        ([0.0, 0.0, 3.0], [1.0, 2.0], 1 / 3),
    ],
)
def test_probability_of_improvement_by_hand(x, y, expected):
    assert probability_of_improvement(x, y) == expected


@given(RUNS, RUNS, EIGHTHS)
def test_probability_of_improvement_counts_pairs(x: list[float], y: list[float], shift: float):
    wins = sum((a > b) + (a == b) / 2 for a, b in itertools.product(x, y))
    probability = probability_of_improvement(x, y)
    assert probability == wins / (len(x) * len(y))
    assert probability + probability_of_improvement(y, x) == pytest.approx(1.0, abs=1e-15)
    assert probability_of_improvement(x, x) == 0.5
    moved = ([value + shift for value in values] for values in (x, y))
    assert probability_of_improvement(*moved) == probability


@given(RUNS, RUNS)
def test_probability_of_improvement_is_scipys_u(x: list[float], y: list[float]):
    stats = pytest.importorskip("scipy.stats")
    u = stats.mannwhitneyu(x, y, method="asymptotic").statistic
    assert probability_of_improvement(x, y) == u / (len(x) * len(y))


def test_probability_of_improvement_needs_no_table_of_pairs():
    runs = np.arange(300_000.0)  # whose table would take 90 GB
    assert probability_of_improvement(runs, runs) == 0.5


def test_normalised_score():
    assert normalised_score(0.25, 0.25, 0.75) == 0.0
    assert normalised_score(0.75, 0.25, 0.75) == 1.0
    assert normalised_score(1.0, 0.25, 0.75) == 1.5
    assert normalised_score(0.0, 0.25, 0.75) == -0.5
    for ceiling in (0.25, 0.2, math.nan):
        assert normalised_score(1.0, 0.25, ceiling) is None


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
    ],
)
def test_sign_flip_by_hand(differences, p_value, n):
    result = sign_flip_p_value(differences)
    assert (result.p_value, result.exact, result.n) == (p_value, True, n)
    assert result.note.startswith(f"small n: {n},")


def test_sign_flip_says_the_smallest_p_value_that_few_pairs_can_have():
    assert sign_flip_p_value([0.0]).note == "small n: 0, so the p-value is at least 1"
    assert sign_flip_p_value([1.0, 0.0] * 5).note == "small n: 5, so the p-value is at least 0.0625"
    assert sign_flip_p_value([1.0] * 10).note == ""


@given(FEW_RUNS)
def test_sign_flip_tries_all_signs(differences: list[float]):
    observed = abs(sum(differences))
    signs = list(itertools.product([1, -1], repeat=len(differences)))
    sums = [sum(s * d for s, d in zip(sign, differences, strict=True)) for sign in signs]
    expected = sum(abs(total) >= observed for total in sums) / len(signs)
    result = sign_flip_p_value(differences)
    assert result.exact
    assert result.p_value == expected
    assert min(1.0, 2 / 2**result.n) <= result.p_value <= 1.0


@given(st.lists(EIGHTHS, min_size=2, max_size=9))  # scipy refuses a single one
def test_sign_flip_is_scipys_permutation_test(differences: list[float]):
    stats = pytest.importorskip("scipy.stats")
    expected = stats.permutation_test(
        (differences,), np.sum, permutation_type="samples", n_resamples=math.inf, vectorized=False
    )
    assert sign_flip_p_value(differences).p_value == pytest.approx(expected.pvalue, rel=1e-12)


@given(st.lists(EIGHTHS, min_size=1, max_size=40), st.sampled_from([1e-300, 0.1, 3.0, 1e300]))
def test_sign_flip_has_no_direction_and_no_unit(differences: list[float], unit: float):
    result = sign_flip_p_value(differences, draws=200)
    assert 0.0 < result.p_value <= 1.0
    assert sign_flip_p_value([-value for value in differences], draws=200) == result
    # In tenths, sums that are equal on paper differ in their last place.
    assert sign_flip_p_value([unit * value for value in differences], draws=200) == result


def test_sign_flip_sees_ties_through_rounding():
    # 0.1 + 0.2 is 0.30000000000000004: two of the eight sums are as far out as |T| = 0.6, and the
    # two sums of 0.3 - 0.1 - 0.2 are 0.
    assert sign_flip_p_value([0.1, 0.2, 0.3]).p_value == 0.25
    assert sign_flip_p_value([0.1, 0.2, -0.3]).p_value == 1.0
    assert sign_flip_p_value([0.1, 0.2, -0.3] * 10).p_value == 1.0


def test_sign_flip_draws_signs_where_there_are_too_many():
    differences = np.random.default_rng(3).normal(0.4, 1.0, ENUMERATED + 1)
    drawn = sign_flip_p_value(differences, draws=40_000)
    assert (drawn.exact, drawn.n, drawn.note) == (False, ENUMERATED + 1, "")
    sums = np.zeros(1)
    for value in differences:
        sums = np.concatenate([sums + value, sums - value])
    exact = np.mean(np.abs(sums) >= abs(differences.sum()) - 1e-9)
    # Four standard errors of a share of 40,000.
    assert drawn.p_value == pytest.approx(exact, abs=4 * math.sqrt(exact * (1 - exact) / 40_000))
    assert drawn != sign_flip_p_value(differences, draws=40_000, seed=1)
    # No random signs reach the sum of 40 equal differences: the observed ones alone count.
    assert sign_flip_p_value([1.0] * 40, draws=99).p_value == 0.01
    # A zero decides nothing, so 20 others are still enumerated.
    assert sign_flip_p_value([1.0] * ENUMERATED + [0.0]).p_value == 2 / 2**ENUMERATED


def test_compare_by_hand():
    result = compare([[1.0, 0.0, 1.0], [1.0, 1.0, 1.0]], [[0.5, 0.5, 0.0]])
    # Prompt means 1, 1/2, 1 against 1/2, 1/2, 0; differences 1/2, 0, 1.
    assert result.mean_difference == pytest.approx(0.5)
    # On the prompts one by one both, one of two, and both seeds of a are above b.
    assert result.probability_of_improvement == pytest.approx((1 + 0.5 + 1) / 3)
    assert (result.sign_flip.p_value, result.sign_flip.n) == (0.5, 2)
    assert (result.seeds_a, result.seeds_b, result.prompts) == (2, 1, 3)
    assert result.level == 0.95
    assert result.note == (
        "one seed: the interval leaves out any chance between seeds; "
        "3 prompts: the interval is too narrow; "
        "small n: 2, so the p-value is at least 0.5"
    )


def test_compare_draws_the_same_prompts_for_both():
    # Prompts differ widely, the agents by 1/8 on each: resampling prompts moves both alike.
    a = np.random.default_rng(0).integers(0, 800, (1, 200)) / 8
    result = compare(a, a - 0.125)
    assert (result.low, result.high) == pytest.approx((0.125, 0.125))
    assert result.sign_flip.p_value == 1 / 10_000
    assert result.probability_of_improvement == 1.0


def test_compare_draws_the_seeds_of_each_agent():
    # Seeds of 0 and 1, all prompts alike. Means of each agent in {0, 1/2, 1} with probabilities
    # 1/4, 1/2, 1/4, so the difference is -1 with 1/16 and at most -1/2 with 5/16.
    grid = [[0.0] * 20, [1.0] * 20]
    assert (compare(grid, grid).low, compare(grid, grid).high) == (-1.0, 1.0)
    at_80 = compare(grid, grid, level=0.8, replicates=20_000)
    assert (at_80.low, at_80.high) == (-0.5, 0.5)
    assert at_80.note.startswith("2 seeds: the interval is coarse")
    # Only the agent with chance in it moves the interval.
    assert compare(grid, [[0.5] * 20]).low == -0.5


def test_compare_with_one_seed_is_the_bootstrap_of_the_differences():
    rng = np.random.default_rng(2)
    a, b = rng.random((2, 1, 400))
    result = compare(a, b, replicates=20_000)
    expected = bootstrap_interval(a - b, replicates=20_000)
    assert (result.low, result.high) == pytest.approx(expected, abs=0.003)


def test_compare_has_no_note_where_there_is_enough():
    rng = np.random.default_rng(2)
    assert compare(rng.random((4, 100)), rng.random((5, 100)), replicates=10).note == ""


def test_compare_sees_no_difference_in_rounding():
    # The mean of three 0.1 is 0.10000000000000002.
    one = np.full((1, 12), 0.1)
    result = compare(one.repeat(3, axis=0), one)
    assert (result.probability_of_improvement, result.sign_flip.n) == (0.5, 0)
    assert result.sign_flip.p_value == 1.0
    assert result.mean_difference == pytest.approx(0.0, abs=1e-15)


@given(two_grids(), EIGHTHS)
def test_compare_is_antisymmetric_and_moves_with_neither(grids, shift: float):
    a, b = (np.array(grid) for grid in grids)
    there, back = compare(a, b, replicates=50), compare(b, a, replicates=50)
    assert there.low <= there.high
    assert there.mean_difference == -back.mean_difference
    both = there.probability_of_improvement + back.probability_of_improvement
    assert both == pytest.approx(1.0, abs=1e-15)
    assert there.sign_flip == back.sign_flip
    moved = compare(a + shift, b + shift, replicates=50)
    assert (moved.low, moved.high) == pytest.approx((there.low, there.high), abs=1e-12)
    assert moved.mean_difference == pytest.approx(there.mean_difference, abs=1e-12)
    assert moved.probability_of_improvement == there.probability_of_improvement
    assert moved.sign_flip == there.sign_flip


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: interquartile_mean([]), "at least one"),
        (lambda: interquartile_mean([math.nan]), "finite"),
        (lambda: bootstrap_iqm_interval([0.0, 1.0]), "shape"),
        (lambda: bootstrap_iqm_interval([[]]), "at least one"),
        (lambda: bootstrap_iqm_interval([[math.inf]]), "finite"),
        (lambda: bootstrap_iqm_interval([[0.0]], level=1.0), "level"),
        (lambda: bootstrap_iqm_interval([[0.0]], replicates=0), "replicates"),
        (lambda: probability_of_improvement([], [1.0]), "x must hold"),
        (lambda: probability_of_improvement([1.0], [[1.0]]), "y must have one dimension"),
        (lambda: sign_flip_p_value([]), "at least one"),
        (lambda: sign_flip_p_value([[1.0]]), "one dimension"),
        (lambda: sign_flip_p_value([1.0], draws=0), "draws"),
        (lambda: compare([[1.0]], [[1.0, 2.0]]), "same prompts"),
        (lambda: compare([1.0], [[1.0]]), "a_grid must have shape"),
        (lambda: compare([[1.0]], [[math.nan]]), "b_grid must be finite"),
        (lambda: compare([[1.0]], [[1.0]], level=0.0), "level"),
    ],
)
def test_bad_input_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
