"""Agent that drops units at random."""

from __future__ import annotations

import zlib

import numpy as np

from agents.base import Infos, Observations, check_share, drop_highest, keep_masks

DEFAULT_DROP_PROBABILITY = 0.1


class RandomAgent:
    """Drops droppable units at random: each with a fixed probability, or a fixed share.

    The draw for a prompt depends only on the seed, the prompt's ID, and how many of its units are
    still droppable, so it is independent of the order of prompts, batching, and resumed runs.

    Args:
        drop_probability: Probability, 0 to 1, that a droppable unit is dropped (default 0.1).
        rate: Exact share of each prompt's droppable units to drop, 0 to 1, rounded down.
        seed: Seed of the draws, not negative.

    Raises:
        ValueError: If both are given, or one is not in 0 to 1.
    """

    name = "random"

    def __init__(
        self, drop_probability: float | None = None, rate: float | None = None, seed: int = 0
    ) -> None:
        if drop_probability is not None and rate is not None:
            raise ValueError("set drop_probability or rate, not both")
        if drop_probability is None:
            drop_probability = DEFAULT_DROP_PROBABILITY
        self.rate = None if rate is None else check_share("rate", rate)
        self.drop_probability = check_share("drop_probability", drop_probability)
        self.seed = seed

    def act(self, observations: Observations, infos: Infos) -> np.ndarray:
        """Return random masks; see `agents.base.Agent.act`."""
        droppable = observations["droppable"]
        draws = np.empty(droppable.shape)
        for row, info in enumerate(infos):
            key = zlib.crc32(str(info["prompt_id"]).encode())
            rng = np.random.default_rng([self.seed, key, int(droppable[row].sum())])
            draws[row] = rng.random(droppable.shape[1])
        if self.rate is not None:
            return keep_masks(observations, drop_highest(draws, droppable, self.rate))
        return keep_masks(observations, draws < self.drop_probability)
