"""Markdown tables that also read well in a terminal."""

from __future__ import annotations

from collections.abc import Sequence


def align(table: Sequence[Sequence[str]]) -> str:
    """Markdown table, first column to the left, the others to the right.

    Args:
        table: lines of cells, the headers first. A "|" in a cell is escaped.

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
