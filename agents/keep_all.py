"""Agent that compresses nothing."""

from __future__ import annotations

import numpy as np

from agents.base import Infos, Observations, keep_masks


class KeepAllAgent:
    """Keeps every unit: the baseline of every table."""

    name = "keep_all"

    def act(self, observations: Observations, infos: Infos) -> np.ndarray:
        """Return masks that keep every unit; see `agents.base.Agent.act`."""
        return keep_masks(observations, np.zeros(observations["droppable"].shape, dtype=bool))
