"""Comparison of agents on the same prompts, in pairs or against one, from records alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.analyses.analysis import Analysis, Cell, Table, write_analysis
from benchmarks.markdown import cell
from benchmarks.records import RunFolder
from benchmarks.standings import join
from benchmarks.statistics import Comparison, compare
from benchmarks.tables import figure_grid
from pcrl_gym.errors import RunFolderError

if TYPE_CHECKING:
    from pandas import DataFrame

LIKELY = 0.05
"""P-value below which a difference is called one, if its interval leaves out 0, too."""
_PAIRS = (
    "a", "b", "prompts", "a - b", "95 % interval", "P(a > b)", "p (sign flip)", "exact", "note",
)  # fmt: skip
_NOTE = (
    "Difference of the mean rewards on the same prompts, with a bootstrap interval over seeds and "
    "prompts; probability that {a} earns more than {b}; p-value of a sign-flip test over prompts, "
    "not corrected for the number of {what}."
)


def run(
    folder: str | Path,
    agents: Sequence[str] = (),
    *,
    others: Sequence[str | Path] = (),
    against: str | None = None,
) -> Analysis:
    """Compare the agents of a result folder in mean reward, and return the tables.

    Those of all pairs of the folder's own agents are written into it, too.

    Args:
        folder: Result folder, or one of published results.
        agents: The agents to compare; none given: all.
        others: Result folders whose agents take part, or "standings"; see
            `benchmarks.standings.join`.
        against: Agent that each other one is compared with, in a line, best first.

    Raises:
        RunFolderError: If there is no such result folder, another one has other settings, or two
            agents were not evaluated on the same prompts.
        ValueError: If an agent has no results, or there are not two.
    """
    source = RunFolder(folder)
    wanted = [*dict.fromkeys([*agents, against])] if agents and against else agents
    frame, _ = join(source, others, wanted)
    if against is not None:
        return verdicts(frame, against)
    analysis = compare_agents(frame, agents)
    if not others and source.parts():  # published results stay as they are
        write_analysis(source.path, analysis)
    return analysis


def compare_agents(frame: DataFrame, agents: Sequence[str] = ()) -> Analysis:
    """Return every two agents of a frame against each other, a table per split.

    See `benchmarks.statistics.compare` for the figures.

    Raises:
        RunFolderError, ValueError: If `run` raises one.
    """
    names = list(agents) or sorted(frame["agent"].unique())
    if len(names) < 2:
        raise ValueError(f"A comparison needs two agents, got {names}")
    tables = {}
    for split in frame["split"].unique():
        grids = _grids(frame, split)
        there = [name for name in names if name in grids]
        tables[split] = Table(
            _PAIRS, tuple(_pair(grids, a, b, split) for a, b in combinations(there, 2))
        )
    note = _NOTE.format(a="a", b="b", what="pairs")
    return Analysis("compare", "Agents compared in pairs", note, tables)


def verdicts(frame: DataFrame, against: str) -> Analysis:
    """Return each agent of a frame against one, a table per split, the best first.

    An agent is "better" or "worse" where the 95 % interval of the difference leaves out 0 and the
    p-value is below 0.05; else there is "no difference seen".

    Raises:
        RunFolderError, ValueError: If `run` raises one.
    """
    if against not in (names := sorted(frame["agent"].unique())) or len(names) < 2:
        raise ValueError(f"{against} cannot be compared with other agents; there are {names}")
    tables = {}
    for split in frame["split"].unique():
        grids = _grids(frame, split)
        if against in grids:
            results = [(a, _compare(grids, a, against, split)) for a in grids if a != against]
            results.sort(key=lambda named: -named[1].difference)
            rows = tuple(tuple(_verdict(agent, result)) for agent, result in results)
            columns = ("agent", "difference", "95 % interval", "P(better)", "p", "verdict")
            tables[f"{split}, against {against}"] = Table(columns, rows)
    note = _NOTE.format(a="an agent", b=against, what="agents")
    return Analysis("compare", f"Agents compared with {against}", note, tables)


def _verdict(agent: str, result: Comparison) -> Iterator[Cell]:
    low, high = result.interval
    seen = not low <= 0.0 <= high and result.sign_flip.p_value < LIKELY
    better = "better" if result.difference > 0.0 else "worse"
    yield from (agent, result.difference, cell(result.interval), result.probability_of_improvement)
    yield from (f"{result.sign_flip.p_value:.2g}", better if seen else "no difference seen")


def _pair(grids: dict[str, DataFrame], a: str, b: str, split: str) -> tuple[Cell, ...]:
    result = _compare(grids, a, b, split)
    test, prompts = result.sign_flip, grids[a].shape[1]
    figures = (result.difference, cell(result.interval), result.probability_of_improvement)
    exact = "yes" if test.exact else "no"
    return (a, b, prompts, *figures, f"{test.p_value:.2g}", exact, result.note)


def _compare(grids: dict[str, DataFrame], a: str, b: str, split: str) -> Comparison:
    if not grids[a].columns.equals(grids[b].columns):
        raise RunFolderError(f"{a} and {b} were evaluated on different prompts of {split}")
    return compare(grids[a].to_numpy(), grids[b].to_numpy())


def _grids(frame: DataFrame, split: str) -> dict[str, DataFrame]:
    own = frame[frame["split"] == split]
    return {str(agent): figure_grid(records) for agent, records in own.groupby("agent")}
