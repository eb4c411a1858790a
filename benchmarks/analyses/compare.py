"""Comparison of agents on the same prompts, in pairs or against one, from records only."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.analyses.analysis import Analysis, Table, write_analysis
from benchmarks.markdown import cell
from benchmarks.records import RunFolder
from benchmarks.standings import join
from benchmarks.statistics import Comparison, compare
from benchmarks.tables import figure_grid
from pcrl_gym.cli_tools import Names
from pcrl_gym.errors import RunFolderError

if TYPE_CHECKING:
    from pandas import DataFrame

LIKELY = 0.05  # maximum p-value of a difference, whose interval must also exclude 0
REWARD = "reward"
_NOTE = (
    "Difference of the mean {figure} on the same prompts, with a bootstrap interval over seeds and "
    "prompts; probability that {a} has more of it than {b}; p-value of a sign-flip test over "
    "prompts, not corrected for the number of {many}."
)


def run(
    folder: str | Path,
    /,
    *,
    agents: Names = (),
    others: Sequence[str | Path] = (),
    against: str | None = None,
    figure: str = REWARD,
) -> Analysis:
    """Compare the agents of a result folder by a mean, in pairs or against one of them.

    The tables of all pairs are also written into the folder, unless `--agents`, `--with`,
    `--against` or `--figure` is given.

    Args:
        folder: Result folder, or one of published results.
        agents: Agents to compare; by default all.
        others: Result folders whose agents take part, on the splits that all have; "standings" is
            the published one.
        against: Agent to compare each other agent with, one line each, highest first.
        figure: Number in the records to compare, such as `likelihood_loss`, `gold_score` or
            `constraints_kept`; prompts without it are left out.

    Raises:
        RunFolderError: If there is no such result folder, another one has other settings, or two
            agents were not evaluated on the same prompts.
        ValueError: If an agent has no results or lacks the figure, or there are fewer than two.
    """
    source = RunFolder(folder)
    wanted = [*dict.fromkeys([*agents, against])] if agents and against else agents
    frame, _ = join(source, others, wanted)
    numbers = frame.select_dtypes("number").drop(columns="seed").dropna(axis="columns", how="all")
    if figure not in numbers:
        raise ValueError(f"no record has the figure {figure!r}; available: {', '.join(numbers)}")
    compared = frame.dropna(subset=figure)
    if lacking := ", ".join(sorted(set(frame["agent"]) - set(compared["agent"]))):
        raise ValueError(f"the records of {lacking} have no {figure}: name others with --agents")
    frame = compared
    if against is not None:
        return verdicts(frame, against, figure)
    analysis = compare_agents(frame, agents, figure)
    if not (agents or others or figure != REWARD) and source.parts():  # not if published
        write_analysis(source.path, analysis)
    return analysis


def compare_agents(frame: DataFrame, agents: Sequence[str] = (), figure: str = REWARD) -> Analysis:
    """Return the pairwise comparison of the agents of a frame, a table per split."""
    names = list(agents) or sorted(frame["agent"].unique())
    if len(names) < 2:
        raise ValueError(f"A comparison needs at least two agents, got {names}")
    columns = ("a", "b", "prompts", "a - b", "95% interval", "P(a > b)", "p (sign flip)", "exact")
    tables = {}
    for split, grids in _grids(frame, figure):
        rows = []
        for a, b in combinations([name for name in names if name in grids], 2):
            difference, interval, probability, test, note = _compare(grids, a, b, split)
            figures = (difference, cell(interval), probability, f"{test.p_value:.2g}")
            exact = "yes" if test.exact else "no"
            rows.append((a, b, grids[a].shape[1], *figures, exact, note))
        tables[split] = Table((*columns, "note"), tuple(rows))
    note = _NOTE.format(figure=_words(figure), a="a", b="b", many="pairs")
    return Analysis("compare", "Agents compared in pairs", note, tables)


def verdicts(frame: DataFrame, against: str, figure: str = REWARD) -> Analysis:
    """Return the comparison of each agent of a frame with one, a line per split, highest first.

    An agent is "better" or "worse" (or, if the figure is not the reward, "higher" or "lower") if
    the 95% interval of the difference excludes 0 and the p-value is below 0.05; else there is "no
    difference seen".
    """
    if against not in (names := sorted(frame["agent"].unique())) or len(names) < 2:
        raise ValueError(f"{against} cannot be compared with other agents; available: {names}")
    lines = []
    more, less = ("better", "worse") if figure == REWARD else ("higher", "lower")
    for split, grids in _grids(frame, figure):
        others = [name for name in grids if name != against and against in grids]
        results = {name: _compare(grids, name, against, split) for name in others}
        for name in sorted(others, key=lambda name: -results[name].difference):
            difference, interval, probability, test, _ = results[name]
            verdict = "no difference seen"
            if test.p_value < LIKELY and not interval[0] <= 0.0 <= interval[1]:
                verdict = f"{more if difference > 0.0 else less} than {against}"
            lines.append(
                f"{name}, {split}: {difference:+.3f} (95% {cell(interval)}), "
                f"P({more}) {probability:.2f}, p {test.p_value:.2g}: {verdict}\n"
            )
    note = _NOTE.format(figure=_words(figure), a="an agent", b=against, many="agents")
    return Analysis("compare", f"Agents compared with {against}", "".join([*lines, "\n", note]), {})


def _compare(grids: dict[str, DataFrame], a: str, b: str, split: str) -> Comparison:
    if not grids[a].columns.equals(grids[b].columns):
        raise RunFolderError(f"{a} and {b} were evaluated on different prompts of {split}")
    return compare(grids[a].to_numpy(), grids[b].to_numpy())


def _grids(frame: DataFrame, figure: str) -> Iterator[tuple[str, dict[str, DataFrame]]]:
    for split, own in frame.groupby("split", sort=False):
        yield str(split), {str(a): figure_grid(one, figure) for a, one in own.groupby("agent")}


def _words(figure: str) -> str:
    return figure.replace("_", " ")
