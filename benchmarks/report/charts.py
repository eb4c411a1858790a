"""Charts of the report by matplotlib: as PNG, and as SVG that stands in the page."""

from __future__ import annotations

import html
import io
import re
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from agents.runs.drawing import check_drawing, line_style, png
from benchmarks.analyses.analysis import Analysis
from benchmarks.report.data import Board, pareto_front

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from matplotlib.text import Annotation
    from matplotlib.transforms import Bbox

_LINES = ("#1f5c99", "#b3541e", "#2e7d4f", "#8b3a8f", "#8a6d00", "#b02a4c", "#00737d", "#5b5f66")
_INK, _SOFT, _RULE = "#1d2126", "#565e68", "#dcd9d3"
# Colors of a drawing, and the names of those of page.css, which has them for light and dark.
_THEME = {color: f"c{place}" for place, color in enumerate(_LINES)}
_THEME |= {_INK: "ink", _SOFT: "soft", _RULE: "rule"}
_NEEDLESS = r'<metadata>.*?</metadata>|<style.*?</style>| (xmlns(:\w+)?|id)="([a-z]+:[^"]+|[\w.]+_\d+)"'
_LABEL_PLACES = ((6, 0), (-6, 0), (6, 9), (6, -9), (-6, 9), (-6, -9), (6, 18), (6, -18))


def svg(draw: Callable[[Figure], None], size: tuple[float, float], title: str, text: str) -> str:
    """Return a drawing as an element of an HTML page, in the page's colors; always the same.

    Args:
        draw: Draws into an empty figure.
        size: Width and height in inches.
        title: What is shown; no two drawings of a page may have the same.
        text: What can be seen, for those who cannot.

    Raises:
        MissingExtraError: If matplotlib is not installed.
    """
    check_drawing()
    import matplotlib
    from matplotlib.figure import Figure

    style = {
        "axes.edgecolor": _SOFT, "axes.labelcolor": _INK, "text.color": _INK, "grid.color": _RULE,
        "xtick.color": _SOFT, "ytick.color": _SOFT, "legend.frameon": False, "font.size": 9,
        "axes.prop_cycle": matplotlib.cycler(color=_LINES), "svg.fonttype": "none",
        "svg.hashsalt": title,  # else two drawings could have ids in common
    }  # fmt: skip
    file = io.StringIO()
    with matplotlib.rc_context(style):
        figure = Figure(figsize=size, layout="constrained")
        draw(figure)
        figure.savefig(file, format="svg", transparent=True, metadata={"Date": None})
    drawn = re.sub(_NEEDLESS, "", file.getvalue().partition("<svg ")[2], flags=re.S)
    drawn = drawn.replace('id="label"', 'class="label"')
    drawn = re.sub("|".join(_THEME), lambda found: f"var(--{_THEME[found[0]]})", drawn)
    start = f'<svg class="chart" role="img" aria-label="{html.escape(f"{title}. {text}")}" '
    return start + drawn.replace(">", f"><title>{html.escape(title)}</title>", 1)


def scatter_png(boards: Sequence[Board]) -> bytes:
    """Draw one panel per split, see `draw_scatter`; as PNG."""
    panels = [(f"{b.title}\n{split}", rows) for b in boards for split, rows in b.rows.items()]
    across = min(3, len(panels))
    down = -(-len(panels) // across)

    def draw(figure: Figure) -> None:
        axes = list(figure.subplots(down, across, squeeze=False).flat)
        for panel in axes[len(panels) :]:
            panel.remove()
        for panel, (title, rows) in zip(axes, panels, strict=False):
            panel.set_title(title, fontsize="medium", parse_math=False)
            draw_scatter(panel, rows)

    return png(draw, (4.4 * across, 3.8 * down), dpi=110)


def draw_scatter(axes: Any, rows: Sequence[Mapping[str, Any]]) -> None:
    """Draw compression ratio against similarity: an agent is a point, the Pareto front a line."""
    from matplotlib.transforms import Bbox

    front = pareto_front(rows)
    points = {row["agent"]: (row["compression_ratio"], row["similarity"]) for row in rows}
    best = sorted(points[agent] for agent in front)
    axes.plot([x for x, _ in best], [y for _, y in best], "--", color=_SOFT, linewidth=1)
    for row in rows:
        marker, color = ("D", _LINES[1]) if row["oracle"] else ("o", _LINES[0])
        fill = "full" if row["agent"] in front else "none"
        axes.plot(*points[row["agent"]], marker, color=color, fillstyle=fill, markersize=5)
    axes.margins(0.1)
    axes.set(xlabel="compression ratio", ylabel="similarity")
    axes.grid(alpha=0.5)
    axes.figure.draw_without_rendering()  # places the axes, and so the points
    taken = [Bbox([at - 4, at + 4]) for at in map(axes.transData.transform, points.values())]
    for row in sorted(rows, key=lambda row: -row["similarity"]):
        name, point = row["agent"] + " *" * row["oracle"], points[row["agent"]]
        label = axes.annotate(name, point, (6, 0), textcoords="offset points", in_layout=False)
        label.set(va="center", fontsize=8, gid="label")  # page.css knows them by that
        boxes = {place: _box(label, place) for place in _LABEL_PLACES}
        crowds = {
            place: box.count_overlaps(taken) + 9 * (box.x0 < axes.bbox.x0 or box.x1 > axes.bbox.x1)
            for place, box in boxes.items()
        }
        taken.append(_box(label, min(crowds, key=crowds.__getitem__)))


def _box(label: Annotation, place: tuple[int, int]) -> Bbox:
    label.set(position=place, ha="left" if place[0] > 0 else "right")
    return label.get_window_extent()


def draw_lines(figure: Figure, analysis: Analysis) -> None:
    """Draw an analysis' series; those of the seeds of one agent, `<agent>, seed <k>`, are equal."""
    axes = figure.subplots()
    agents = [line.name.partition(", seed ")[0] for line in analysis.series]
    places = {agent: place for place, agent in enumerate(dict.fromkeys(agents))}
    for line, agent in zip(analysis.series, agents, strict=True):
        style = line_style(places[agent]) | ({} if len(line.points) <= 20 else {"marker": ""})
        axes.plot(*zip(*line.points, strict=True), label=agent, linewidth=1.3, **style)
    axes.set(xlabel=analysis.x_label, ylabel=analysis.y_label)
    axes.grid(alpha=0.5)
    handles, labels = axes.get_legend_handles_labels()
    legend = dict(zip(labels, handles, strict=True))
    figure.legend(legend.values(), legend.keys(), loc="outside lower center", ncols=3)
