"""Certificates on held-out prompts: figures by hand, and from the records of rates."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bench_fixtures import frame, record
from benchmarks.analyses.analysis import read_analyses, write_analysis
from benchmarks.analyses.certificate import analyse, resplit

RATES = [0.2, 0.4, 0.6]


def grids(lost_shares: list[float], prompts: int = 400):
    """Losses of the first prompts of all, and savings that are the rates."""
    places = np.arange(prompts)
    lost = np.array([places < share * prompts for share in lost_shares])
    return lost, np.repeat(np.array(RATES)[:, None], prompts, axis=1)


def test_where_nothing_is_lost_the_whole_saving_is_kept():
    done = resplit(RATES, *grids([0.0, 0.0, 0.0]), risk=0.1)
    assert done == (0.0, pytest.approx(0.6), 0.6, pytest.approx(0.6))
    assert done.kept == pytest.approx(1.0)


def test_a_rate_far_above_the_risk_is_never_certified():
    done = resplit(RATES, *grids([0.0, 0.01, 0.5]), risk=0.1)
    assert done == (0.0, pytest.approx(0.4), 0.4, pytest.approx(0.4))


def test_where_no_rate_passes_there_is_nothing_to_keep():
    done = resplit(RATES, *grids([0.5, 0.6, 0.7]), risk=0.1)
    assert done == (0.0, 0.0, 0.0, 0.0)
    assert done.kept is None


def test_a_rate_at_the_edge_is_certified_now_and_then_and_then_exceeds_the_risk():
    """What one half loses less, the other loses more."""
    done = resplit([0.2], *(grid[:1] for grid in grids([0.1, 0, 0])), risk=0.1, splits=500)
    assert 0.0 < done.exceeded < 0.1
    assert done.saving == pytest.approx(0.2 * done.exceeded)
    assert (done.oracle_rate, done.kept) == (0.2, pytest.approx(done.exceeded))


def test_the_seed_decides():
    losses = np.random.default_rng(0).random((3, 200)) < np.array([[0.02], [0.06], [0.09]])
    savings = np.random.default_rng(1).random((3, 200))
    first, again, other = (
        resplit(RATES, losses, savings, risk=0.1, seed=seed, splits=20) for seed in (0, 0, 1)
    )
    assert first == again != other


@pytest.mark.parametrize("share", [0.1, 1.0])
def test_too_few_prompts_on_either_side_are_refused(share: float):
    with pytest.raises(ValueError, match="takes at least 29, and others"):
        resplit(RATES, *grids([0.0] * 3, 200), risk=0.1, share=share)


@pytest.mark.parametrize("likelihoods", [True, False])
def test_from_the_records_of_rates(likelihoods: bool, tmp_path: Path):
    """The lower rate loses nothing (the tolerance itself is accepted), the higher one all."""
    records = [
        record(
            agent=f"x-rate{rate:g}",
            requested_rate=rate,
            prompt_id=str(i),
            seed=seed,
            compression_ratio=ratio,
            likelihood_loss=loss if likelihoods else None,
            similarity=0.0 if likelihoods or loss > 0.1 else 0.91,
        )
        for rate, loss, ratio in ((0.6, 0.11, 0.5), (0.2, 0.1, 0.25))
        for seed in (1, 2)
        for i in range(70)
    ]
    analysis = analyse(frame([*records, record(agent="keep_all")]), risk=0.1)
    [(heading, table)] = analysis.tables.items()
    assert heading == "risk 0.1"
    [row] = (dict(zip(table.columns, row, strict=True)) for row in table.rows)
    assert row == {
        "split": "seen", "agent": "x", "prompts": 70, "exceeded": 0.0, "saving": 0.25,
        "oracle_rate": 0.2, "oracle_saving": 0.25, "kept": 1.0,
    }  # fmt: skip
    write_analysis(tmp_path, analysis)
    assert read_analyses(tmp_path) == [analysis]
