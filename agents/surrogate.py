"""Linear-surrogate oracle: fit the loss of random masks as a sum of costs of the dropped units.

In contrast to `leave_one_out`, every measurement drops many units at once, so that the number of
forward passes does not depend on the length of the prompt. Follows Cohen-Wang et al. 2024,
"ContextCite: Attributing Model Generation to Context" (arXiv 2409.00729), section 3, with ridge
regression instead of the lasso, as only the ranking of the units counts here, and with fewer units
dropped at once.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from agents.costs import (
    DEFAULT_RATE,
    CostAgent,
    Costs,
    Groups,
    count_groups,
    kept_costs,
    mask_losses,
)
from pcrl_gym.generators.base import check_integer

if TYPE_CHECKING:
    from pcrl_gym.episodes.episode import Episode
    from pcrl_gym.scoring.scorer import Scorer

DEFAULT_SAMPLES = 64

DROP_RATE = 0.25
"""Probability that a mask drops a unit. On 16 prompts of `instruct`, dropping the cheapest quarter
of the units loses 0.01 nats per token with this value, and 0.15 with ContextCite's 0.5."""

RIDGE = 3.0
"""Weight of the penalty on squared costs; on the same prompts, 10 loses 0.05 nats, and 0.3 or 1 as
little as this value."""


def ridge_costs(dropped: NDArray[np.bool_], losses: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the costs whose sums over the dropped groups, plus a constant, fit the losses best.

    Formula: `argmin_w |y - X w|^2 + RIDGE |w|^2`, with the columns of X and y centered.

    Args:
        dropped: Which groups each mask drops, (samples, groups).
        losses: Loss of each mask in nats per token, (samples,).

    Returns:
        Cost of each group in nats per token, (groups,).

    Example:
        >>> masks = np.array([[1, 0], [0, 1], [1, 1], [0, 0]] * 999, dtype=bool)
        >>> ridge_costs(masks, masks @ [0.5, 0.1]).round(2)
        array([0.5, 0.1])
    """
    x = dropped - dropped.mean(0)
    y = losses - losses.mean()
    return np.asarray(np.linalg.solve(x.T @ x + RIDGE * np.eye(x.shape[1]), x.T @ y), np.float64)


def _measured(
    samples: int, seed: int, scorer: Scorer, episodes: Sequence[Episode], groups: Groups
) -> Costs:
    dropped = []
    for episode, own in zip(episodes, groups, strict=True):
        rng = np.random.default_rng([seed, zlib.crc32(episode.text.encode())])
        dropped.append(rng.random((samples, count_groups(own))) < DROP_RATE)
    masks = [
        [~np.append(drop, False)[own] for drop in drops]  # a group of -1 is kept
        for drops, own in zip(dropped, groups, strict=True)
    ]
    losses = mask_losses(scorer, episodes, masks)
    return [ridge_costs(drops, own) for drops, own in zip(dropped, losses, strict=True)]


class SurrogateAgent(CostAgent):
    """Drops the droppable units that are cheapest according to a linear model of random masks.

    Args:
        rate: Exact share of each prompt's droppable units to drop, 0 to 1, rounded down.
        samples: Random masks per prompt, each of which takes a forward pass; at least 2. With fewer
            than 16, no mask may drop some unit, which then counts as free.
        seed: Seed of the masks, not negative.

    Raises:
        ValueError: If a number is out of range, or, from `act`, if the generator does not provide
            log-likelihoods.
    """

    name = "surrogate"

    def __init__(
        self, rate: float = DEFAULT_RATE, samples: int = DEFAULT_SAMPLES, seed: int = 0
    ) -> None:
        super().__init__(rate)
        check_integer("samples", samples, 2)
        check_integer("seed", seed, 0)
        self.samples = samples
        self.seed = seed

    def costs(self, episodes: Sequence[Episode], groups: Groups) -> Costs:
        """Return the cost of dropping each group; see `ridge_costs`."""
        what = f"surrogate {DROP_RATE, RIDGE} of {self.samples} masks, seed {self.seed}"
        measure = partial(_measured, self.samples, self.seed)
        return kept_costs(what, measure, self.task.scorer, episodes, groups)
