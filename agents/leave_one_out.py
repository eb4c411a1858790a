"""Leave one out: drop the units whose removal costs the original answer least: an oracle.

The units' costs are measured one at a time, so it does not know which units only matter together.
After "leave-one-out" attribution as in Cohen-Wang et al. 2024, "ContextCite: Attributing Model
Generation to Context" (arXiv 2409.00729), section 2.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from agents.base import Infos, Observations, check_share, drop_highest, keep_masks
from agents.oracle import OracleAgent
from pcrl_gym.scoring.rewards import LikelihoodReward
from pcrl_gym.scoring.scorer import Scorer

if TYPE_CHECKING:
    from pcrl_gym.envs.task import Task

DEFAULT_RATE = 0.25
MAX_AT_ONCE = 4_096
"""Most masks in one call of the scorer."""


_COSTS: WeakKeyDictionary[Scorer, dict[str, NDArray[np.float64]]] = WeakKeyDictionary()
"""By a task's scorer and prompt id what each droppable unit of the window costs."""


class LeaveOneOutAgent(OracleAgent):
    """Drops the droppable units without which the original answer stays most probable.

    The cost of a unit is how much log-probability, in nats per token, the generator's answer to the
    original prompt loses if this unit alone is dropped: one forward pass per unit. The costs of a
    task's prompts are computed once, whatever the rate.

    Args:
        rate: Share of each prompt's droppable units to drop exactly, 0 to 1, rounded down.

    Raises:
        ValueError: If the rate is not in 0 to 1; from `act`, if the generator gives no
            log-likelihoods.
    """

    name = "leave_one_out"

    def __init__(self, rate: float = DEFAULT_RATE) -> None:
        self.rate = check_share("rate", rate)

    def attach(self, task: Task) -> None:
        """Take the task whose prompts are to be compressed."""
        super().attach(task)
        own = task.scorer
        self._scorer = Scorer(
            own.generator, LikelihoodReward(), own.max_new_tokens, cache=own.cache
        )

    def act(self, observations: Observations, infos: Infos) -> np.ndarray:
        """Return masks without the cheapest units; see `agents.base.Agent.act`.

        Raises:
            RuntimeError: If no task was attached.
            ValueError: If a prompt is none of the task's.
            GeneratorError: If the generator fails.
        """
        droppable = observations["droppable"].astype(np.bool_)
        scores = np.full(droppable.shape, -np.inf)
        for row, free, costs in zip(scores, droppable, self._costs(droppable, infos), strict=True):
            row[free] = -costs
        return keep_masks(observations, drop_highest(scores, droppable, self.rate))

    def _costs(self, droppable: NDArray[np.bool_], infos: Infos) -> list[NDArray[np.float64]]:
        known = _COSTS.setdefault(self.task.scorer, {})
        missing = [
            (episode, np.flatnonzero(free))
            for episode, free in zip(self.episodes(infos), droppable, strict=True)
            if episode.prompt.id not in known
        ]
        pairs = [(episode, unit) for episode, units in missing for unit in units]
        found: list[float] = []
        for start in range(0, len(pairs), MAX_AT_ONCE):
            part = pairs[start : start + MAX_AT_ONCE]
            masks = [np.arange(len(episode)) != unit for episode, unit in part]
            scores = self._scorer([episode for episode, _ in part], masks)
            found += (-scores.log_likelihood).tolist()
        rest = iter(found)
        for episode, units in missing:
            known[episode.prompt.id] = np.array([next(rest) for _ in units], np.float64)
        return [known[str(info["prompt_id"])] for info in infos]
