"""Markdown tables that also read well in a terminal, and figures as text."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any


def align(table: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table, first column to the left, the others to the right.

    Args:
        table: Lines of cells, the headers first. A "|" in a cell is escaped.

    Returns:
        The lines, each ended by a line feed.

    Example:
        >>> print(align([["agent", "n"], ["random", "12"]]), end="")
        | agent  |   n |
        | ------ | --: |
        | random |  12 |
    """
    table = [[cell.replace("|", r"\|") for cell in line] for line in table]
    widths = [max(3, *map(len, column)) for column in zip(*table, strict=True)]
    rule = ["-" * widths[0]] + ["-" * (width - 1) + ":" for width in widths[1:]]
    lines = [
        [line[0].ljust(widths[0])]
        + [cell.rjust(width) for cell, width in zip(line[1:], widths[1:], strict=True)]
        for line in table
    ]
    lines.insert(1, rule)
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)


def finite(value: Any) -> Any:
    """Return the value, or None in place of a number that is not finite.

    Example:
        >>> finite(0.5), finite(float("nan")), finite("keep_all")
        (0.5, None, 'keep_all')
    """
    return None if isinstance(value, float) and not math.isfinite(value) else value


def cell(value: Any) -> str:
    """Return one figure as text, "" if it was not measured; a pair is an interval.

    Example:
        >>> cell((0.25, 0.5)), cell(0.125), cell(12), cell(None)
        ('0.250 to 0.500', '0.125', '12', '')
    """
    value = finite(value)
    if value is None:
        return ""
    if isinstance(value, (tuple, list)):
        low, high = value
        return f"{low:.3f} to {high:.3f}"
    return f"{value:.3f}" if isinstance(value, float) else str(value)
