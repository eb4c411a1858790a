"""What dropping units is expected to cost: by hand, fitted, stored, and as a limit of a call."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import models
from fakes import CountingGenerator
from pcrl_gym import Compressor
from pcrl_gym.compressor.compression import Compression
from pcrl_gym.compressor.expected_loss import LossModel, within_tolerance
from policies import TEXT, compressor

MODEL = LossModel(scale=0.4, slope=0.5)
POLICY = compressor(models.gpt2_tokenizer(), max_units=24, loss_model=MODEL)


def test_costs_by_hand() -> None:
    logits, droppable = np.array([0.0, np.log(4.0), 7.0]), np.array([True, True, False])
    assert MODEL.costs(logits, droppable) == pytest.approx([0.2, 0.4, 0.0])
    assert MODEL.costs(np.zeros(0), np.zeros(0, np.bool_)).shape == (0,)


@pytest.mark.parametrize(("scale", "slope"), [(0.0, 1.0), (np.nan, 1.0), (1.0, -0.1), (np.inf, 0)])
def test_numbers_out_of_range_are_refused(scale: float, slope: float) -> None:
    with pytest.raises(ValueError, match="scale must be above 0 and slope at least 0"):
        LossModel(scale, slope)


def test_a_fit_finds_the_model_that_made_the_losses() -> None:
    rng = np.random.default_rng(0)
    logits = [rng.normal(size=n) for n in (5, 9, 30)]
    droppable = [np.arange(len(own)) > 0 for own in logits]
    made = []
    for rate in (0.1, 0.5):
        dropped = [free & (rng.random(len(free)) < rate) for free in droppable]
        costs = [MODEL.costs(*own) for own in zip(logits, droppable, strict=True)]
        loss = [own[gone].sum() for own, gone in zip(costs, dropped, strict=True)]
        made.append((dropped, np.array(loss)))
    found = LossModel.fit(logits, droppable, made)
    assert (found.scale, found.slope) == pytest.approx((MODEL.scale, MODEL.slope))
    assert LossModel.fit(logits, droppable, [(made[0][0], np.zeros(3))]) is None


@given(
    logits=st.lists(st.floats(-5, 5), max_size=12),
    tolerance=st.floats(0, 2),
    pairs=st.booleans(),
)
def test_as_much_is_dropped_as_the_tolerance_allows(
    logits: list[float], tolerance: float, pairs: bool
) -> None:
    groups = np.arange(len(logits)) // (2 if pairs else 1)
    values = np.array(logits)[[int(np.flatnonzero(groups == g)[0]) for g in groups]]
    costs = MODEL.costs(values, groups >= 0)
    gone = within_tolerance(values, groups, costs, tolerance)
    assert costs[gone].sum() <= tolerance + 1e-9
    if not gone.all():
        cheapest = values[~gone].min()
        group = groups[np.flatnonzero(~gone & (values == cheapest))[0]]
        assert costs[gone | (groups == group)].sum() > tolerance
        assert (values[gone] <= cheapest).all()


def test_calls_drop_more_the_more_they_tolerate() -> None:
    def costs(one: Compression) -> np.ndarray:
        return MODEL.costs(one.keep_logits, np.array(one.droppable))

    spent = np.cumsum(np.sort(costs(POLICY(TEXT))))
    tolerances = [0.0, *spent[[len(spent) // 4, len(spent) // 2, -1]].tolist()]
    done = [POLICY(TEXT, tolerance=tolerance) for tolerance in tolerances]
    rates = [one.drop_rate for one in done]
    assert 0.0 == rates[0] < rates[1] < rates[2] < rates[3] == 1.0


def test_the_model_is_stored_with_the_policy(tmp_path: Path) -> None:
    POLICY.save_pretrained(tmp_path / "policy")
    again = Compressor.from_pretrained(tmp_path / "policy", device="cpu")
    assert again.loss_model == MODEL
    assert again(TEXT, tolerance=0.1) == POLICY(TEXT, tolerance=0.1)
    settings = tmp_path / "policy" / "compressor.json"
    settings.write_text(settings.read_text().replace('"scale": 0.4', '"scale": -1'))
    with pytest.raises(ValueError, match="contains an invalid loss model: scale must be"):
        Compressor.from_pretrained(tmp_path / "policy")


def test_a_calibration_fits_the_model() -> None:
    """The answer repeats the prompt, so that each dropped word costs something."""
    texts = [" ".join(f"w{i}x{k}" for k in range(8)) for i in range(60)]
    policy = compressor(models.gpt2_tokenizer(), max_units=24)
    with pytest.raises(
        ValueError, match="needs a calibrated policy, but this one has no loss model"
    ):
        policy(TEXT, tolerance=0.1)
    calibrated = policy.calibrate(texts, CountingGenerator(str), rates=[0.01])
    assert calibrated.loss_model.scale > 0.0
    assert policy.loss_model is None
    silent = CountingGenerator()
    silent.gives_likelihoods = False
    assert policy.calibrate(texts, silent, rates=[0.01]).loss_model is None


@pytest.mark.parametrize("tolerance", [-0.1, "0.1", float("nan"), float("inf")])
def test_wrong_tolerances_are_refused(tolerance: object) -> None:
    with pytest.raises(ValueError, match="tolerance must be at least 0 or None"):
        POLICY(TEXT, tolerance=tolerance)
