"""What a report shows of a result folder, read from its files."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agents.runs.curve import series
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
    rows: dict[str, list[Any]]
    records: DataFrame | None
    run: dict[str, Any]
    analyses: list[Analysis]


def read_boards(folders: Sequence[Path]) -> list[Board]:
    """Read result folders.

    Raises:
        RunFolderError: If one is no result folder, is damaged or holds no finished results.
    """
    opened = [RunFolder(folder) for folder in folders]
    titles = [suite_title(one.settings).encode("utf-8", "replace").decode() for one in opened]
    return [
        _read(folder, title if titles.count(title) == 1 else f"{title} ({folder.path.name})")
        for folder, title in zip(opened, titles, strict=True)
    ]


def _read(folder: RunFolder, title: str) -> Board:
    path, runs = folder.path, [{}]
    summary, provenance = path / "summary.json", path / "provenance.json"
    records = folder.frame() if folder.has_results or not summary.is_file() else None
    try:
        published = json.loads(summary.read_bytes()) if records is None else []
        if provenance.is_file():
            runs = json.loads(provenance.read_bytes())["runs"]
        analyses = read_analyses(path)
        if any(path.glob("training/*/metrics.jsonl")):
            analyses.append(learning(path))
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise RunFolderError(
            f"{path}: summary, provenance, analyses or training cannot be read: {error!r}"
        ) from error
    rows: dict[str, list[Any]] = {}
    for row in published if records is None else make_rows(records, folder.settings):
        rows.setdefault(row["split"], []).append(row)
    return Board(title, folder.settings["generator_name"], rows, records, runs[-1], analyses)


def learning(folder: Path) -> Analysis:
    """Return the reward in training, a line per trained agent and seed.

    Each has a folder `training/<agent>-seed<k>` with `metrics.jsonl`, of which a last line that is
    torn, as while training, is left out.
    """
    import numpy as np

    lines = []
    for file in sorted(folder.glob("training/*-seed*/metrics.jsonl")):
        whole = file.read_text(encoding="utf-8").rpartition("\n")[0]
        rows = [json.loads(line) for line in whole.splitlines()]
        points = np.stack(series(rows, "update", "reward"), axis=1)
        if len(points):
            parts = np.array_split(points, min(len(points), MAX_POINTS))
            means = [tuple(part.mean(axis=0).round(4).tolist()) for part in parts]
            lines.append(Series(file.parent.name.replace("-seed", ", seed "), tuple(means)))
    note = "Mean reward in training, a line per seed; neighboring updates are averaged."
    labels = {"x_label": "episodes of training", "y_label": "reward"}
    return Analysis("learning", "Learning curves", note, {}, tuple(lines), **labels)


def pareto_front(rows: Sequence[Mapping[str, Any]]) -> set[str]:
    """Return the agents on the Pareto front of ratio and similarity.

    Agents that see the generator's answers are ceilings: they neither stand on the front nor push
    others off it.

    Example:
        >>> a = {"agent": "a", "compression_ratio": 0.5, "similarity": 0.7, "oracle": False}
        >>> b = {"agent": "b", "compression_ratio": 0.4, "similarity": 0.7, "oracle": False}
        >>> pareto_front([a, b])
        {'a'}
    """
    fair = [row for row in rows if not row["oracle"]]
    at = {row["agent"]: (row["compression_ratio"], row["similarity"]) for row in fair}

    def beaten(x: float, y: float) -> bool:
        return any(u >= x and v >= y and (u, v) != (x, y) for u, v in at.values())

    return {agent for agent, place in at.items() if not beaten(*place)}
