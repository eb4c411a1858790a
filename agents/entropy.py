"""Adaptive entropy coefficient, steered so that the entropy follows a linear schedule."""

from __future__ import annotations

import math

import torch
from torch import Tensor


class EntropySteering:
    """Steers the weight of the entropy bonus so that the joint entropy decreases linearly.

    The target falls linearly from the first entropy to `final_share` of it. Each update multiplies
    the coefficient by `exp((target - entropy) / first entropy)`, within 1e-4 and 0.03 unless it
    starts outside. This resembles the temperature of SAC (Haarnoja et al. 2018, arXiv 1812.05905),
    with a moving target. Without a `final_share`, the coefficient is constant.

    Example:
        >>> steering = EntropySteering(0.01, final_share=0.5)
        >>> steering.update(entropy=8.0, used=0.0)
        >>> round(steering.coefficient, 4)
        0.01
        >>> steering.update(entropy=2.0, used=1.0)  # 2 nats below the target
        >>> round(steering.coefficient, 4)
        0.0128
    """

    def __init__(self, coefficient: float, final_share: float | None) -> None:
        self.coefficient = coefficient
        self.final_share = final_share
        self.lowest = min(1e-4, coefficient)
        self.highest = max(0.03, coefficient)
        self.first_entropy = math.nan

    def update(self, entropy: float, used: float) -> None:
        """Adapt to the entropy (nats per prompt) after the share `used` of training (0..1)."""
        if math.isnan(self.first_entropy) and entropy > 0:
            self.first_entropy = entropy
        # A batch of prompts without droppable units has no entropy, so it cannot be the reference.
        if self.final_share is None or math.isnan(self.first_entropy):
            return
        target = self.first_entropy * (1 - (1 - self.final_share) * used)
        step = (target - entropy) / self.first_entropy
        self.coefficient = min(self.highest, max(self.lowest, self.coefficient * math.exp(step)))

    def state(self) -> dict[str, Tensor]:
        """Return the state that later updates depend on."""
        return {
            "steering.coefficient": torch.tensor(self.coefficient, dtype=torch.float64),
            "steering.first_entropy": torch.tensor(self.first_entropy, dtype=torch.float64),
        }

    def load_state(self, state: dict[str, Tensor]) -> None:
        """Restore the state returned by `state`."""
        self.coefficient = state["steering.coefficient"].item()
        self.first_entropy = state["steering.first_entropy"].item()
