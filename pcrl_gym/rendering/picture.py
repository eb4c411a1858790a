"""Draw frames of a fixed size with Pillow, for `render_mode="rgb_array"`."""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from pcrl_gym.rendering.frame import Frame, State, segments, summary, visible

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

WIDTH, HEIGHT = 960, 540
_MARGIN = 28
_HEAD, _FOOT = 44, 128
_SIZES = (24, 20, 17, 14, 12)
_COLORS: dict[State, str] = {"kept": "#1c1c1c", "protected": "#8a8a8a", "dropped": "#c62828"}
# Pillow's own font has only unaccented Latin letters, so a system font is used if available.
_SYSTEM_FONTS = ("DejaVuSans.ttf", "Arial Unicode.ttf", "arial.ttf")

Font: TypeAlias = "ImageFont.FreeTypeFont | ImageFont.ImageFont"
Line: TypeAlias = "list[tuple[float, str, State]]"


def draw_frame(frame: Frame) -> NDArray[np.uint8]:
    """Draw the prompt with dropped units in red and struck through, and reward terms below.

    The text is as large as the space allows. Text that does not fit at the smallest size is left
    out, and a line says so.

    Returns:
        uint8 (540, 960, 3).
    """
    image = Image.new("RGB", (WIDTH, HEIGHT), "white")
    draw = ImageDraw.Draw(image)
    title = f"{visible(frame.episode.prompt.id)}   (gray: protected, red: dropped)"
    _draw_line(draw, [(0.0, title, "protected")], _font(13), 14)
    _draw_prompt(draw, segments(frame))
    draw.line([(_MARGIN, HEIGHT - _FOOT), (WIDTH - _MARGIN, HEIGHT - _FOOT)], "#d0d0d0", 1)
    font = _font(15)
    for i, text in enumerate(summary(frame)):
        lines, complete = _wrap([(text, "kept")], font, 1)
        if not complete:
            end = max((x + font.getlength(part) for x, part, _ in lines[0]), default=0.0)
            lines[0].append((end, " ...", "kept"))
        _draw_line(draw, lines[0], font, HEIGHT - _FOOT + 16 + 34 * i)
    return np.array(image, np.uint8)


def _draw_prompt(draw: ImageDraw.ImageDraw, cut: Sequence[tuple[str, State]]) -> None:
    for size in _SIZES:
        font, step = _font(size), round(size * 1.4)
        rows = (HEIGHT - _HEAD - _FOOT) // step
        lines, complete = _wrap(cut, font, rows)
        if complete:
            break
    if not complete:
        lines[-1] = [(0.0, "... the rest of the prompt does not fit in the picture", "protected")]
    for row, line in enumerate(lines):
        _draw_line(draw, line, font, _HEAD + row * step)


def _draw_line(draw: ImageDraw.ImageDraw, line: Line, font: Font, top: float) -> None:
    states = [state for *_, state in line]
    for i, (x, text, state) in enumerate(line):
        draw.text((_MARGIN + x, top), text, font=font, fill=_COLORS[state])
        # Whitespace before a dropped word and at the end of a line is not struck through.
        at_end = i + 1 == len(line)
        leads = not at_end and states[i + 1] == "dropped" and "dropped" not in states[:i][-1:]
        if state == "dropped" and not (text.isspace() and (at_end or leads)):
            _, upper, _, lower = font.getbbox("x")
            middle = top + (upper + lower) / 2
            ends = [(_MARGIN + x, middle), (_MARGIN + x + font.getlength(text), middle)]
            draw.line(ends, _COLORS[state], 2)


def _wrap(cut: Sequence[tuple[str, State]], font: Font, rows: int) -> tuple[list[Line], bool]:
    """Wrap text into at most `rows` lines, and return whether all of it fits."""
    width = WIDTH - 2 * _MARGIN
    lines: list[Line] = [[]]
    x, breaks = 0.0, 0
    for text, state in cut:
        for piece in re.finditer(r"\n|[^\S\n]+|\S+", text):
            if piece[0] == "\n":
                breaks += 1
                continue
            for part in _fitting(piece[0], font, width):
                length = font.getlength(part)
                if breaks == 0 and x > 0 and x + length > width:
                    if part.isspace():
                        continue
                    breaks = 1
                if len(lines) + breaks > rows:
                    return lines, False
                if breaks:
                    lines.extend([] for _ in range(breaks))
                    x, breaks = 0.0, 0
                lines[-1].append((x, part, state))
                x += length
    return lines, True


def _fitting(piece: str, font: Font, width: float) -> Iterator[str]:
    """Split a piece without whitespace wherever it would be wider than a line."""
    start, used = 0, 0.0
    for i, character in enumerate(piece):
        length = font.getlength(character)
        if used + length > width:
            yield piece[start:i]
            start, used = i, 0.0
        used += length
    yield piece[start:]


@cache
def _font(size: int) -> Font:
    for name in _SYSTEM_FONTS:
        try:
            return ImageFont.truetype(name, size)
        except OSError:  # not installed
            continue
    return ImageFont.load_default(size)
