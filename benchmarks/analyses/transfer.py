"""Transfer matrix: policies trained with one generator, evaluated with another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from agents.runs.drawing import check_drawing
from benchmarks.analyses.analysis import Analysis, Table, panels, write_analysis
from benchmarks.records import RunFolder
from benchmarks.suites import suite_of
from pcrl_gym.cli_tools import Names, resumable

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_NOTE = (
    "Mean reward of policies trained in the run of the row, evaluated with the generator and the "
    "prompts of the run of the column. The diagonal shows no transfer."
)


@resumable()
def run(
    folders: Sequence[str | Path], /, *, agents: Names, out: str | Path, device: str = "auto"
) -> Analysis:
    """Evaluate the trained agents of every folder with the generator of every folder.

    The runs must share a policy tokenizer, as a policy only knows its own token IDs. It need not be
    the generators' tokenizer.

    Args:
        folders: One or more result folders that trained the agents.
        agents: Trainable agents.
        out: Folder for the evaluations, one result folder per generator, and the analysis; an
            interrupted analysis resumes there.
        device: Device of the generators.
    """
    from benchmarks.roster import find_agents
    from benchmarks.runner import Benchmark
    from benchmarks.training import from_run, tokenizer_of

    check_drawing()
    sources = {Path(folder).resolve().name: RunFolder(folder) for folder in folders}
    if len(sources) < len(folders):
        raise ValueError(f"Folder names must be unique, got {', '.join(map(str, folders))}")
    entries = find_agents(agents)
    if idle := [entry.name for entry in entries if not entry.trainable]:
        raise ValueError(f"{', '.join(idle)} cannot be trained, so there is nothing to transfer")
    suites = {label: suite_of(own.settings) for label, own in sources.items()}
    seeds = max(suite.seeds for suite in suites.values())
    moved = [from_run(e, own, seeds, label) for e in entries for label, own in sources.items()]
    for suite in suites.values():
        tokenizer_of([entry.policies[0] for entry in moved], suite)  # rejects different ones
    # Build all of them first, which checks them.
    runs = {s: Benchmark(suite, moved, Path(out, s), device=device) for s, suite in suites.items()}
    rows = {label: benchmark.run() for label, benchmark in runs.items()}
    return write_analysis(out, analyse(rows, [entry.name for entry in entries]), draw)


def analyse(rows: Mapping[str, Sequence[Mapping[str, Any]]], agents: Sequence[str]) -> Analysis:
    """Return mean rewards from leaderboard rows by evaluating run, of agents `<agent>-<run>`."""
    import pandas

    labels = list(rows)
    frame = pandas.DataFrame([{**row, "label": label} for label in labels for row in rows[label]])
    tables = {}
    for agent in agents:
        names = [f"{agent}-{label}" for label in labels]
        for split, own in frame.groupby("split", sort=False):
            rewards = own.pivot(index="agent", columns="label", values="reward")
            matrix = rewards.reindex(index=names, columns=labels)
            matrix.insert(0, "trained in", labels)
            tables[f"{agent}, {split}"] = Table.of(matrix)
    return Analysis("transfer", "Transfer between generators", _NOTE, tables)


def draw(figure: Figure, analysis: Analysis) -> None:
    """Draw the matrices with their values."""
    for axes, table in panels(figure, analysis.tables):
        rewards = table.set_index("trained in").astype(float).fillna(0.0)
        axes.imshow(rewards, vmin=0.0, vmax=1.0, cmap="cividis")
        for (y, x), value in np.ndenumerate(rewards):
            color = "white" if value < 0.6 else "black"
            axes.text(x, y, f"{value:.2f}", ha="center", color=color)
        axes.set_xticks(range(len(rewards)), rewards.columns)
        axes.set_yticks(range(len(rewards)), rewards.index, rotation=90, va="center")
        axes.set(xlabel="evaluated in", ylabel="trained in")
