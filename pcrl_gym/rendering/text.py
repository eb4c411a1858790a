"""Render frames as text, and define the render modes of the environments."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from gymnasium import logger
from numpy.typing import NDArray

from pcrl_gym.errors import MissingExtraError
from pcrl_gym.rendering.frame import Frame, mark, summary, visible

if TYPE_CHECKING:
    import numpy as np

RENDER_MODES = ["ansi", "human", "rgb_array"]
RENDER_FPS = 1

_STRIKE = "\x1b[9;31m{}\x1b[0m"


def check_render_mode(mode: str | None) -> None:
    """Raise early if `mode` is unknown (ValueError) or lacks Pillow (MissingExtraError)."""
    if mode is not None and mode not in RENDER_MODES:
        raise ValueError(f"expected render_mode None or one of {RENDER_MODES}, got {mode!r}")
    if mode == "rgb_array":
        try:
            import PIL  # noqa: F401
        except ImportError as error:
            raise MissingExtraError(
                "render_mode='rgb_array' needs Pillow: pip install 'pcrl-gym[render]'"
            ) from error


def render_frame(frame: Frame, mode: str | None) -> str | NDArray[np.uint8] | None:
    """Return a text for mode "ansi", or uint8 (height, width, 3) for "rgb_array"."""
    if mode is None:
        logger.warn(
            "You are calling render() without specifying a render mode: pass "
            'render_mode="ansi" or "rgb_array" to gym.make'
        )
    if mode == "ansi":
        return render_ansi(frame)
    if mode == "rgb_array":
        from pcrl_gym.rendering.picture import draw_frame

        return draw_frame(frame)
    return None


def print_frame(frame: Frame) -> None:
    """Print the frame to stdout, replacing characters that its encoding does not support."""
    encoding = sys.stdout.encoding or "utf-8"
    print(render_ansi(frame).encode(encoding, "replace").decode(encoding), flush=True)


def stdout_takes_color() -> bool:
    """Return whether stdout is a terminal and NO_COLOR (https://no-color.org) is not set."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR")


def render_ansi(frame: Frame, *, color: bool | None = None) -> str:
    """Return the prompt as text, followed by answers and reward terms after the last step.

    Args:
        frame: The frame to render.
        color: Whether to show dropped units in red and struck through (ANSI SGR 9) instead of
            marking them `~~so~~`. If None, whether stdout takes color.
    """
    lines = [f"[{visible(frame.episode.prompt.id)}]", painted(frame, color=color).rstrip("\n")]
    return "\n".join(lines + summary(frame))


def painted(frame: Frame, *, color: bool | None = None) -> str:
    """Return the text of the prompt with its dropped units marked; see `render_ansi`."""
    color = stdout_takes_color() if color is None else color
    dropped = _STRIKE if color else "~~{}~~"
    return mark(frame, {"kept": "{}", "dropped": dropped, "protected": "{}"})
