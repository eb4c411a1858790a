"""Metrics of a run over its updates: the metrics file and the learning curve."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agents.runs.drawing import png
from pcrl_gym.errors import RunFolderError
from pcrl_gym.storage.atomic import write_file

if TYPE_CHECKING:
    import pandas
    from matplotlib.figure import Figure

PANELS = {
    "reward": "reward",
    "compression_ratio": "compression ratio",
    "survived": "answers that survived",
    "entropy": "entropy (nats per prompt)",
}


def draw(rows: Sequence[dict[str, Any]], path: Path) -> None:
    """Draw reward, compression ratio, survived answers and entropy over scored masks.

    Training metrics are shown per update (pale) and as a running mean over a twentieth of the run;
    evaluation metrics are shown as points.
    """
    write_file(path, png(lambda figure: _panels(figure, rows), (9, 6)))


def _panels(figure: Figure, rows: Sequence[dict[str, Any]]) -> None:
    for axes, (key, label) in zip(figure.subplots(2, 2).flat, PANELS.items(), strict=True):
        figures = series(rows, "update", key)
        smooth = figures.rolling(max(1, len(figures) // 20), min_periods=1).mean()
        axes.plot(figures, color="C0", alpha=0.25, linewidth=0.8)
        axes.plot(smooth, color="C0", label="training")
        figures = series(rows, "evaluation", key)
        if len(figures):
            axes.plot(figures, color="C1", marker="o", markersize=3, label="evaluation")
            axes.legend()
        axes.set_xlabel("scored masks")
        axes.set_ylabel(label)
        axes.grid(alpha=0.3)


def read_rows(file: Path) -> list[dict[str, Any]]:
    """Return the rows of a `metrics.jsonl` without an incomplete last one; empty if missing."""
    text = file.read_bytes() if file.is_file() else b""
    rows = []
    for number, line in enumerate(text.split(b"\n")[:-1], start=1):
        try:
            rows.append(json.loads(line))
        except ValueError as error:
            raise RunFolderError(
                f"{file}, line {number}: {error}. Delete the line to continue"
            ) from error
    return rows


def series(
    rows: Sequence[dict[str, Any]], kind: str, key: str, over: str = "episodes"
) -> pandas.Series:
    """Return the values of one metric by another, from rows that have both."""
    import pandas

    own = [row for row in rows if row["kind"] == kind and over in row]
    values = {row[over]: row[key] for row in own if row.get(key) is not None}
    return pandas.Series(values, dtype=float)
