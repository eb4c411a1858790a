"""The bound: exact, monotone, and right as often as it says."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import beta

from pcrl_gym.compressor.risk import p_value, prompts_needed, strongest_safe

shares = st.floats(0.01, 0.99)
counts = st.integers(1, 400).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))


def test_by_hand():
    assert p_value(0, 3, 0.5) == pytest.approx(1 / 8)
    assert p_value(1, 3, 0.5) == pytest.approx(4 / 8)
    assert p_value(1, 2, 0.1) == pytest.approx(1 - 0.1**2)
    assert p_value(3, 3, 0.5) == pytest.approx(1.0)


def test_the_limit_of_clopper_and_pearson():
    """For 3 of 100, the upper limit at 95% is 7.571%."""
    limit = beta.ppf(0.95, 3 + 1, 100 - 3)
    assert limit == pytest.approx(0.07571, abs=1e-5)
    assert p_value(3, 100, limit) == pytest.approx(0.05)


@given(counts, shares)
def test_it_passes_just_where_the_upper_limit_is_at_most_the_risk(count, confidence: float):
    lost, prompts = count
    limit = 1.0 if lost == prompts else beta.ppf(confidence, lost + 1, prompts - lost)
    for risk in (limit * 0.999, limit * 1.001):
        if 0.0 < risk < 1.0:
            passed = strongest_safe([(0.5, lost)], prompts, risk, confidence) is not None
            assert passed == (risk > limit)


@given(counts, shares)
def test_more_lost_is_less_convincing_and_a_larger_risk_more(count, risk: float):
    lost, prompts = count
    here = p_value(lost, prompts, risk)
    assert 0.0 <= here <= 1.0
    assert p_value(max(lost - 1, 0), prompts, risk) <= here + 1e-12
    assert p_value(lost, prompts, (1 + risk) / 2) <= here + 1e-9


def test_many_prompts_are_counted_without_overflow():
    assert p_value(4800, 100_000, 0.05) == pytest.approx(0.0019, abs=2e-4)


@pytest.mark.parametrize(
    ("risk", "confidence", "needed"),
    [(0.05, 0.95, 59), (0.1, 0.95, 29), (0.01, 0.99, 459), (0.5, 0.75, 2), (0.9, 0.5, 1)],
)
def test_prompts_needed(risk: float, confidence: float, needed: int):
    assert prompts_needed(risk, confidence) == needed
    assert strongest_safe([(0.5, 0)], needed, risk, confidence) == (0.5, 0)
    if needed > 1:
        assert strongest_safe([(0.5, 0)], needed - 1, risk, confidence) is None


def test_nothing_is_read_behind_the_first_that_fails():
    read = []

    def losses() -> Iterator[tuple[float, int]]:
        for rate, lost in ((0.1, 0), (0.2, 1), (0.3, 50), (0.4, 0)):
            read.append(rate)
            yield rate, lost

    assert strongest_safe(losses(), 100, 0.1, 0.95) == (0.2, 1)
    assert read == [0.1, 0.2, 0.3]
    assert strongest_safe([(0.1, 50), (0.2, 0)], 100, 0.1, 0.95) is None
    assert strongest_safe([], 100, 0.1, 0.95) is None


@pytest.mark.parametrize(
    "true_losses",
    [
        # The risk is 0.1: just too much, straight away; slowly rising; up and down.
        (0.101, 0.102, 0.103, 0.104),
        (0.01, 0.04, 0.07, 0.095, 0.105, 0.115, 0.13, 0.3),
        (0.02, 0.12, 0.01, 0.5),
    ],
)
@pytest.mark.parametrize("coupled", [True, False])
def test_at_most_one_certificate_in_twenty_is_wrong(true_losses: tuple[float, ...], coupled: bool):
    """Simulated calibrations; coupled: what is lost at one rate is lost at those that lose more."""
    runs, prompts, risk = 4000, 150, 0.1
    rng = np.random.default_rng(7)
    shape = (runs, 1 if coupled else len(true_losses), prompts)
    lost = (rng.random(shape) < np.array(true_losses)[:, None]).sum(axis=2)
    wrong = certified = 0
    for row in lost.tolist():
        safe = strongest_safe(enumerate(row), prompts, risk, 0.95)
        certified += safe is not None
        wrong += safe is not None and true_losses[int(safe[0])] > risk
    margin = 3 * math.sqrt(0.05 * 0.95 / runs)
    assert wrong / runs <= 0.05 + margin
    if true_losses[0] > risk:
        assert wrong > 0  # the bound is not so loose that nothing ever passes
    else:
        assert certified > 0.9 * runs
