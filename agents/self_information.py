"""Selective Context: drop units that a causal language model can predict.

Follows Li et al. 2023, "Compressing Context to Enhance Inference Efficiency of Large Language
Models" (arXiv 2310.06201), which ranks units by self-information and keeps the most informative
ones.
"""

from __future__ import annotations

import numpy as np

from agents.base import Infos, Observations, check_share, drop_highest, keep_masks
from agents.surprisal import SurprisalRanker

DEFAULT_RATE = 0.5
"""The rate with the highest reward on prompts of micro's train split."""


class SelfInformationAgent(SurprisalRanker):
    """Drops the units of lowest self-information, `-log p(unit | prompt before it)`.

    Args:
        rate: Exact share of each prompt's droppable units to drop, 0 to 1, rounded down.
        model: Causal language model; None uses the run's generator, see `SurprisalRanker`.
        device: See `SurprisalRanker`.

    Raises:
        ValueError: If the rate is not in 0 to 1, or, from `act`, if the model cannot be loaded.
    """

    name = "self_information"

    def __init__(
        self, rate: float = DEFAULT_RATE, model: str | None = None, device: str = "auto"
    ) -> None:
        super().__init__(model, device)
        self.rate = check_share("rate", rate)

    def act(self, observations: Observations, infos: Infos) -> np.ndarray:
        """Return masks that drop the most predictable units; see `agents.base.Agent.act`."""
        width = observations["droppable"].shape[1]
        spans = [np.asarray(info["spans"])[:width] for info in infos]
        nats = self.surprisal([info["prompt"] for info in infos], spans)
        scores = np.full(observations["droppable"].shape, -np.inf)
        for row, values in enumerate(nats):
            scores[row, : len(values)] = -values
        return keep_masks(observations, drop_highest(scores, observations["droppable"], self.rate))
