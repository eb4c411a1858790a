"""Leave one out: drop the units whose removal costs the original answer least: an oracle.

The units' costs are measured one at a time, so it does not know which units only matter together.
After "leave-one-out" attribution as in Cohen-Wang et al. 2024, "ContextCite: Attributing Model
Generation to Context" (arXiv 2409.00729), section 2.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from agents.base import Infos, Observations, check_share, drop_highest, keep_masks
from agents.oracle import OracleAgent
from pcrl_gym.compressor.selection import single_units
from pcrl_gym.prompts.prompt_text import cache_key
from pcrl_gym.scoring.rewards import FaithfulReward
from pcrl_gym.scoring.scorer import Scorer

if TYPE_CHECKING:
    from pcrl_gym.episodes.episode import Episode

DEFAULT_RATE = 0.25
MAX_AT_ONCE = 512
"""Most masks in one call of the scorer, but for a longer prompt; what an interruption costs."""

Costs = NDArray[np.float64]
_COSTS: WeakKeyDictionary[Scorer, dict[str, Costs]] = WeakKeyDictionary()
"""By a task's scorer and key, see `_keys`, what each group of units costs."""


def group_costs(
    scorer: Scorer, episodes: Sequence[Episode], groups: Sequence[NDArray[np.int64]]
) -> list[Costs]:
    """Measure what each group of units costs if it alone is dropped, one forward pass per group.

    The costs of a scorer's prompts are measured once: they are kept for its life and, if it has a
    cache, on disk, where an interrupted measurement resumes.

    Args:
        scorer: Its generator is asked; its reward does not matter.
        episodes: The prompts.
        groups: Per episode the number of each unit's group, int64 (n_units,) or shorter, counted
            from 0 in the order of the text; negative where a unit is left alone. See
            `pcrl_gym.episodes.groups.word_groups`.

    Returns:
        Per episode float64 (groups,): the likelihood loss of the answer to the original prompt, in
        nats per token, see `RewardInputs`.

    Raises:
        ValueError: If the generator gives no log-likelihoods.
        GeneratorError: If the generator fails.
    """
    known = _COSTS.setdefault(scorer, {})
    scope = json.dumps(
        ["leave_one_out losses", scorer.generator.fingerprint, scorer.max_new_tokens]
    )
    keys = [_key(e, own) for e, own in zip(episodes, groups, strict=True)]
    if scorer.cache is not None:
        stored = scorer.cache.get(scope, [key for key in keys if key not in known])
        known |= {key: np.array(costs, np.float64) for key, costs in stored.items()}
    asked = Scorer(scorer.generator, FaithfulReward(), scorer.max_new_tokens, cache=scorer.cache)
    masks = {
        key: (episode, [own != group for group in range(own.max(initial=-1) + 1)])
        for key, episode, own in zip(keys, episodes, groups, strict=True)
        if key not in known
    }
    for part in _parts({key: len(own) for key, (_, own) in masks.items()}):
        repeated = [masks[key][0] for key in part for _ in masks[key][1]]
        scores = asked(repeated, [mask for key in part for mask in masks[key][1]])
        ends = np.cumsum([len(masks[key][1]) for key in part])
        new = dict(zip(part, np.split(scores.likelihood_loss, ends[:-1]), strict=True))
        known |= new
        if scorer.cache is not None:
            scorer.cache.put(scope, {key: costs.tolist() for key, costs in new.items()})
    return [known[key] for key in keys]


def _key(episode: Episode, groups: NDArray[np.int64]) -> str:
    """Return what names a prompt with its groups: the text and the ends of each group."""
    ends: dict[int, tuple[int, int]] = {}
    for group, (start, end) in zip(groups.tolist(), episode.spans, strict=False):
        if group >= 0:
            ends[group] = ends.get(group, (start, end))[0], end
    return json.dumps([cache_key(episode.text), list(ends.values())])


def _parts(sizes: dict[str, int]) -> Iterator[list[str]]:
    """Yield the keys of prompts that together have as many masks as are asked for at once."""
    part: list[str] = []
    count = 0
    for key, size in sizes.items():
        if part and count + size > MAX_AT_ONCE:
            yield part
            part, count = [], 0
        part.append(key)
        count += size
    if part:
        yield part


class LeaveOneOutAgent(OracleAgent):
    """Drops the droppable units without which the original answer stays most probable.

    The cost of a unit is how much log-probability, in nats per token, the generator's answer to the
    original prompt loses if this unit alone is dropped, see `group_costs`. They are measured once,
    whatever the rate.

    Args:
        rate: Share of each prompt's droppable units to drop exactly, 0 to 1, rounded down.

    Raises:
        ValueError: If the rate is not in 0 to 1; from `act`, if the generator gives no
            log-likelihoods.
    """

    name = "leave_one_out"

    def __init__(self, rate: float = DEFAULT_RATE) -> None:
        self.rate = check_share("rate", rate)

    def act(self, observations: Observations, infos: Infos) -> np.ndarray:
        """Return masks without the cheapest units; see `agents.base.Agent.act`.

        Raises:
            RuntimeError: If no task was attached.
            ValueError: If a prompt is none of the task's.
            GeneratorError: If the generator fails.
        """
        droppable = observations["droppable"].astype(np.bool_)
        alone = [single_units(free) for free in droppable]
        costs = group_costs(self.task.scorer, self.episodes(infos), alone)
        scores = np.full(droppable.shape, -np.inf)
        for row, free, own in zip(scores, droppable, costs, strict=True):
            row[free] = -own
        return keep_masks(observations, drop_highest(scores, droppable, self.rate))
