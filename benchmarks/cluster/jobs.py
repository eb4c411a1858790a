"""Jobs of a benchmark run, for shards and workers."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from benchmarks.records import RunFolder
from benchmarks.roster import Entry
from benchmarks.suites import Suite


class Job(NamedTuple):
    """An agent and seed on one split, or on all splits if trainable, as it is trained once."""

    entry: Entry
    seed: int
    splits: tuple[str, ...]

    def unfinished(self, folder: RunFolder) -> list[str]:
        """Return the splits without records in a folder."""
        name = self.entry.name
        return [split for split in self.splits if not folder.part(name, split, self.seed).exists()]

    def __str__(self) -> str:
        return f"{self.entry.name}, seed {self.seed}, {' and '.join(self.splits)}"


def all_jobs(entries: Sequence[Entry], suite: Suite) -> list[Job]:
    """Return all jobs of a run, in the order of execution and assignment to shards."""
    return [
        Job(entry, seed, splits)
        for entry in entries
        for seed in entry.seeds(suite.seeds)
        for splits in ([suite.splits] if entry.trainable else [(split,) for split in suite.splits])
    ]


def share_of(shard: str) -> slice:
    """Return the slice of jobs of a shard: for "2/3", the second, the fifth, and so on."""
    number, count = map(int, shard.split("/")) if re.fullmatch(r"\d+/\d+", shard) else (0, 0)
    if not 1 <= number <= count:
        raise ValueError(f"A shard must look like 3/8, from 1/8 to 8/8, got {shard!r}")
    return slice(number - 1, None, count)
