"""PNG charts by matplotlib, which is only imported for drawing."""

from __future__ import annotations

import importlib.util
import io
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from pcrl_gym.errors import MissingExtraError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.text import Annotation
    from matplotlib.transforms import Bbox

_LABEL_PLACES = ((6, 0), (-6, 0), (6, 9), (6, -9), (-6, 9), (-6, -9), (6, 18), (6, -18))


def check_drawing() -> None:
    """Raise `MissingExtraError` if charts cannot be drawn."""
    if importlib.util.find_spec("matplotlib") is None:
        raise MissingExtraError("drawing needs matplotlib: pip install -e '.[agents]'")


def png(draw: Callable[[Figure], None], figsize: tuple[float, float], **options: Any) -> bytes:
    """Return the PNG of an empty figure, sized in inches, after `draw` has drawn into it."""
    check_drawing()
    from matplotlib.figure import Figure

    figure = Figure(figsize=figsize, layout="constrained", **options)
    draw(figure)
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=figure.dpi)
    return picture.getvalue()


def line_style(place: int) -> dict[str, str]:
    """Return the color and marker of one of several lines in a chart."""
    return {"color": f"C{place % 10}", "marker": "os^Dv*PX"[place % 8]}


def label_points(axes: Axes, points: Mapping[str, tuple[float, float]], size: float = 8) -> None:
    """Place names next to points with the fewest overlaps, starting at the highest point."""
    from matplotlib.transforms import Bbox

    axes.figure.draw_without_rendering()  # positions the axes and thus the points
    taken = [Bbox([at - 4, at + 4]) for at in map(axes.transData.transform, points.values())]
    for name, point in sorted(points.items(), key=lambda pair: -pair[1][1]):
        label = axes.annotate(name, point, (6, 0), textcoords="offset points", in_layout=False)
        label.set(va="center", fontsize=size, gid="label")  # for page.css of the report
        crowds = {}
        for offset in _LABEL_PLACES:
            box = _label_box(label, offset)
            outside = box.x0 < axes.bbox.x0 or box.x1 > axes.bbox.x1
            crowds[offset] = box.count_overlaps(taken) + 9 * outside
        taken.append(_label_box(label, min(crowds, key=crowds.__getitem__)))


def _label_box(label: Annotation, offset: tuple[int, int]) -> Bbox:
    label.set(position=offset, ha="left" if offset[0] > 0 else "right")
    return label.get_window_extent()
