from __future__ import annotations

import pandas
import pytest

from benchmarks.cost import Prices, net_saving


def records(**columns: list[float]) -> pandas.DataFrame:
    base = {"seed": [0, 0], "prompt_id": ["a", "b"], "template_tokens": [10, 10]}
    return pandas.DataFrame(base | columns)


def test_the_share_saved_by_hand() -> None:
    own = records(
        original_tokens=[30, 50],
        compressed_tokens=[20, 30],
        output_tokens=[10, 5],
        compressed_output_tokens=[10, 10],
    )
    # Before: 0.5 * 10 + 20 + 4 * 10 = 65 and 5 + 40 + 20 = 65; after: 5 + 10 + 40 and 5 + 20 + 40.
    saved, (low, high) = net_saving(own, Prices()) or (0.0, (0.0, 0.0))
    assert saved == pytest.approx(1 - 120 / 130)
    assert low == pytest.approx(0.0)  # the second prompt twice
    assert high == pytest.approx(1 - 55 / 65)


def test_longer_answers_can_cost_more_than_is_saved() -> None:
    own = records(
        original_tokens=[30, 30],
        compressed_tokens=[20, 20],
        output_tokens=[5, 5],
        compressed_output_tokens=[9, 9],
    )
    saved, _ = net_saving(own, Prices()) or (0.0, None)
    assert saved == pytest.approx(-6 / 45)
    assert (net_saving(own, Prices(output=0.0)) or (0.0,))[0] > 0


def test_nothing_is_said_where_answers_were_not_counted() -> None:
    own = records(
        original_tokens=[3, 3],
        compressed_tokens=[2, 2],
        output_tokens=[None, None],
        compressed_output_tokens=[None, None],
    ).astype({"output_tokens": float, "compressed_output_tokens": float})
    assert net_saving(own, Prices()) is None
