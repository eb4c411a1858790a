"""Agent that cuts off the end of the prompt."""

from __future__ import annotations

import numpy as np

from agents.base import Infos, Observations, check_share, drop_highest, keep_masks


class TruncationAgent:
    """Keeps the head of the prompt and drops its last droppable units.

    Args:
        rate: Share of the droppable units to drop, 0 to 1, rounded down to whole units.

    Raises:
        ValueError: If the rate is not in 0 to 1.
    """

    name = "truncation"

    def __init__(self, rate: float = 0.1) -> None:
        self.rate = check_share("rate", rate)

    def act(self, observations: Observations, infos: Infos) -> np.ndarray:
        """Return masks that drop the tail; see `agents.base.Agent.act`."""
        droppable = observations["droppable"]
        position = np.broadcast_to(np.arange(droppable.shape[1], dtype=float), droppable.shape)
        return keep_masks(observations, drop_highest(position, droppable, self.rate))
