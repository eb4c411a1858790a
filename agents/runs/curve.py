"""The learning curve of a run as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from agents.runs.drawing import png
from pcrl_gym.storage.atomic import write_file

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PANELS = {
    "reward": "reward",
    "compression_ratio": "compression ratio",
    "survived": "answers that survived",
    "entropy": "entropy (nats per prompt)",
}


def draw(rows: Sequence[dict[str, Any]], path: Path) -> None:
    """Draw reward, compression ratio, survived answers and entropy over scored masks.

    Figures of training are shown per update, pale, and smoothed; those of evaluations as points.

    Args:
        rows: Rows of `metrics.jsonl`.
        path: PNG file to replace.
    """
    write_file(path, png(lambda figure: _panels(figure, rows), (9, 6)))


def _panels(figure: Figure, rows: Sequence[dict[str, Any]]) -> None:
    for axes, (key, label) in zip(figure.subplots(2, 2).flat, PANELS.items(), strict=True):
        x, y = series(rows, "update", key)
        axes.plot(x, y, color="C0", alpha=0.25, linewidth=0.8)
        axes.plot(x, smooth(y), color="C0", label="training")
        x, y = series(rows, "evaluation", key)
        if len(x):
            axes.plot(x, y, color="C1", marker="o", markersize=3, label="evaluation")
            axes.legend()
        axes.set_xlabel("scored masks")
        axes.set_ylabel(label)
        axes.grid(alpha=0.3)


def series(rows: Sequence[dict[str, Any]], kind: str, key: str) -> tuple[np.ndarray, np.ndarray]:
    """Return episodes and values of one figure, where there is a value.

    Example:
        >>> rows = [{"kind": "update", "episodes": 8, "reward": 0.5}, {"kind": "evaluation"}]
        >>> series(rows, "update", "reward")
        (array([8.]), array([0.5]))
    """
    found = [
        (row["episodes"], row[key])
        for row in rows
        if row["kind"] == kind and row.get(key) is not None and "episodes" in row
    ]
    points = np.array(found, np.float64).reshape(-1, 2)
    return points[:, 0], points[:, 1]


def smooth(values: np.ndarray) -> np.ndarray:
    """Return the mean of each value and those before it, over a twentieth of the run.

    Example:
        >>> smooth(np.arange(40.0))[[0, 1, 39]]
        array([ 0. ,  0.5, 38.5])
    """
    window = max(1, len(values) // 20)
    sums = np.concatenate([[0.0], np.cumsum(values)])
    ends = np.arange(1, len(values) + 1)
    starts = np.maximum(0, ends - window)
    return (sums[ends] - sums[starts]) / (ends - starts)
