"""Selective Context: drop what a causal language model expects anyway.

After Li et al. 2023, "Compressing Context to Enhance Inference Efficiency of Large Language Models"
(arXiv 2310.06201), which ranks units by self-information and keeps the most informative ones.
"""

from __future__ import annotations

import numpy as np

from agents.base import Infos, Observations, check_share, drop_highest, keep_masks
from agents.surprisal import Surprisal

DEFAULT_RATE = 0.5
"""The rate that earned most on prompts of micro's train split."""


class SelfInformationAgent:
    """Drops the droppable units of lowest self-information `-log p(unit | prompt before it)`.

    Args:
        rate: Share of each prompt's droppable units to drop exactly, 0 to 1, rounded down.
        model: Causal language model, see `agents.surprisal.Surprisal`. It is loaded when the
            agent first acts.
        device: "auto" (a GPU if there is one), or a torch device.

    Raises:
        ValueError: If the rate is not in 0 to 1; from `act`, if the model cannot be loaded.
    """

    name = "self_information"

    def __init__(
        self, rate: float = DEFAULT_RATE, model: str = "micro", device: str = "auto"
    ) -> None:
        self.rate = check_share("rate", rate)
        self.model = model
        self.device = device
        self._surprisal: Surprisal | None = None

    def act(self, observations: Observations, infos: Infos) -> np.ndarray:
        """Return masks without the most predictable units; see `agents.base.Agent.act`."""
        self._surprisal = self._surprisal or Surprisal(self.model, self.device)
        width = observations["droppable"].shape[1]
        spans = [np.asarray(info["spans"])[:width] for info in infos]
        nats = self._surprisal([info["prompt"] for info in infos], spans)
        scores = np.full(observations["droppable"].shape, -np.inf)
        for row, values in enumerate(nats):
            scores[row, : len(values)] = -values
        return keep_masks(observations, drop_highest(scores, observations["droppable"], self.rate))
