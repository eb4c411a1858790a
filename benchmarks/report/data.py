"""Data of a report, read from the files of result folders."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from agents.runs.curve import read_rows, series
from benchmarks.analyses.analysis import Analysis, Series, read_analyses
from benchmarks.records import RunFolder
from benchmarks.tables import make_rows, suite_title
from pcrl_gym.errors import RunFolderError

if TYPE_CHECKING:
    from pandas import DataFrame

MAX_POINTS = 100


@dataclass(frozen=True)
class Board:
    """Contents of a result folder."""

    title: str  # suite, version and limit; with the folder's name if two titles are equal
    generator: str
    rows: dict[str, list[Any]]  # leaderboard rows of each split, best reward first
    records: DataFrame
    run: dict[str, Any]  # the last run in provenance.json
    analyses: list[Analysis]  # those of the folder, and the learning curves


def read_boards(folders: Sequence[Path]) -> list[Board]:
    """Read result folders; raise RunFolderError if one is damaged or has no results."""
    opened = [RunFolder(folder) for folder in folders]
    titles = [suite_title(one.settings).encode("utf-8", "replace").decode() for one in opened]
    return [
        _read(folder, title if titles.count(title) == 1 else f"{title} ({folder.path.name})")
        for folder, title in zip(opened, titles, strict=True)
    ]


def _read(folder: RunFolder, title: str) -> Board:
    path, runs, records = folder.path, [{}], folder.frame()
    try:
        if (provenance := path / "provenance.json").is_file():
            runs = json.loads(provenance.read_bytes())["runs"]
        analyses = [one for one in read_analyses(path) if one.tables or one.series]
        if any(path.glob("training/*/metrics.jsonl")):
            analyses += [learning(path, "episodes"), learning(path, "seconds")]
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise RunFolderError(
            f"{path}: provenance, analyses or training cannot be read: {error!r}"
        ) from error
    rows: dict[str, list[Any]] = {}
    for row in make_rows(records, folder.settings):
        rows.setdefault(row["split"], []).append(row)
    return Board(title, folder.settings["generator_name"], rows, records, runs[-1], analyses)


def learning(folder: Path, over: Literal["episodes", "seconds"] = "episodes") -> Analysis:
    """Return the training rewards of a result folder, with a line per agent and seed."""
    import numpy as np

    lines = []
    for file in sorted(folder.glob("training/*-seed*/metrics.jsonl")):
        points = series(read_rows(file), "update", "reward", over).reset_index()
        if len(points):
            parts = np.array_split(points.to_numpy(), min(len(points), MAX_POINTS))
            means = [tuple(part.mean(axis=0).round(4).tolist()) for part in parts]
            lines.append(Series(file.parent.name.replace("-seed", ", seed "), tuple(means)))
    name = "learning" if over == "episodes" else "learning-seconds"
    note = "Mean reward in training, a line per seed. Neighboring updates are averaged."
    return Analysis(name, f"Learning curves over {over}", note, {}, tuple(lines))


def pareto_front(rows: Sequence[Mapping[str, Any]]) -> set[str]:
    """Return the agents on the Pareto front of ratio and similarity.

    Agents that see the generator's answers are ignored.
    """
    fair = [(r["agent"], r["compression_ratio"], r["similarity"]) for r in rows if not r["oracle"]]
    return {
        agent
        for agent, x, y in fair
        if not any(u >= x and v >= y and (u, v) != (x, y) for _, u, v in fair)
    }
