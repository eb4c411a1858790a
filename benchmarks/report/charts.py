"""Charts of the report by matplotlib: as PNG, and as SVG that stands in the page."""

from __future__ import annotations

import html
import io
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agents.runs.drawing import check_drawing, line_style, png
from benchmarks.analyses.analysis import Analysis
from benchmarks.report.data import Board, pareto_front

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from matplotlib.text import Annotation
    from matplotlib.transforms import Bbox

_HERE = Path(__file__).parent
_NEEDLESS = (
    r'<metadata>.*?</metadata>|<style.*?</style>| (xmlns(:\w+)?|id)="([a-z]+:[^"]+|[\w.]+_\d+)"'
)
_LABEL_PLACES = ((6, 0), (-6, 0), (6, 9), (6, -9), (-6, 9), (-6, -9), (6, 18), (6, -18))


def svg(draw: Callable[[Figure], None], size: tuple[float, float], title: str) -> str:
    """Return a drawing as an element of the page, in the page's colors; always the same.

    Args:
        draw: Draws into an empty figure.
        size: Width and height in inches.
        title: What is shown; no two drawings of a page may have the same.

    Raises:
        MissingExtraError: If matplotlib is not installed.
    """
    check_drawing()
    import matplotlib
    from matplotlib.figure import Figure

    file = io.StringIO()
    # The salt: else two drawings could have ids in common.
    with matplotlib.rc_context({"svg.hashsalt": title}, _HERE / "page.mplstyle"):
        figure = Figure(figsize=size, layout="constrained")
        draw(figure)
        figure.savefig(file, format="svg", transparent=True, metadata={"Date": None})
    drawn = re.sub(_NEEDLESS, "", file.getvalue().partition("<svg")[2], flags=re.S)
    light = (_HERE / "page.css").read_text(encoding="utf-8").partition("@media")[0]
    for name, color in re.findall(r"--(ground|ink|soft|rule|c\d): (#\w{6});", light):
        drawn = drawn.replace(color, f"var(--{name})")
    drawn = drawn.replace(">", f"><title>{html.escape(title)}</title>", 1)
    return f"<svg{drawn}".replace('id="label"', 'class="label"')


def scatter_png(boards: Sequence[Board]) -> bytes:
    """Draw one panel per split, see `draw_scatter`; as PNG."""
    panels = [(f"{b.title}\n{split}", rows) for b in boards for split, rows in b.rows.items()]
    across = min(3, len(panels))
    down = -(-len(panels) // across)

    def draw(figure: Figure) -> None:
        for place, (title, rows) in enumerate(panels, start=1):
            draw_scatter(figure, rows, title, (down, across, place))

    return png(draw, (4.4 * across, 3.8 * down), dpi=110)


def draw_scatter(
    figure: Figure,
    rows: Sequence[Mapping[str, Any]],
    title: str = "",
    place: tuple[int, int, int] = (1, 1, 1),
) -> None:
    """Draw compression ratio against similarity: an agent is a point, the Pareto front a line."""
    from matplotlib.transforms import Bbox

    axes = figure.add_subplot(*place)
    axes.set_title(title, fontsize="medium", parse_math=False)
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
    figure.draw_without_rendering()  # places the axes, and so the points
    taken = [Bbox([at - 4, at + 4]) for at in map(axes.transData.transform, points.values())]
    for row in sorted(rows, key=lambda row: -row["similarity"]):
        name, point = row["agent"] + " *" * row["oracle"], points[row["agent"]]
        label = axes.annotate(name, point, (6, 0), textcoords="offset points", in_layout=False)
        label.set(va="center", fontsize=8, gid="label")  # page.css knows them by that
        crowds = {}
        for offset in _LABEL_PLACES:
            box = _box(label, offset)
            outside = box.x0 < axes.bbox.x0 or box.x1 > axes.bbox.x1
            crowds[offset] = box.count_overlaps(taken) + 9 * outside
        taken.append(_box(label, min(crowds, key=crowds.__getitem__)))


def _box(label: Annotation, offset: tuple[int, int]) -> Bbox:
    label.set(position=offset, ha="left" if offset[0] > 0 else "right")
    return label.get_window_extent()


def draw_lines(figure: Figure, analysis: Analysis) -> None:
    """Draw an analysis' series; those of the seeds of one agent, `<agent>, seed <k>`, are equal."""
    axes = figure.subplots()
    styles: dict[str, dict[str, str]] = {}
    for line in analysis.series:
        agent = line.name.partition(", seed ")[0]
        label = agent if agent not in styles else None
        style = styles.setdefault(agent, line_style(len(styles)))
        few = len(line.points) <= 20
        axes.plot(*zip(*line.points, strict=True), label=label, **style, ms=5 if few else 0)
    axes.set(xlabel=analysis.x_label, ylabel=analysis.y_label)
    axes.grid()
    figure.legend(loc="outside lower center", ncols=3)
