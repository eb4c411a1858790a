"""Which units are dropped: one by one and in groups, by rate."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pcrl_gym.compressor.selection import (
    drop_highest,
    drop_ranks,
    dropped_units,
    group_means,
    single_units,
)

LOGITS = np.array([3.0, -1.0, -1.0, -1.0, 0.5, 2.0, 9.0])
GROUPS = np.array([0, 1, 1, 1, 2, 2, -1])
FREE = GROUPS >= 0


@pytest.mark.parametrize(
    ("rate", "dropped"),
    [
        (None, [1, 2, 3]),
        (0.0, []),
        (0.49, []),  # two of six units: the first group has three
        (0.5, [1, 2, 3]),
        (0.83, [1, 2, 3]),  # four: the second group has two
        (0.84, [1, 2, 3, 4, 5]),
        (1.0, [0, 1, 2, 3, 4, 5]),
    ],
)
def test_groups_are_dropped_as_a_whole(rate: float | None, dropped: list[int]):
    means = group_means(LOGITS, GROUPS)
    assert means.tolist() == [3.0, -1.0, -1.0, -1.0, 1.25, 1.25, 0.0]
    assert np.flatnonzero(dropped_units(means, FREE, rate, GROUPS)).tolist() == dropped


def test_equal_groups_are_dropped_from_the_left():
    assert drop_ranks(np.zeros(4), np.array([0, 1, 1, 2])).tolist() == [0, 1, 1, 2]
    assert drop_ranks(np.zeros(3), np.array([-1, -1, -1])).tolist() == [-1, -1, -1]


@st.composite
def grouped(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """Logits and groups of a text; groups have one to three units, some units are protected."""
    sizes = draw(st.lists(st.integers(1, 3), max_size=8))
    shown = draw(st.lists(st.booleans(), min_size=len(sizes), max_size=len(sizes)))
    numbers = np.where(shown, np.cumsum(shown) - 1, -1) if sizes else np.zeros(0, np.int64)
    groups = np.repeat(numbers, sizes).astype(np.int64)
    values = st.integers(-3, 3).map(float)
    logits = draw(st.lists(values, min_size=len(groups), max_size=len(groups)))
    return np.array(logits, np.float64), groups


@given(grouped(), st.floats(0, 1))
def test_a_rate_is_kept_to_from_below_in_the_order_of_logits(drawn, rate: float):
    logits, groups = drawn
    means, free = group_means(logits, groups), groups >= 0
    dropped = dropped_units(means, free, rate, groups)
    assert not dropped[~free].any()
    states = {g: set(dropped[groups == g].tolist()) for g in set(groups[free].tolist())}
    assert all(len(state) == 1 for state in states.values())
    most = np.floor(rate * free.sum() + 1e-9)
    assert dropped.sum() <= most
    left = [(means[groups == g][0], g) for g, state in states.items() if state == {False}]
    gone = [(means[groups == g][0], g) for g, state in states.items() if state == {True}]
    assert not gone or not left or max(gone) < min(left)
    if left:  # the next one does not fit
        assert dropped.sum() + (groups == min(left)[1]).sum() > most


@given(grouped(), st.floats(0, 1))
def test_groups_of_one_unit_are_units(drawn, rate: float):
    logits, groups = drawn
    free = groups >= 0
    alone = dropped_units(logits, free, rate)
    assert (alone == dropped_units(logits, free, rate, single_units(free))).all()
    assert (alone == drop_highest(-logits[None], free[None], rate)[0]).all()
    assert (group_means(logits, single_units(free))[free] == logits[free]).all()
