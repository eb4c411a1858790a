"""Leave-one-out oracle: drop the units whose removal hurts the original answer least.

Costs are measured one unit at a time, which misses units that only matter together.
Follows "leave-one-out" attribution as in Cohen-Wang et al. 2024, "ContextCite: Attributing Model
Generation to Context" (arXiv 2409.00729), section 2.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from agents.costs import CostAgent, Costs, Groups, count_groups, kept_costs, mask_losses

if TYPE_CHECKING:
    from pcrl_gym.episodes.episode import Episode
    from pcrl_gym.scoring.scorer import Scorer


def losses(scorer: Scorer, episodes: Sequence[Episode], groups: Groups) -> Costs:
    """Measure the likelihood loss of dropping each group alone, one forward pass per group.

    See `RewardInputs` for the loss. Results are cached by `agents.costs.kept_costs`.

    Raises:
        ValueError: If the generator does not provide log-likelihoods.
        GeneratorError: If the generator fails.
    """
    return kept_costs("leave_one_out losses", _measured, scorer, episodes, groups)


def _measured(scorer: Scorer, episodes: Sequence[Episode], groups: Groups) -> Costs:
    return mask_losses(
        scorer, episodes, [[own != n for n in range(count_groups(own))] for own in groups]
    )


class LeaveOneOutAgent(CostAgent):
    """Drops the droppable units whose removal lowers the original answer's probability least.

    The cost of a unit is the log-probability, in nats per token, that the generator's answer to the
    original prompt loses when only this unit is dropped (see `losses`). Costs are measured once,
    whatever the rate.

    Args:
        rate: Exact share of each prompt's droppable units to drop, 0 to 1, rounded down.

    Raises:
        ValueError: If the rate is not in 0 to 1, or, from `act`, if the generator does not provide
            log-likelihoods.
    """

    name = "leave_one_out"

    def costs(self, episodes: Sequence[Episode], groups: Groups) -> Costs:
        """Return the cost of dropping each group; see `losses`."""
        return losses(self.task.scorer, episodes, groups)
