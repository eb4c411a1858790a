"""Integrated-gradients oracle: drop the units on which the original answer depends least.

Costs are estimated for all units of a prompt at once, in a few forward and backward passes, whereas
`leave_one_out` needs a pass per unit. See `pcrl_gym.generators.attribution`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from agents.costs import CostAgent, Costs, Groups, group_spans, kept_costs
from pcrl_gym.generators.attribution import GATES
from pcrl_gym.generators.hf import HFGenerator

if TYPE_CHECKING:
    from pcrl_gym.episodes.episode import Episode
    from pcrl_gym.scoring.scorer import Scorer


def attributions(scorer: Scorer, episodes: Sequence[Episode], groups: Groups) -> Costs:
    """Estimate how much each group raises the likelihood of the original answer.

    See `HFGenerator.attributions`. Results are cached by `agents.costs.kept_costs`.

    Raises:
        ValueError: If the generator is not a causal transformers model in this process.
        GeneratorError: If the generator fails.
    """
    return kept_costs(f"attributions at {GATES}", _measured, scorer, episodes, groups)


def local_model(scorer: Scorer) -> HFGenerator:
    """Return the generator, or raise `ValueError` if it provides no gradients."""
    generator = scorer.generator
    if not isinstance(generator, HFGenerator) or not generator.gives_attributions:
        raise ValueError(
            "gradients need a causal transformers model in this process whose cache can be "
            f"extended, got {generator.name!r}"
        )
    return generator


def _measured(scorer: Scorer, episodes: Sequence[Episode], groups: Groups) -> Costs:
    generator = local_model(scorer)
    answers = scorer.original_answers(episodes)
    spans = [group_spans(e, own) for e, own in zip(episodes, groups, strict=True)]
    return generator.attributions([e.text for e in episodes], answers, spans)


class IntegratedGradientsAgent(CostAgent):
    """Drops the droppable units that contribute least to the original answer's likelihood.

    Args:
        rate: Exact share of each prompt's droppable units to drop, 0 to 1, rounded down.

    Raises:
        ValueError: If the rate is not in 0 to 1, or, from `act`, if the generator is not a causal
            transformers model in this process.
    """

    name = "integrated_gradients"

    def costs(self, episodes: Sequence[Episode], groups: Groups) -> Costs:
        """Return the cost of dropping each group; see `attributions`."""
        return attributions(self.task.scorer, episodes, groups)
