"""Oracle that searches for the best keep mask with the help of the generator.

The search treats the reward as a black box: it scores masks and climbs.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from agents.base import Infos, Observations, keep_masks
from agents.climb import Climb, all_masks
from agents.oracle import OracleAgent
from pcrl_gym.generators.base import check_integer
from pcrl_gym.prompts.prompt_text import cache_key
from pcrl_gym.scoring.rewards import REWARDS
from pcrl_gym.scoring.scorer import Scorer

if TYPE_CHECKING:
    from pcrl_gym.envs.task import Task
    from pcrl_gym.episodes.episode import Episode

BoolArray = NDArray[np.bool_]

DEFAULT_BUDGET = 64
"""Masks scored per prompt; on micro, more of them gain about a hundredth at best."""

EXHAUSTIVE_UNITS = 12
"""Maximum droppable units for which all masks (4,096) are scored."""

MAX_AT_ONCE = 8_192
"""Maximum masks per scorer call; more would fill the memory without being faster."""


@dataclass(frozen=True, slots=True, eq=False)
class SearchResult:
    """The best mask found for one prompt."""

    mask: BoolArray  # (n_units,), True for kept units, including all past the window
    reward: float


def search(
    scorer: Scorer,
    episodes: Sequence[Episode],
    *,
    budget: int = DEFAULT_BUDGET,
    seed: int = 0,
    max_units: int | None = None,
    exhaustive_units: int = EXHAUSTIVE_UNITS,
) -> list[SearchResult]:
    """Find high-reward masks for many prompts in parallel.

    In each round, all prompts' next masks are scored in one call. The masks tried for a prompt
    depend only on its text and `seed`, not on the budget or the other prompts. The budget truncates
    this sequence, and the first mask with the highest reward is returned, so a larger budget never
    gives a lower reward.

    `budget` is the maximum number of masks scored per prompt, but with at most `exhaustive_units`
    droppable units, all masks are scored. Units past `max_units` are kept.
    """
    check_integer("budget", budget, 1)
    check_integer("seed", seed, 0)
    check_integer("exhaustive_units", exhaustive_units, 0)
    check_integer("max_units", max_units or 0, 0)
    tracks = [_Track(e, budget, seed, max_units, exhaustive_units) for e in episodes]
    while active := [track for track in tracks if track.wanted]:
        owners = [(track, mask) for track in active for mask in track.wanted]
        rewards: list[float] = []
        for start in range(0, len(owners), MAX_AT_ONCE):
            part = owners[start : start + MAX_AT_ONCE]
            scores = scorer([t.episode for t, _ in part], [t.full(mask) for t, mask in part])
            rewards += scores.reward.tolist()
        rest = iter(rewards)
        for track in active:
            track.take([next(rest) for _ in track.wanted])
    return [track.result() for track in tracks]


class _Track:
    """Search state of one prompt: the masks to score next and the best mask so far."""

    def __init__(
        self, episode: Episode, budget: int, seed: int, window: int | None, few: int
    ) -> None:
        self.episode = episode
        self._free = np.flatnonzero(episode.droppable[:window])
        n = len(self._free)
        self._left = 2**n if n <= few else budget
        rng = np.random.default_rng([seed, zlib.crc32(episode.text.encode())])
        self._proposals = all_masks(n) if n <= few else Climb(n, rng).proposals()
        self._best: tuple[float, BoolArray] | None = None
        self.wanted: list[BoolArray] = next(self._proposals)[: self._left]

    def full(self, mask: BoolArray) -> BoolArray:
        """Expand a mask over the droppable units to all units, (n_units,)."""
        kept = np.ones(len(self.episode), np.bool_)
        kept[self._free] = mask
        return kept

    def take(self, rewards: list[float]) -> None:
        """Record the rewards of the masks in `wanted`, and choose the next ones."""
        for mask, reward in zip(self.wanted, rewards, strict=True):
            if self._best is None or reward > self._best[0]:
                self._best = (reward, mask)
        self._left -= len(rewards)
        self.wanted = []
        if self._left:
            with suppress(StopIteration):
                self.wanted = self._proposals.send(rewards)[: self._left]

    def result(self) -> SearchResult:
        """Return the best mask scored."""
        assert self._best is not None
        reward, mask = self._best
        return SearchResult(self.full(mask), reward)


class SearchAgent(OracleAgent):
    """Applies the best mask found with the task's scorer: a ceiling, not a competitor.

    If the task's scorer has a cache and its reward is built in, the masks of each call of `act` are
    also cached there, so that an interrupted search resumes after the last batch.

    Args:
        budget: Maximum masks scored per prompt, at least 1; see `search`.
        exhaustive_units: Maximum droppable units for which all masks are scored, not negative. A
            large generator takes minutes for 4,096 masks: lower it along with the budget.
        seed: Seed of the search, not negative.

    Raises:
        ValueError: If a number is out of range.
    """

    name = "search"

    def __init__(
        self,
        budget: int = DEFAULT_BUDGET,
        exhaustive_units: int = EXHAUSTIVE_UNITS,
        seed: int = 0,
    ) -> None:
        check_integer("budget", budget, 1)
        check_integer("exhaustive_units", exhaustive_units, 0)
        check_integer("seed", seed, 0)
        self.budget = budget
        self.exhaustive_units = exhaustive_units
        self.seed = seed

    def attach(self, task: Task) -> None:
        """Attach the task whose prompts are compressed; its generator and reward are used."""
        super().attach(task)
        # An evaluation's scorer completes every answer; here only the reward counts.
        own, paid = task.scorer, getattr(task.scorer.reward, "paid", task.scorer.reward)
        self._scorer = Scorer(own.generator, paid, own.max_new_tokens, early_stopping=True)

    def act(self, observations: Observations, infos: Infos) -> np.ndarray:
        """Return the best masks found; see `agents.base.Agent.act`.

        Raises:
            RuntimeError: If no task was attached.
            ValueError: If a prompt does not belong to the task.
            GeneratorError: If the generator fails.
        """
        drop = np.zeros(observations["droppable"].shape, np.bool_)
        for row, units in zip(drop, self._dropped(self.episodes(infos)), strict=True):
            row[units] = True
        return keep_masks(observations, drop)

    def _dropped(self, episodes: Sequence[Episode]) -> list[list[int]]:
        """Return the units to drop, searching only for prompts that are not cached."""
        settings = {
            "budget": self.budget,
            "exhaustive_units": self.exhaustive_units,
            "seed": self.seed,
            "max_units": self.task.max_units,
        }
        scorer, window = self._scorer, slice(self.task.max_units)
        cache = self.task.scorer.cache if type(scorer.reward) in REWARDS else None
        asked = [repr(scorer.reward), scorer.generator.fingerprint, scorer.max_new_tokens]
        scope = json.dumps(["search", settings, *asked])
        keys = [
            json.dumps([cache_key(e.text), e.spans[window], e.droppable[window].tolist()])
            for e in episodes
        ]
        known = {} if cache is None else cache.get(scope, keys)
        new = {key: e for key, e in zip(keys, episodes, strict=True) if key not in known}
        results = search(scorer, list(new.values()), **settings)
        found = {
            key: np.flatnonzero(~result.mask).tolist()
            for key, result in zip(new, results, strict=True)
        }
        if cache is not None:
            cache.put(scope, found)
        known |= found
        return [known[key] for key in keys]
