"""What a report shows of a result folder, read from its files."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.analyses.analysis import Analysis, Series, read_analyses
from benchmarks.records import RunFolder
from benchmarks.tables import make_rows, suite_title
from pcrl_gym.errors import RunFolderError

if TYPE_CHECKING:
    from pandas import DataFrame

MAX_POINTS = 100


@dataclass(frozen=True)
class Board:
    """A result folder, read.

    Attributes:
        title: Suite, version and limit; with the folder's name where two would be called the same.
        generator: Name of the generator.
        rows: Leaderboard rows of each split, in the order of the settings, best reward first.
        records: All records; None where standings were published without them.
        run: What `provenance.json` says of the last run.
        analyses: The folder's analyses, and how its agents learned.
    """

    title: str
    generator: str
    rows: dict[str, list[dict[str, Any]]]
    records: DataFrame | None
    run: dict[str, Any]
    analyses: list[Analysis]


def read_boards(folders: Sequence[Path]) -> list[Board]:
    """Read result folders.

    Raises:
        RunFolderError: If one is no result folder, is damaged or holds no finished results.
    """
    opened = [RunFolder(folder) for folder in folders]
    titles = [suite_title(folder.settings) for folder in opened]
    return [
        _read(folder, title if titles.count(title) == 1 else f"{title} ({folder.path.name})")
        for folder, title in zip(opened, titles, strict=True)
    ]


def _read(folder: RunFolder, title: str) -> Board:
    path, records, runs = folder.path, None, [{}]
    rows: dict[str, list[dict[str, Any]]] = {}
    summary, provenance = path / "summary.json", path / "provenance.json"
    try:
        if folder.has_results or not summary.is_file():
            records = folder.frame()
            found = make_rows(folder.records(), folder.settings)
        else:
            found = json.loads(summary.read_text(encoding="utf-8"))
        for row in found:
            rows.setdefault(row["split"], []).append(dict(row))
        analyses = read_analyses(path)
        if provenance.is_file():
            runs = json.loads(provenance.read_text(encoding="utf-8"))["runs"]
        if any(path.glob("training/*/metrics.jsonl")):
            analyses = [one for one in analyses if one.name != "learning"] + [learning(path)]
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        if isinstance(error, RunFolderError):
            raise
        raise RunFolderError(f"{path}: a file cannot be read: {error!r}") from error
    generator = folder.settings["generator_name"]
    return Board(title, generator, rows, records, runs[-1] if runs else {}, analyses)


def learning(folder: Path) -> Analysis:
    """Return the reward in training, a line per trained agent and seed.

    Each has a folder `training/<agent>-seed<k>` with `metrics.jsonl`. A last line that is torn, as
    while training, is left out.
    """
    import numpy as np
    import pandas

    lines = []
    for file in sorted(folder.glob("training/*-seed*/metrics.jsonl")):
        whole = file.read_text(encoding="utf-8").rpartition("\n")[0]
        rows = pandas.read_json(io.StringIO(whole), lines=True)
        rows = rows.reindex(columns=["kind", "episodes", "reward"])
        rows = rows[rows["kind"] == "update"].dropna()
        bins = np.arange(len(rows)) * MAX_POINTS // max(len(rows), MAX_POINTS)
        points = rows.groupby(bins)[["episodes", "reward"]].mean().round(4)
        agent, _, seed = file.parent.name.rpartition("-seed")
        if len(points):
            values = tuple(points.itertuples(index=False, name=None))
            lines.append(Series(f"{agent}, seed {seed}", values))
    note = "Mean reward in training, a line per seed; neighboring updates are averaged."
    labels = {"x_label": "episodes of training", "y_label": "reward"}
    return Analysis("learning", "Learning curves", note, {}, tuple(lines), **labels)


def pareto_front(rows: Sequence[Mapping[str, Any]]) -> set[str]:
    """Return the agents on the Pareto front of ratio and similarity.

    Agents that see the generator's answers are ceilings: they neither stand on the front nor push
    others off it.

    Example:
        >>> a = {"agent": "a", "compression_ratio": 0.5, "similarity": 0.7, "oracle": False}
        >>> b = {"agent": "b", "compression_ratio": 0.2, "similarity": 0.9, "oracle": False}
        >>> c = {"agent": "c", "compression_ratio": 0.2, "similarity": 0.8, "oracle": False}
        >>> sorted(pareto_front([a, b, c]))
        ['a', 'b']
    """
    fair = [row for row in rows if not row["oracle"]]
    places = {row["agent"]: (row["compression_ratio"], row["similarity"]) for row in fair}
    return {
        agent
        for agent, (x, y) in places.items()
        if not any(u >= x and v >= y and (u, v) != (x, y) for u, v in places.values())
    }
