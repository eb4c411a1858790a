"""The vectorised distribution equals sb3-contrib's, and units without a choice add nothing."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sb3_contrib.common.maskable.distributions import MaskableBernoulliDistribution

from pcrl_gym.sb3.distribution import MaskedBernoulli

BATCH, UNITS = 16, 9


@pytest.fixture
def case() -> tuple[torch.Tensor, np.ndarray]:
    """Logits and masks: units that are free, forced to keep, or forced to drop (padding)."""
    rng = np.random.default_rng(0)
    logits = torch.tensor(rng.normal(scale=3, size=(BATCH, UNITS)), dtype=torch.float32)
    drop_allowed = rng.random((BATCH, UNITS)) < 0.7
    keep_allowed = ~drop_allowed | (rng.random((BATCH, UNITS)) < 0.7)
    return logits, np.stack([drop_allowed, keep_allowed], axis=-1).reshape(BATCH, -1)


def both(logits: torch.Tensor, masks: np.ndarray | None):
    ours = MaskedBernoulli().proba_distribution(logits)
    pairs = torch.stack([torch.zeros_like(logits), logits], dim=-1).flatten(1)
    stock = MaskableBernoulliDistribution(logits.shape[1]).proba_distribution(pairs)
    for distribution in (ours, stock):
        distribution.apply_masking(masks)
    return ours, stock


@pytest.mark.parametrize("masked", [True, False])
def test_parity_with_sb3_contrib(case, masked: bool) -> None:
    logits, masks = case
    ours, stock = both(logits, masks if masked else None)
    torch.testing.assert_close(ours.entropy(), stock.entropy(), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(ours.mode(), stock.mode().float())
    for _ in range(20):
        actions = stock.sample()
        torch.testing.assert_close(
            ours.log_prob(actions.float()), stock.log_prob(actions), rtol=1e-5, atol=1e-5
        )


def test_gradients_equal_those_of_sb3_contrib(case) -> None:
    logits, masks = case
    actions = both(logits, masks)[1].sample().float()
    gradients = []
    for which in (0, 1):
        leaf = logits.clone().requires_grad_()
        distribution = both(leaf, masks)[which]
        (distribution.log_prob(actions).sum() + distribution.entropy().sum()).backward()
        gradients.append(leaf.grad)
    torch.testing.assert_close(*gradients, rtol=1e-4, atol=1e-5)


def test_samples_follow_the_probabilities_and_obey_the_mask(case) -> None:
    logits, masks = case
    ours, _ = both(logits, masks)
    draws = torch.stack([ours.sample() for _ in range(4000)])
    drop_allowed, keep_allowed = masks.reshape(BATCH, UNITS, 2).transpose(2, 0, 1)
    expected = np.where(keep_allowed, np.where(drop_allowed, torch.sigmoid(logits), 1.0), 0.0)
    np.testing.assert_allclose(draws.mean(0), expected, atol=0.04)
    assert draws[:, ~keep_allowed].max() == 0
    assert draws[:, ~drop_allowed].min() == 1


def test_units_without_a_choice_add_exactly_nothing(case) -> None:
    logits, masks = case
    choice = masks.reshape(BATCH, UNITS, 2).all(-1)
    ours, _ = both(logits, masks)
    actions = ours.sample()
    moved, _ = both(torch.where(torch.tensor(choice), logits, logits + 7), masks)
    assert torch.equal(ours.log_prob(actions), moved.log_prob(actions))
    assert torch.equal(ours.entropy(), moved.entropy())
    nothing = MaskedBernoulli().proba_distribution(logits)
    nothing.apply_masking(np.tile([True, False], (BATCH, UNITS)))
    assert torch.equal(nothing.entropy(), torch.zeros(BATCH))
    assert torch.equal(nothing.log_prob(nothing.sample()), torch.zeros(BATCH))


def test_masks_can_be_lifted_again(case) -> None:
    logits, masks = case
    ours, _ = both(logits, masks)
    ours.apply_masking(None)
    assert torch.equal(ours.logits, logits)


def test_a_unit_that_allows_nothing_is_an_error(case) -> None:
    logits, masks = case
    masks[3, 4:6] = False
    with pytest.raises(ValueError, match="neither 0 nor 1"):
        both(logits, masks)
