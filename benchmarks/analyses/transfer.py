"""Transfer matrix: policies trained with one generator, evaluated with another."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from agents.runs.drawing import check_drawing
from benchmarks.analyses.analysis import Analysis, Table, write_analysis
from benchmarks.records import RunFolder
from benchmarks.suites import suite_of
from benchmarks.tables import Row

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def run(
    folders: Sequence[str | Path], agents: Sequence[str], out: str | Path, *, device: str = "auto"
) -> Analysis:
    """Evaluate the trained agents of every folder with the generator of every folder.

    The runs must share a policy tokenizer, because a policy knows its token ids alone. It need not
    be the generators' own.

    Args:
        folders: Result folders that trained the agents; one or more.
        agents: Agents that learn.
        out: Folder for the evaluations, one result folder per generator; an interrupted analysis
            resumes there.
        device: Where the generators run.

    Returns:
        The analysis, which is written into `out`, too.

    Raises:
        RunFolderError: If there is no such result folder, or a trained agent is missing in it.
        ValueError: If an agent is unknown or does not learn, two folders have one name, or the
            tokenizers differ.
        MissingExtraError: If Matplotlib is not installed.
    """
    from benchmarks.roster import find_agents
    from benchmarks.runner import Benchmark

    check_drawing()
    sources = [RunFolder(folder) for folder in folders]
    labels = [source.path.resolve().name for source in sources]
    if len(set(labels)) != len(labels):
        raise ValueError(f"The folders need names of their own, got {', '.join(labels)}")
    entries = find_agents(agents)
    if idle := [entry.name for entry in entries if not entry.trainable]:
        raise ValueError(f"{', '.join(idle)} cannot be trained, so there is nothing to transfer")
    _check_tokenizers(sources)
    moved = [
        entry.from_run(source.path, label)
        for entry in entries
        for source, label in zip(sources, labels, strict=True)
    ]
    rows = {
        label: Benchmark(suite_of(own.settings), moved, Path(out) / label, device=device).run()
        for own, label in zip(sources, labels, strict=True)
    }
    analysis = analyse(rows, [entry.name for entry in entries])
    write_analysis(out, analysis, lambda figure: _draw(figure, analysis))
    return analysis


def analyse(rows: dict[str, list[Row]], agents: Sequence[str]) -> Analysis:
    """Return the matrices of mean reward: trained with (rows) against evaluated with (columns).

    Args:
        rows: Leaderboard rows by the run whose generator answered; the agents in them are named
            `<agent>-<run that trained it>`.
        agents: Names of the agents.
    """
    labels = tuple(rows)
    by_place = {
        (label, row["split"], row["agent"]): row["reward"]
        for label, own in rows.items()
        for row in own
    }
    splits = dict.fromkeys(row["split"] for own in rows.values() for row in own)
    tables = {
        f"{agent}, {split}": Table(
            ("trained in", *labels),
            tuple(
                (trained, *(by_place.get((label, split, f"{agent}-{trained}")) for label in labels))
                for trained in labels
            ),
        )
        for agent in agents
        for split in splits
    }
    return Analysis(
        name="transfer",
        title="Transfer between generators",
        note="Mean reward of policies trained in the run of the row, with the generator and the "
        "prompts of the run of the column. The diagonal is no transfer.",
        tables=tables,
    )


def _check_tokenizers(sources: Sequence[RunFolder]) -> None:
    from benchmarks.policies import one_vocabulary
    from pcrl_gym.generators.loading import tokenizer_name

    names = dict.fromkeys(
        source.settings.get("tokenizer") or tokenizer_name(source.settings["generator"])
        for source in sources
    )
    if not one_vocabulary(names):
        raise ValueError(
            f"{', '.join(names)} have different tokenizers, and a policy knows the token ids of "
            "its own alone. Give runs that share one, by their generators or by --tokenizer"
        )


def _draw(figure: Figure, analysis: Analysis) -> None:
    across = min(3, len(analysis.tables))
    down = -(-len(analysis.tables) // across)
    panels = list(figure.subplots(down, across, squeeze=False).flat)
    for axes in panels[len(analysis.tables) :]:
        axes.set_visible(False)
    for axes, (heading, table) in zip(panels, analysis.tables.items(), strict=False):
        values = [[cell or 0.0 for cell in row[1:]] for row in table.rows]
        axes.imshow(values, vmin=0.0, vmax=1.0, cmap="cividis")
        for y, row in enumerate(values):
            for x, value in enumerate(row):
                dark = value < 0.6
                axes.text(x, y, f"{value:.2f}", ha="center", color="white" if dark else "black")
        names = list(table.columns[1:])
        axes.set_xticks(range(len(names)), names)
        axes.set_yticks(range(len(names)), names, rotation=90, va="center")
        axes.set_title(heading, fontsize="small")
        axes.set_ylabel("trained in")
        axes.set_xlabel("evaluated in")
