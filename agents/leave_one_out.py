"""Leave one out: drop the units whose removal costs the original answer least: an oracle.

The units' costs are measured one at a time, so it does not know which units only matter together.
After "leave-one-out" attribution as in Cohen-Wang et al. 2024, "ContextCite: Attributing Model
Generation to Context" (arXiv 2409.00729), section 2.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from agents.costs import CostAgent, Costs, Groups, count_groups, kept_costs
from pcrl_gym.scoring.rewards import FaithfulReward
from pcrl_gym.scoring.scorer import Scorer

if TYPE_CHECKING:
    from pcrl_gym.episodes.episode import Episode


def losses(scorer: Scorer, episodes: Sequence[Episode], groups: Groups) -> Costs:
    """Measure the likelihood loss of dropping each group alone, one forward pass per group.

    See `RewardInputs` for the loss, and `agents.costs.kept_costs`, which keeps what was measured.

    Raises:
        ValueError: If the generator gives no log-likelihoods.
        GeneratorError: If the generator fails.
    """
    return kept_costs("leave_one_out losses", _measured, scorer, episodes, groups)


def _measured(scorer: Scorer, episodes: Sequence[Episode], groups: Groups) -> Costs:
    asked = Scorer(scorer.generator, FaithfulReward(), scorer.max_new_tokens, cache=scorer.cache)
    counts = [count_groups(own) for own in groups]
    repeated = [e for e, count in zip(episodes, counts, strict=True) for _ in range(count)]
    masks = [own != n for own, count in zip(groups, counts, strict=True) for n in range(count)]
    return np.split(asked(repeated, masks).likelihood_loss, np.cumsum(counts)[:-1])


class LeaveOneOutAgent(CostAgent):
    """Drops the droppable units without which the original answer stays most probable.

    The cost of a unit is how much log-probability, in nats per token, the generator's answer to the
    original prompt loses if this unit alone is dropped, see `losses`. They are measured once,
    whatever the rate.

    Args:
        rate: Share of each prompt's droppable units to drop exactly, 0 to 1, rounded down.

    Raises:
        ValueError: If the rate is not in 0 to 1; from `act`, if the generator gives no
            log-likelihoods.
    """

    name = "leave_one_out"

    def costs(self, episodes: Sequence[Episode], groups: Groups) -> Costs:
        """Return what dropping each group costs; see `losses`."""
        return losses(self.task.scorer, episodes, groups)
