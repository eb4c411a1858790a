"""Markdown tables that are also readable in a terminal, and formatting of values."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any


def align(table: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table of rows of cells, headers first, with "|" in cells escaped."""
    table = [[cell.replace("|", r"\|") for cell in line] for line in table]
    first, *others = (max(3, *map(len, column)) for column in zip(*table, strict=True))
    lines = [[line[0].ljust(first), *map(str.rjust, line[1:], others)] for line in table]
    lines.insert(1, ["-" * first, *("-" * (width - 1) + ":" for width in others)])
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)


def escaped(text: str) -> str:
    """Return the text with lone surrogates, which no file can store, as escapes."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def finite(value: Any) -> Any:
    """Return the value, or None if it is a non-finite number."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def cell(value: Any) -> str:
    """Return one value as text, "" if it was not measured; a pair is an interval.

    Example:
        >>> cell((0.25, 0.5)), cell(0.125), cell(12), cell(None)
        ('0.250 to 0.500', '0.125', '12', '')
    """
    value = finite(value)
    if value is None:
        return ""
    if isinstance(value, (tuple, list)):
        return "{:.3f} to {:.3f}".format(*value)
    return f"{value:.3f}" if isinstance(value, float) else str(value)
