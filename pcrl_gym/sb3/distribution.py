"""The distribution of keep masks: independent coins, one per unit that may be dropped."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from sb3_contrib.common.maskable.distributions import MaskableDistribution
from torch import Tensor, nn
from torch.nn import functional

# Log-odds of a unit without a choice, as large as those that sb3-contrib gives to masked actions.
CERTAIN = 1e8


class MaskedBernoulli(MaskableDistribution):
    """Independent coins with action masks: sb3-contrib's `MultiBinary` distribution, vectorised.

    Same log-probabilities, entropies and modes as `MaskableBernoulliDistribution` given the logits
    [0, l] per unit, in a few tensor operations instead of one Python object per unit. A unit with
    one allowed value takes it for certain and adds exactly 0 to log-probability and entropy.
    """

    logits: Tensor

    def proba_distribution_net(self, *args: Any, **kwargs: Any) -> nn.Module:
        """Return the identity: the keep logits come from the network as they are."""
        return nn.Identity()

    def proba_distribution(self, action_logits: Tensor) -> MaskedBernoulli:
        """Set the log-odds of keeping, float (batch, n_units)."""
        self._unmasked = self.logits = action_logits
        return self

    def apply_masking(self, masks: Tensor | np.ndarray | None) -> None:
        """Restrict the values by bool (batch, 2 * n_units): for each unit whether 0, whether 1.

        With None all of them are allowed again.
        """
        if masks is None:
            self.logits = self._unmasked
            return
        allowed = torch.as_tensor(masks, device=self._unmasked.device).bool()
        drop, keep = allowed.reshape(*self._unmasked.shape, 2).unbind(-1)
        if not bool((drop | keep).all()):
            raise ValueError(
                "action mask allows neither 0 nor 1 for some unit; allow at least one of them"
            )
        self.logits = self._unmasked.masked_fill(~drop, CERTAIN).masked_fill(~keep, -CERTAIN)

    def log_prob(self, actions: Tensor) -> Tensor:
        """Return the joint log-probability of masks (batch, n_units) in nats, float (batch,)."""
        sign = 2 * actions.reshape(self.logits.shape).to(self.logits.dtype) - 1
        return functional.logsigmoid(sign * self.logits).sum(1)

    def entropy(self) -> Tensor:
        """Return the joint entropy in nats, float (batch,)."""
        certain = self.logits.abs() >= CERTAIN
        logits = self.logits.masked_fill(certain, 0.0)
        per_unit = functional.softplus(logits) - logits * torch.sigmoid(logits)
        return per_unit.masked_fill(certain, 0.0).sum(1)

    def sample(self) -> Tensor:
        """Return drawn keep masks, float (batch, n_units) of zeros and ones."""
        return torch.bernoulli(torch.sigmoid(self.logits))

    def mode(self) -> Tensor:
        """Return the likeliest masks, float (batch, n_units); an even coin drops, as in sb3."""
        return (self.logits > 0).to(self.logits.dtype)

    def actions_from_params(self, action_logits: Tensor, deterministic: bool = False) -> Tensor:
        """Return keep masks for the given log-odds, drawn or the likeliest ones."""
        return self.proba_distribution(action_logits).get_actions(deterministic=deterministic)

    def log_prob_from_params(self, action_logits: Tensor) -> tuple[Tensor, Tensor]:
        """Return drawn keep masks for the given log-odds and their joint log-probabilities."""
        actions = self.actions_from_params(action_logits)
        return actions, self.log_prob(actions)
