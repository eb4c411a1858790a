"""Exploration that is held up: an entropy coefficient steered so that entropy follows a line."""

from __future__ import annotations

import math

import torch
from torch import Tensor


class EntropySteering:
    """Steers the weight of the entropy bonus so that the joint entropy follows a falling line.

    The target falls linearly from the first entropy to a share of it, and the coefficient is
    multiplied by `exp((target - entropy) / first entropy)` at every update, within 1e-4 and 0.03
    unless it starts outside. In the manner of the temperature of SAC (Haarnoja et al. 2018, arXiv
    1812.05905), with a target that moves. Without a `final_share` the coefficient stays.

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
        """Take notice of the entropy (nats per prompt) when a share of training (0..1) is over."""
        if math.isnan(self.first_entropy) and entropy > 0:
            self.first_entropy = entropy
        # A batch of prompts without a droppable unit has no entropy, and sets no measure.
        if self.final_share is None or math.isnan(self.first_entropy):
            return
        target = self.first_entropy * (1 - (1 - self.final_share) * used)
        step = (target - entropy) / self.first_entropy
        self.coefficient = min(self.highest, max(self.lowest, self.coefficient * math.exp(step)))

    def state(self) -> dict[str, Tensor]:
        """Return what later updates depend on."""
        return {
            "steering.coefficient": torch.tensor(self.coefficient, dtype=torch.float64),
            "steering.first_entropy": torch.tensor(self.first_entropy, dtype=torch.float64),
        }

    def load_state(self, state: dict[str, Tensor]) -> None:
        """Continue from what `state` returned."""
        self.coefficient = state["steering.coefficient"].item()
        self.first_entropy = state["steering.first_entropy"].item()
