"""Compression ratio against similarity as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from agents.runs.drawing import png
from benchmarks.report.data import Board, pareto_front

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_LABEL_PLACES = ((6, 0), (6, 9), (6, -9), (-6, 0), (-6, 9), (-6, -9), (6, 18), (6, -18))

_Box = tuple[float, float, float, float]  # left, bottom, right, top in points


def scatter_png(boards: Sequence[Board]) -> bytes:
    """Draw one panel per split: an agent is a point, the Pareto front a line.

    Args:
        boards: Result folders, read.

    Returns:
        A PNG file.

    Raises:
        MissingExtraError: If Matplotlib is not installed.
    """
    panels = [(board, split) for board in boards for split in board.splits]
    columns = min(3, len(panels))
    lines = -(-len(panels) // columns)

    def draw(figure: Figure) -> None:
        axes = list(figure.subplots(lines, columns, squeeze=False).flat)
        for panel, (board, split) in zip(axes, panels, strict=False):
            _draw(panel, [row for row in board.rows if row["split"] == split])
            panel.set_title(f"{board.title}\n{split}", fontsize="medium", parse_math=False)
        for panel in axes[len(panels) :]:
            panel.set_visible(False)

    return png(draw, (4.4 * columns, 3.8 * lines), dpi=110)


def _draw(panel: Any, rows: Sequence[dict[str, Any]]) -> None:
    front = pareto_front(rows)
    best = sorted(
        (row["compression_ratio"], row["similarity"]) for row in rows if row["agent"] in front
    )
    if best:
        panel.plot(*zip(*best, strict=True), color="0.6", linewidth=1, zorder=1)
    for row in rows:
        oracle = row["oracle"]
        panel.plot(
            row["compression_ratio"],
            row["similarity"],
            marker="D" if oracle else "o",
            markersize=5,
            linestyle="",
            color="C3" if oracle else "C0",
            fillstyle="none" if oracle else "full",
        )
    panel.margins(x=0.12, y=0.12)
    panel.set_xlabel("compression ratio")
    panel.set_ylabel("similarity")
    panel.grid(alpha=0.3)
    _label(panel, rows)


def _label(panel: Any, rows: Sequence[dict[str, Any]]) -> None:
    """Write each name where it covers no other, as far as there is such a place."""
    from matplotlib.patheffects import withStroke

    taken = []
    x_low, x_high = panel.get_xlim()
    width = 270.0  # of a panel in points, about
    for row in sorted(rows, key=lambda row: -row["similarity"]):
        at = panel.transData.transform((row["compression_ratio"], row["similarity"]))
        at = at * 72 / panel.figure.dpi
        name = row["agent"] + (" *" if row["oracle"] else "")
        length = 4.6 * len(name)
        share = (row["compression_ratio"] - x_low) / (x_high - x_low)
        places = [
            place
            for place in _LABEL_PLACES
            if (place[0] > 0 and share * width + length < width)
            or (place[0] < 0 and share * width > length)
        ] or list(_LABEL_PLACES)
        boxes = []
        for dx, dy in places:
            left = at[0] + dx - (length if dx < 0 else 0)
            boxes.append((left, at[1] + dy - 4, left + length, at[1] + dy + 4))
        free = [i for i, box in enumerate(boxes) if not any(_meet(box, other) for other in taken)]
        best = free[0] if free else 0
        taken.append(boxes[best])
        panel.annotate(
            name,
            (row["compression_ratio"], row["similarity"]),
            xytext=places[best],
            textcoords="offset points",
            fontsize=8,
            va="center",
            path_effects=[withStroke(linewidth=2.5, foreground="white")],
            ha="left" if places[best][0] > 0 else "right",
        )


def _meet(one: _Box, other: _Box) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]
