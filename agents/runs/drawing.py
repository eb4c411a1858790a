"""Pictures as PNG, by matplotlib, which is only loaded to draw."""

from __future__ import annotations

import importlib.util
import io
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from pcrl_gym.errors import MissingExtraError

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def check_drawing() -> None:
    """Refuse to continue if pictures cannot be drawn."""
    if importlib.util.find_spec("matplotlib") is None:
        raise MissingExtraError("drawing needs matplotlib: pip install -e '.[agents]'")


def png(draw: Callable[[Figure], None], figsize: tuple[float, float], **options: Any) -> bytes:
    """Return a PNG file of what `draw` draws into an empty figure, with its size in inches."""
    check_drawing()
    from matplotlib.figure import Figure

    figure = Figure(figsize=figsize, layout="constrained", **options)
    draw(figure)
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=figure.dpi)
    return picture.getvalue()


def line_style(place: int) -> dict[str, str]:
    """Return color and marker of one of several lines in a chart."""
    return {"color": f"C{place % 10}", "marker": "os^Dv*PX"[place % 8]}
