from __future__ import annotations

import math

import numpy as np
import pytest

from benchmarks.resampling import bootstrap_interval
from benchmarks.stats import mean, micro_compression_ratio, survival_rate


def test_mean_leaves_out_what_was_not_measured():
    assert mean([1.0, None, 4.0, math.nan]) == 2.5
    assert mean([None, math.nan]) is None
    assert mean([]) is None


def test_survival_needs_more_than_the_threshold():
    assert survival_rate([0.9, 0.9000001, 1.0, 0.0]) == 0.5
    assert survival_rate([0.5, 0.5], threshold=0.4) == 1.0
    with pytest.raises(ValueError, match="at least one"):
        survival_rate([])


def test_micro_ratio_weighs_prompts_by_their_tokens():
    # 10 user tokens become 5, 100 stay: 5 of 110 saved. The macro ratio would be (0.5 + 0) / 2.
    assert micro_compression_ratio([12, 102], [7, 102], [2, 2]) == pytest.approx(5 / 110)
    # Re-tokenising inflated: 10 became 12.
    assert micro_compression_ratio([10], [12], [0]) == pytest.approx(-0.2)
    # Nothing but template.
    assert micro_compression_ratio([3, 4], [3, 4], [3, 4]) == 0.0
    with pytest.raises(ValueError, match="one shape"):
        micro_compression_ratio([1, 2], [1], [1])


def test_interval_over_prompts_is_the_binomial_one():
    # The sum of a resample of five 0 and five 1 is Binomial(10, 1/2). P(X <= 1) = 0.0107 and
    # P(X <= 2) = 0.0547 enclose 0.025, so the interval is [2, 8] / 10.
    assert bootstrap_interval([[0.0] * 5 + [1.0] * 5], replicates=20_000) == (0.2, 0.8)


def test_interval_over_seeds_is_the_binomial_one():
    # Four seeds, all prompts alike: sums of Binomial(4, 1/2), P(X = 0) = 1/16 > 0.025.
    grid = [[0.0] * 7, [0.0] * 7, [1.0] * 7, [1.0] * 7]
    assert bootstrap_interval(grid) == (0.0, 1.0)
    # At level 0.8 the 0.1 quantile lies between P(X <= 0) = 0.0625 and P(X <= 1) = 0.3125.
    assert bootstrap_interval(grid, level=0.8, replicates=20_000) == (0.25, 0.75)


def test_interval_draws_seeds_and_prompts_apart():
    # grid = a_s * b_p, so a resample's mean is (u.a / 2) * (v.b / 2) with both in {0, 1/2, 1}:
    # P(mean = 0) = 1 - (3/4)^2 = 7/16, P(mean = 1) = 1/16, 1/4 and 1/2 between them.
    grid = [[0.0, 0.0], [0.0, 1.0]]
    assert bootstrap_interval(grid, replicates=20_000) == (0.0, 1.0)
    # The 0.9 quantile: P(mean <= 1/4) = 7/16 + 1/4 = 11/16, P(mean <= 1/2) = 15/16.
    assert bootstrap_interval(grid, level=0.8, replicates=20_000) == (0.0, 0.5)


def test_interval_is_seeded_and_leaves_global_chance_alone():
    grid = np.random.default_rng(1).random((3, 50))
    state = np.random.get_state()[1].copy()
    first, second = bootstrap_interval(grid), bootstrap_interval(grid)
    assert first == second
    assert first != bootstrap_interval(grid, seed=1)
    assert (np.random.get_state()[1] == state).all()
    assert first[0] < grid.mean() < first[1]


def test_interval_does_not_depend_on_how_it_is_chunked(monkeypatch: pytest.MonkeyPatch):
    grid = np.random.default_rng(0).random((3, 20))
    whole = bootstrap_interval(grid, replicates=101)
    monkeypatch.setattr("benchmarks.resampling.CHUNK_CELLS", 70)
    assert bootstrap_interval(grid, replicates=101) == whole


@pytest.mark.parametrize(
    ("grid", "options", "message"),
    [
        ([0.0, 1.0], {}, "shape"),
        ([[]], {}, "shape"),
        ([[0.0, math.nan]], {}, "finite"),
        ([[0.0]], {"level": 1.0}, "level"),
        ([[0.0]], {"replicates": 0}, "replicates"),
    ],
)
def test_bad_input_is_refused(grid, options, message):
    with pytest.raises(ValueError, match=message):
        bootstrap_interval(grid, **options)
