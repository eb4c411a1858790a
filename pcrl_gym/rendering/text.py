"""Render modes: the prompt with its dropped units struck through, as text or as a picture."""

from __future__ import annotations

import math
import os
import re
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from gymnasium import logger
from numpy.typing import NDArray

from pcrl_gym.errors import MissingExtraError

if TYPE_CHECKING:
    import numpy as np

    from pcrl_gym.episodes.episode import Episode

RENDER_MODES = ["ansi", "human", "rgb_array"]
RENDER_FPS = 1

State: TypeAlias = Literal["kept", "dropped", "protected"]

_TERMS = ("similarity", "compression_ratio", "drop_rate", "log_likelihood")
_STRIKE, _RESET = "\x1b[9;31m", "\x1b[0m"
# All control characters but tab and line feed: they would act on the terminal that prints them.
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\u202a-\u202e\u2066-\u2069]")


@dataclass(frozen=True, slots=True)
class Frame:
    """What one picture shows.

    Attributes:
        episode: The episode.
        kept: Bool (n_units,), the units that are still in the prompt.
        info: Info of the last step with the answers and reward terms; None before it.
        reward: Reward of the last step.
    """

    episode: Episode
    kept: NDArray[np.bool_]
    info: dict[str, Any] | None = None
    reward: float = 0.0


def check_render_mode(mode: str | None) -> None:
    """Raise early if `mode` is unknown (ValueError) or lacks Pillow (MissingExtraError)."""
    if mode is not None and mode not in RENDER_MODES:
        raise ValueError(f"expected render_mode None or one of {RENDER_MODES}, got {mode!r}")
    if mode == "rgb_array":
        try:
            import PIL  # noqa: F401
        except ImportError as error:
            raise MissingExtraError(
                "render_mode='rgb_array' draws with Pillow: pip install 'pcrl-gym[render]'"
            ) from error


def render_frame(frame: Frame, mode: str | None) -> str | NDArray[np.uint8] | None:
    """Return a text for mode "ansi", uint8 (height, width, 3) for "rgb_array"."""
    if mode is None:
        logger.warn('render() needs a mode: gym.make(..., render_mode="ansi" or "rgb_array")')
    if mode == "ansi":
        return render_ansi(frame, color=stdout_takes_color())
    if mode == "rgb_array":
        from pcrl_gym.rendering.picture import draw_frame

        return draw_frame(frame)
    return None


def print_frame(frame: Frame) -> None:
    """Print the frame to stdout; what its encoding cannot show is replaced."""
    encoding = sys.stdout.encoding or "utf-8"
    text = render_ansi(frame, color=stdout_takes_color())
    print(text.encode(encoding, "replace").decode(encoding), flush=True)


def stdout_takes_color() -> bool:
    """Return whether stdout is a terminal and NO_COLOR (https://no-color.org) is not set."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR")


def render_ansi(frame: Frame, *, color: bool) -> str:
    """Return the frame as text.

    Args:
        frame: What to show.
        color: Dropped units in red and struck through (ANSI SGR 9); else marked `~~so~~`.

    Returns:
        The prompt, then, after the last step, both answers and the reward terms.
    """
    lines = [f"[{visible(frame.episode.prompt.id)}]", painted(frame, color=color).rstrip("\n")]
    return "\n".join(lines + summary(frame))


def painted(frame: Frame, *, color: bool) -> str:
    """Return the text of the prompt with its dropped units marked; see `render_ansi`."""
    left, right = (_STRIKE, _RESET) if color else ("~~", "~~")
    parts = []
    for text, state in segments(frame):
        if state == "dropped":
            word = text.lstrip()
            space = text[: len(text) - len(word)]
            parts.append(f"{space}{left}{word}{right}" if word else f"{left}{text}{right}")
        else:
            parts.append(text)
    return "".join(parts)


def segments(frame: Frame) -> list[tuple[str, State]]:
    """Return the prompt cut where the state of the units changes, safe to print."""
    cut: list[tuple[str, State]] = []
    start = 0
    states: list[State] = [
        "dropped" if not kept else "kept" if droppable else "protected"
        for kept, droppable in zip(frame.kept, frame.episode.droppable, strict=True)
    ]
    spans = frame.episode.spans
    for i, (_, end) in enumerate(spans):
        if i + 1 == len(spans) or states[i + 1] != states[i]:
            cut.append((visible(frame.episode.text[start:end]), states[i]))
            start = end
    return cut


def summary(frame: Frame) -> list[str]:
    """Answer and reward terms of a finished episode, one line each; nothing before its end."""
    info = frame.info
    if info is None:
        return []
    lines = [f"answer to the original:   {_one_line(info['output'])}"]
    if "compressed_output" in info:
        end = " [unfinished]" if info.get("partial") else ""
        lines.append(f"answer to the compressed: {_one_line(info['compressed_output'])}{end}")
    return [*lines, " | ".join(" ".join(term) for term in terms(frame))]


def terms(frame: Frame) -> list[tuple[str, str]]:
    """Return names and values of the reward terms of a finished episode; nothing before its end."""
    info = frame.info
    if info is None:
        return []
    values = [("reward", f"{frame.reward:.3f}")]
    if info.get("partial"):
        values.append(("survived", str(info["survived"])))
    measured = [(term, info.get(term, math.nan)) for term in _TERMS]
    values += [(term, f"{value:.3f}") for term, value in measured if not math.isnan(value)]
    return [*values, ("tokens", f"{info['original_tokens']} -> {info['compressed_tokens']}")]


def visible(text: str) -> str:
    r"""Return the text that is safe to print: control characters and lone surrogates are replaced.

    >>> visible("a\x1b[2Jb\n")
    'a\u241b[2Jb\n'
    """
    return _CONTROL.sub(
        lambda match: chr(0x2400 + ord(match[0])) if match[0] < " " else "\ufffd",
        text.replace("\r\n", "\n").replace("\t", "    "),
    )


def _one_line(text: str) -> str:
    return " ".join(visible(text).split())
