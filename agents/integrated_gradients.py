"""Integrated gradients: drop the units that the original answer rests on least: an oracle.

Costs are estimated for all units of a prompt at once, in a few forward and backward passes, where
`leave_one_out` takes a pass per unit. See `pcrl_gym.generators.attribution`.
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
    """Estimate how much likelier each group makes the original answer.

    See `HFGenerator.attributions`, and `agents.costs.kept_costs`, which keeps what was measured.

    Raises:
        ValueError: If the generator is no causal model of the transformers library in this process.
        GeneratorError: If the generator fails.
    """
    return kept_costs(f"attributions at {GATES}", _measured, scorer, episodes, groups)


def local_model(scorer: Scorer) -> HFGenerator:
    """Return the generator, or raise `ValueError` if it gives no gradients."""
    generator = scorer.generator
    if not isinstance(generator, HFGenerator) or not generator.gives_attributions:
        raise ValueError(
            "gradients need a causal model of the transformers library in this process whose cache "
            f"can be continued, got {generator.name!r}"
        )
    return generator


def _measured(scorer: Scorer, episodes: Sequence[Episode], groups: Groups) -> Costs:
    generator = local_model(scorer)
    answers = scorer.original_answers(episodes)
    spans = [group_spans(e, own) for e, own in zip(episodes, groups, strict=True)]
    return generator.attributions([e.text for e in episodes], answers, spans)


class IntegratedGradientsAgent(CostAgent):
    """Drops the droppable units to which the original answer owes the least of its likelihood.

    Args:
        rate: Share of each prompt's droppable units to drop exactly, 0 to 1, rounded down.

    Raises:
        ValueError: If the rate is not in 0 to 1; from `act`, if the generator is no causal model of
            the transformers library in this process.
    """

    name = "integrated_gradients"

    def costs(self, episodes: Sequence[Episode], groups: Groups) -> Costs:
        """Return what dropping each group costs; see `attributions`."""
        return attributions(self.task.scorer, episodes, groups)
