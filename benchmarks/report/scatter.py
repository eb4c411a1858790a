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
    """Draw one panel per split: an agent is a point, the Pareto front a line; as PNG.

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
    styles = {
        True: {"marker": "D", "color": "C3", "fillstyle": "none"},
        False: {"marker": "o", "color": "C0", "fillstyle": "full"},
    }
    for row in rows:
        style = styles[row["oracle"]] | {"markersize": 5, "linestyle": ""}
        panel.plot(row["compression_ratio"], row["similarity"], **style)
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
        fits = {True: share * width + length < width, False: share * width > length}
        places = [place for place in _LABEL_PLACES if fits[place[0] > 0]] or list(_LABEL_PLACES)
        boxes = {}
        for dx, dy in places:
            left = at[0] + dx - (length if dx < 0 else 0)
            boxes[dx, dy] = (left, at[1] + dy - 4, left + length, at[1] + dy + 4)
        free = (p for p in places if not any(_meet(boxes[p], other) for other in taken))
        best = next(free, places[0])
        taken.append(boxes[best])
        panel.annotate(
            name,
            (row["compression_ratio"], row["similarity"]),
            xytext=best,
            textcoords="offset points",
            fontsize=8,
            va="center",
            path_effects=[withStroke(linewidth=2.5, foreground="white")],
            ha="left" if best[0] > 0 else "right",
        )


def _meet(one: _Box, other: _Box) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]
