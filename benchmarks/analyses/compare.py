"""Paired comparison of agents on the same prompts, from records alone."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from itertools import combinations
from pathlib import Path

from benchmarks.analyses.analysis import Analysis, Table, write_analysis
from benchmarks.comparison import compare
from benchmarks.markdown import cell
from benchmarks.records import Record, RunFolder
from pcrl_gym.errors import RunFolderError

Grids = dict[str, dict[str, dict[int, dict[str, float]]]]
COLUMNS = (
    "a", "b", "prompts", "a - b", "95 % interval", "P(a > b)", "p (sign flip)", "exact", "note",
)  # fmt: skip


def run(folder: str | Path, agents: Sequence[str] = ()) -> Analysis:
    """Compare the agents of a result folder, and write the analysis into it.

    Args:
        folder: Result folder.
        agents: The agents to compare; none given: all.

    Raises:
        RunFolderError: If there is no such result folder.
        RunFolderError, ValueError: If `compare_agents` raises one.
    """
    source = RunFolder(folder)
    order = source.settings["splits"].index
    analysis = compare_agents(sorted(source.records(), key=lambda r: order(r.split)), agents)
    write_analysis(source.path, analysis)
    return analysis


def compare_agents(records: Iterable[Record], agents: Sequence[str] = ()) -> Analysis:
    """Return every two agents against each other, in mean reward on each split.

    A table per split; see `benchmarks.comparison.compare` for the figures.

    Raises:
        RunFolderError: If two agents were not evaluated on the same prompts.
        ValueError: If an agent has no records, or there are not two.
    """
    rewards: Grids = defaultdict(lambda: defaultdict(lambda: defaultdict(dict)))
    for record in records:
        rewards[record.split][record.agent][record.seed][record.prompt_id] = record.reward
    there = sorted({agent for split in rewards.values() for agent in split})
    if missing := sorted(set(agents) - set(there)):
        raise ValueError(f"There are no results of {', '.join(missing)}, only of {there}")
    wanted = list(agents) if agents else there
    if len(wanted) < 2:
        raise ValueError(f"A comparison needs two agents, got {wanted}")
    tables = {}
    for split, own in rewards.items():
        pairs = combinations([agent for agent in wanted if agent in own], 2)
        tables[split] = Table(COLUMNS, tuple(_row(own, a, b, split) for a, b in pairs))
    return Analysis(
        name="compare",
        title="Agents compared in pairs",
        note="Difference of the mean rewards on the same prompts, with a bootstrap interval over "
        "seeds and prompts; probability that a earns more than b; p-value of a sign-flip test over "
        "prompts, not corrected for the number of pairs.",
        tables=tables,
    )


def _row(
    rewards: dict[str, dict[int, dict[str, float]]], a: str, b: str, split: str
) -> tuple[str | float | int, ...]:
    prompts = list(next(iter(rewards[a].values())))
    seeds = [*rewards[a].values(), *rewards[b].values()]
    if any(set(seed) != set(prompts) for seed in seeds):
        raise RunFolderError(f"{a} and {b} were evaluated on different prompts of {split}")
    grids = [[[seed[p] for p in prompts] for seed in rewards[name].values()] for name in (a, b)]
    result = compare(*grids)
    interval, test = cell((result.low, result.high)), result.sign_flip
    figures = (result.mean_difference, interval, result.probability_of_improvement)
    exact = "yes" if test.exact else "no"
    return (a, b, result.prompts, *figures, f"{test.p_value:.2g}", exact, result.note)
