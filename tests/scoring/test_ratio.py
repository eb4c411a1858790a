"""Compression ratio and drop rate, on values worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from pcrl_gym.scoring.ratio import compression_ratio, drop_rate


@pytest.mark.parametrize(
    ("original", "compressed", "template", "expected"),
    [
        (12, 8, 2, 0.4),
        (12, 12, 2, 0.0),
        (12, 2, 2, 1.0),
        (4, 5, 2, -0.5),  # re-tokenising made the prompt longer
        (2, 1, 2, 0.0),  # the user wrote nothing
        (1, 1, 2, 0.0),
    ],
)
def test_the_ratio_is_the_share_of_the_users_tokens_that_was_saved(
    original: int, compressed: int, template: int, expected: float
) -> None:
    ratio = compression_ratio(original, compressed, template)
    assert type(ratio) is float
    assert ratio == expected
    counts = [np.array([value] * 3) for value in (original, compressed, template)]
    batch = compression_ratio(*counts)
    assert batch.dtype == np.float64
    assert batch.tolist() == [expected] * 3


def test_an_empty_batch_has_no_ratios() -> None:
    assert compression_ratio(*(np.empty(0, np.int64) for _ in range(3))).shape == (0,)


def test_the_drop_rate_is_of_droppable_units_alone() -> None:
    assert drop_rate([False, True, True, True, True], [True, True, False, True, True]) == 0.25
    assert drop_rate(np.array([True, True]), np.array([False, False])) == 1.0
    assert drop_rate([False, False], [True, True]) == 0.0
    assert drop_rate([], []) == 0.0
