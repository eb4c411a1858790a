"""What a report shows of a result folder, read from its files."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from benchmarks.analyses.analysis import read_analyses
from benchmarks.markdown import finite
from benchmarks.records import Record, RunFolder
from benchmarks.tables import make_rows, suite_title
from pcrl_gym.errors import RunFolderError

MAX_POINTS = 100
_TRAINED = re.compile(r"(?P<agent>.+)-seed(?P<seed>\d+)")
# The first that the trained agents of a folder have is the x axis of their curves.
_PROGRESS = {"episodes": "episodes of training", "seconds": "seconds of training"}


@dataclass(frozen=True, slots=True)
class Board:
    """A result folder, read.

    Attributes:
        title: Suite, version and limit; with the folder's name where two would be called the same.
        generator: Name of the generator.
        rows: Leaderboard rows, best reward first within a split.
        records: All records.
        runs: What `provenance.json` says of each run.
        analyses: The folder's analyses, as JSON objects.
        learning: Curves of training, see `learning_curves`.
    """

    title: str
    generator: str
    rows: list[dict[str, Any]]
    records: list[Record]
    runs: list[dict[str, Any]]
    analyses: list[dict[str, Any]]
    learning: dict[str, Any]

    @property
    def splits(self) -> list[str]:
        """Splits in the order of the settings."""
        return list(dict.fromkeys(row["split"] for row in self.rows))


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
    frame, records = folder.frame(), list(folder.records())
    try:
        analyses = [asdict(analysis) for analysis in read_analyses(folder.path)]
        runs = _runs(folder.path / "provenance.json")
        learning = learning_curves(folder.path / "agents")
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise RunFolderError(
            f"{folder.path}: provenance, analyses or training cannot be read: {error!r}"
        ) from error
    return Board(
        title=title,
        generator=folder.settings["generator_name"],
        rows=[dict(row) for row in make_rows(frame, folder.settings)],
        records=records,
        runs=runs,
        analyses=analyses,
        learning=learning,
    )


def _runs(file: Path) -> list[dict[str, Any]]:
    return json.loads(file.read_text(encoding="utf-8"))["runs"] if file.is_file() else []


def learning_curves(agents: Path) -> dict[str, Any]:
    """Return the reward in training, one line per trained agent and seed.

    In the folder `agents` each trained agent has a folder `<agent>-seed<k>`.

    Returns:
        `{"x_label": str, "series": [{"name", "group", "points"}]}` with the agent as group.
    """
    histories = {}
    for file in sorted(agents.glob("*/training.json")):
        if name := _TRAINED.fullmatch(file.parent.name):
            history = json.loads(file.read_text(encoding="utf-8"))
            histories[name["agent"], int(name["seed"])] = history
    updates = [update for history in histories.values() for update in history]
    key = next((key for key in _PROGRESS if any(key in update for update in updates)), "updates")
    series = []
    for (agent, seed), history in sorted(histories.items()):
        points = [
            (float(update[key]), float(update["reward"]))
            for update in history
            if finite(update.get(key)) is not None and finite(update.get("reward")) is not None
        ]
        if points:
            line = {"name": f"{agent}, seed {seed}", "group": agent, "points": thin(points)}
            series.append(line)
    return {"x_label": _PROGRESS.get(key, key), "series": series}


def thin(
    points: Sequence[tuple[float, float]], most: int = MAX_POINTS
) -> list[tuple[float, float]]:
    """Average neighbouring points, so that at most so many are left.

    Example:
        >>> thin([(1, 0.0), (2, 1.0), (3, 0.5), (4, 0.5)], most=2)
        [(1.5, 0.5), (3.5, 0.5)]
    """
    if len(points) <= most:
        return list(points)
    ends = [place * len(points) // most for place in range(most + 1)]
    bins = [points[start:end] for start, end in pairwise(ends)]
    return [
        (sum(x for x, _ in own) / len(own), round(sum(y for _, y in own) / len(own), 4))
        for own in bins
    ]


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


def board_facts(board: Board) -> dict[str, Any]:
    """Return the board without its prompts, as a JSON object for the page."""
    last = board.runs[-1] if board.runs else {}
    git = last.get("git") or {}
    commit = (git.get("commit") or "")[:12]
    return {
        "title": board.title,
        "generator": board.generator,
        "date": last.get("started", ""),
        "commit": f"{commit}, with uncommitted changes" if commit and git.get("dirty") else commit,
        "splits": [_split_facts(board, split) for split in board.splits],
        "analyses": board.analyses,
        "learning": board.learning,
    }


def _split_facts(board: Board, split: str) -> dict[str, Any]:
    own = [row for row in board.rows if row["split"] == split]
    front = pareto_front(own)
    rows = [
        {key: finite(value) for key, value in row.items()} | {"front": row["agent"] in front}
        for row in own
    ]
    prompts, seeds = max(row["n"] for row in own), max(row["seeds"] for row in own)
    return {"name": split, "prompts": prompts, "seeds": seeds, "rows": rows}
