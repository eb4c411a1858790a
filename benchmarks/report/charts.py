"""Charts of the report by matplotlib, as PNG and as inline SVG."""

from __future__ import annotations

import html
import io
import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agents.runs.drawing import check_drawing, label_points, line_style, png
from benchmarks.analyses.analysis import Analysis
from benchmarks.report.data import Board, pareto_front

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_HERE = Path(__file__).parent
_NEEDLESS = (
    r'<metadata>.*?</metadata>|<style.*?</style>| (xmlns(:\w+)?|id)="([a-z]+:[^"]+|[\w.]+_\d+)"'
)


def svg(
    draw: Callable[[Figure, Any], None], subject: Any, size: tuple[float, float], title: str
) -> str:
    """Return a reproducible SVG element in the page's colors, with the size in inches."""
    check_drawing()
    import matplotlib
    from matplotlib.figure import Figure

    file = io.StringIO()
    # The salt keeps IDs of drawings distinct, so no two drawings may have the same title.
    with matplotlib.rc_context({"svg.hashsalt": title}, _HERE / "page.mplstyle"):
        figure = Figure(figsize=size, layout="constrained")
        draw(figure, subject)
        figure.savefig(file, format="svg", transparent=True, metadata={"Date": None})
    drawn = re.sub(_NEEDLESS, "", file.getvalue().partition("<svg")[2], flags=re.S)
    light = (_HERE / "page.css").read_text(encoding="utf-8").partition("@media")[0]
    for name, color in re.findall(r"--(ground|ink|soft|rule|c\d): (#\w{6});", light):
        drawn = drawn.replace(color, f"var(--{name})")
    drawn = drawn.replace(">", f"><title>{html.escape(title)}</title>", 1)
    return f"<svg{drawn}".replace('id="label"', 'class="label"')


def scatter_png(boards: Sequence[Board]) -> bytes:
    """Return a PNG with one panel per split."""
    panels = {f"{b.title}\n{split}": rows for b in boards for split, rows in b.rows.items()}
    size = 4.4 * min(3, len(panels)), 3.8 * -(-len(panels) // 3)
    return png(partial(draw_scatter, panels=panels), size, dpi=110)


def draw_scatter(figure: Figure, panels: Mapping[str, Sequence[Mapping[str, Any]]]) -> None:
    """Draw a panel per title: ratio and similarity of agents, with the Pareto front as a line."""
    for place, (title, rows) in enumerate(panels.items(), start=1):
        axes = figure.add_subplot(-(-len(panels) // 3), min(3, len(panels)), place)
        axes.set_title(title, fontsize="medium", parse_math=False)
        _draw_rows(axes, rows)


def _draw_rows(axes: Axes, rows: Sequence[Mapping[str, Any]]) -> None:
    front = pareto_front(rows)
    points = {row["agent"]: (row["compression_ratio"], row["similarity"]) for row in rows}
    best = sorted(points[agent] for agent in front)
    axes.plot([x for x, _ in best], [y for _, y in best], "--", color="#565e68", linewidth=1)
    for row in rows:
        fill = "full" if row["agent"] in front else "none"
        axes.plot(*points[row["agent"]], "C1D" if row["oracle"] else "C0o", fillstyle=fill, ms=5)
    axes.margins(0.1)
    axes.set(xlabel="compression ratio", ylabel="similarity")
    axes.grid(alpha=0.5)
    label_points(axes, {row["agent"] + " *" * row["oracle"]: points[row["agent"]] for row in rows})


def draw_lines(figure: Figure, analysis: Analysis) -> None:
    """Draw the series of an analysis; seeds of one agent, `<agent>, seed <k>`, share a style."""
    axes = figure.subplots()
    styles: dict[str, dict[str, str]] = {}
    for line in analysis.series:
        agent = line.name.partition(", seed ")[0]
        label = agent if agent not in styles else None
        style = styles.setdefault(agent, line_style(len(styles)))
        few = len(line.points) <= 20
        axes.plot(*zip(*line.points, strict=True), label=label, **style, ms=5 if few else 0)
    over = "seconds" if analysis.name == "learning-seconds" else "episodes"
    axes.set(xlabel=f"{over} of training", ylabel="reward")
    axes.grid()
    figure.legend(loc="outside lower center", ncols=3)
