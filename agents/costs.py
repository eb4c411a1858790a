"""Costs of dropping units or groups of units, measured once with the generator and cached."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
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
"""Maximum groups per measurement, unless one prompt has more; an interruption loses one part."""

Groups = Sequence[NDArray[np.int64]]
"""Group index of each unit, per episode: (n_units,) or shorter, counted from 0 in text order;
negative for units that are left alone. See `pcrl_gym.episodes.groups.word_groups`."""
Costs = list[NDArray[np.float64]]
"""Cost of each group, per episode: (groups,), in nats per token of the original answer."""
Measure = Callable[[Scorer, "Sequence[Episode]", Groups], Costs]

_KNOWN: WeakKeyDictionary[Scorer, dict[tuple[str, str], NDArray[np.float64]]] = WeakKeyDictionary()
"""Costs of a prompt's groups, by scorer and then by name of the measure and `_key`."""


def kept_costs(
    what: str, measure: Measure, scorer: Scorer, episodes: Sequence[Episode], groups: Groups
) -> Costs:
    """Return the costs of groups, measuring only those that are not cached.

    Costs are kept for the lifetime of the scorer and, if it has a cache, on disk, so that an
    interrupted measurement resumes.

    Args:
        what: Name of the measure, which identifies its costs in the cache.
        measure: Measures the costs of prompts, in order.
        scorer: Scorer whose generator is queried; its reward does not matter.
        episodes: The prompts.
        groups: Units to drop together.
    """
    known = _KNOWN.setdefault(scorer, {})
    scope = json.dumps([what, scorer.generator.fingerprint, scorer.max_new_tokens])
    keys = [_key(e, own) for e, own in zip(episodes, groups, strict=True)]
    if scorer.cache is not None:
        stored = scorer.cache.get(scope, [key for key in keys if (what, key) not in known])
        known |= {(what, key): np.array(costs, np.float64) for key, costs in stored.items()}
    new = {
        key: (episode, own)
        for key, episode, own in zip(keys, episodes, groups, strict=True)
        if (what, key) not in known
    }
    for part in _parts({key: count_groups(own) for key, (_, own) in new.items()}):
        found = measure(scorer, *zip(*(new[key] for key in part), strict=True))
        known |= {(what, key): costs for key, costs in zip(part, found, strict=True)}
        if scorer.cache is not None:
            scorer.cache.put(scope, {key: known[what, key].tolist() for key in part})
    return [known[what, key] for key in keys]


def mask_losses(
    scorer: Scorer, episodes: Sequence[Episode], masks: Sequence[Sequence[NDArray[np.bool_]]]
) -> list[NDArray[np.float64]]:
    """Return the likelihood losses of several keep masks per prompt.

    Takes a forward pass per distinct text. See `RewardInputs` for the loss, `Scorer` for a mask.

    Raises:
        ValueError: If the generator does not provide log-likelihoods.
        GeneratorError: If the generator fails.
    """
    asked = Scorer(scorer.generator, FaithfulReward(), scorer.max_new_tokens, cache=scorer.cache)
    counts = [len(own) for own in masks]
    repeated = [e for e, count in zip(episodes, counts, strict=True) for _ in range(count)]
    losses = asked(repeated, [mask for own in masks for mask in own]).likelihood_loss
    return np.split(losses, np.cumsum(counts)[:-1])


def count_groups(groups: NDArray[np.int64]) -> int:
    """Return the number of groups."""
    return int(groups.max(initial=-1)) + 1


def group_spans(episode: Episode, groups: NDArray[np.int64]) -> list[tuple[int, int]]:
    """Return the character range of each group of an episode's units."""
    ends: dict[int, tuple[int, int]] = {}
    for group, (start, end) in zip(groups.tolist(), episode.spans, strict=False):
        if group >= 0:
            ends[group] = ends.get(group, (start, end))[0], end
    return list(ends.values())


def _key(episode: Episode, groups: NDArray[np.int64]) -> str:
    """Return the cache key of a prompt with its groups."""
    return json.dumps([cache_key(episode.text), group_spans(episode, groups)])


def _parts(sizes: dict[str, int]) -> Iterator[list[str]]:
    """Yield parts of the keys with at most `MAX_AT_ONCE` groups each, or one longer prompt."""
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


class CostAgent(OracleAgent, ABC):
    """Base class of agents that drop the cheapest droppable units, measured once per prompt.

    Args:
        rate: Exact share of each prompt's droppable units to drop, 0 to 1, rounded down.

    Raises:
        ValueError: If the rate is not in 0 to 1, or, from `act`, if costs cannot be measured.
    """

    def __init__(self, rate: float = DEFAULT_RATE) -> None:
        self.rate = check_share("rate", rate)

    @abstractmethod
    def costs(self, episodes: Sequence[Episode], groups: Groups) -> Costs:
        """Return the cost of dropping each group."""

    def act(self, observations: Observations, infos: Infos) -> np.ndarray:
        """Return masks that drop the cheapest units; see `agents.base.Agent.act`.

        Raises:
            RuntimeError: If no task was attached.
            ValueError: If a prompt does not belong to the task.
            GeneratorError: If the generator fails.
        """
        droppable = observations["droppable"].astype(np.bool_)
        alone = [single_units(free) for free in droppable]
        scores = np.full(droppable.shape, -np.inf)
        found = self.costs(self.episodes(infos), alone)
        for row, free, own in zip(scores, droppable, found, strict=True):
            row[free] = -own
        return keep_masks(observations, drop_highest(scores, droppable, self.rate))
