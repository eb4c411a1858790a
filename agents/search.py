"""Search for the best keep mask by asking the generator: an oracle.

The search knows nothing of the reward's form: it asks the scorer what a mask earns, and climbs.
"""

from __future__ import annotations

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
from pcrl_gym.scoring.scorer import Scorer

if TYPE_CHECKING:
    from pcrl_gym.envs.task import Task
    from pcrl_gym.episodes.episode import Episode

BoolArray = NDArray[np.bool_]

DEFAULT_BUDGET = 64
"""Masks scored per prompt: on micro more of them gain about a hundredth, at best."""

EXHAUSTIVE_UNITS = 12
"""Most droppable units for which all masks are scored: 4,096 of them."""

MAX_AT_ONCE = 8_192
"""Most masks in one call of the scorer; more would not be faster and fill the memory."""


@dataclass(frozen=True, slots=True, eq=False)
class SearchResult:
    """The best mask found for one prompt."""

    mask: BoolArray  # (n_units,), True where a unit is kept, as all past the window are
    reward: float
    evaluations: int  # different masks that were scored
    proven: bool  # all masks were scored, so that no other earns more


def search(
    scorer: Scorer,
    episodes: Sequence[Episode],
    *,
    budget: int = DEFAULT_BUDGET,
    seed: int = 0,
    max_units: int | None = None,
    width: int = 1,
    exhaustive_units: int = EXHAUSTIVE_UNITS,
) -> list[SearchResult]:
    """Find masks of high reward for many prompts side by side.

    Each round every prompt proposes up to `width` masks and all of them are scored in one call. The
    masks proposed for a prompt depend on its text, `seed` and `width` alone, neither on the budget
    nor on the other prompts; the budget only cuts the sequence off, and the first mask of the
    highest reward so far is returned. So a larger budget never gives a lower reward.

    `budget` is the most masks to score per prompt, but with at most `exhaustive_units` droppable
    units all masks are. Units past `max_units` are kept. With more `width` few prompts fill a batch
    of the generator too, but each mask knows less of those before it.
    """
    check_integer("budget", budget, 1)
    check_integer("seed", seed, 0)
    check_integer("width", width, 1)
    check_integer("exhaustive_units", exhaustive_units, 0)
    check_integer("max_units", max_units or 0, 0)
    tracks = [_Track(e, budget, seed, max_units, width, exhaustive_units) for e in episodes]
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
    """The search of one prompt: which masks it wants scored next, and the best so far."""

    def __init__(
        self, episode: Episode, budget: int, seed: int, window: int | None, width: int, few: int
    ) -> None:
        self.episode = episode
        self._free = np.flatnonzero(episode.droppable[:window])
        n = len(self._free)
        self._exhaustive = n <= few
        self._left = 2**n if self._exhaustive else budget
        rng = np.random.default_rng([seed, zlib.crc32(episode.text.encode())])
        climb = Climb(n, width, rng)
        self._proposals = all_masks(n) if self._exhaustive else climb.proposals()
        self._evaluations = 0
        self._best: tuple[float, BoolArray] | None = None
        self.wanted: list[BoolArray] = next(self._proposals)[: self._left]

    def full(self, mask: BoolArray) -> BoolArray:
        """Return the mask over all units, (n_units,), from one over those that may be dropped."""
        kept = np.ones(len(self.episode), np.bool_)
        kept[self._free] = mask
        return kept

    def take(self, rewards: list[float]) -> None:
        """Take the rewards of the masks in `wanted`, and choose the next ones."""
        for mask, reward in zip(self.wanted, rewards, strict=True):
            if self._best is None or reward > self._best[0]:
                self._best = (reward, mask)
        self._evaluations += len(rewards)
        self._left -= len(rewards)
        self.wanted = []
        if self._left:
            with suppress(StopIteration):
                self.wanted = self._proposals.send(rewards)[: self._left]

    def result(self) -> SearchResult:
        """Return the best mask of all that were scored."""
        assert self._best is not None
        reward, mask = self._best
        return SearchResult(self.full(mask), reward, self._evaluations, self._exhaustive)


class SearchAgent(OracleAgent):
    """Keeps what a search with the task's scorer found best: a ceiling, no competitor.

    Args:
        budget: Most masks scored per prompt, at least 1; see `search`.
        exhaustive_units: Most droppable units for which all masks are scored, not negative. A large
            generator takes minutes for 4,096 masks: lower it with the budget.
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
        """Take the task whose prompts are to be compressed; its generator and reward are used."""
        super().attach(task)
        # That of an evaluation completes every answer; here only the reward counts.
        own, paid = task.scorer, getattr(task.scorer.reward, "paid", task.scorer.reward)
        self._scorer = Scorer(own.generator, paid, own.max_new_tokens, early_stopping=True)

    def act(self, observations: Observations, infos: Infos) -> np.ndarray:
        """Return the best masks found; see `agents.base.Agent.act`.

        Raises:
            RuntimeError: If no task was attached.
            ValueError: If a prompt is none of the task's.
            GeneratorError: If the generator fails.
        """
        window = self.task.max_units
        found = search(
            self._scorer,
            self.episodes(infos),
            budget=self.budget,
            exhaustive_units=self.exhaustive_units,
            seed=self.seed,
            max_units=window,
        )
        drop = np.zeros(observations["droppable"].shape, np.bool_)
        for row, result in zip(drop, found, strict=True):
            n = min(len(row), len(result.mask))
            row[:n] = ~result.mask[:n]
        return keep_masks(observations, drop)
