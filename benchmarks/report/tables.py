"""The leaderboard as Markdown, CSV and LaTeX."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from string import Template
from typing import Any, cast

from benchmarks.columns import COLUMNS, Column, columns_of, measured
from benchmarks.markdown import cell, finite
from benchmarks.report.data import Board
from benchmarks.tables import ORACLE_MARK, Row, format_leaderboard, notes

_LATEX_OMITS = ("seeds", "n", "compression_ratio_micro", "compress_ms")
_LATEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
} | {mark: f"\\{mark}" for mark in "&%$#_{}"}

_TABLE = r"""\begin{table}
\centering
\footnotesize
\setlength{\tabcolsep}{1.8pt}
\caption{$caption}
\begin{tabular}{@{}$kinds@{}}
\toprule
$header
\midrule
$body
\bottomrule
\end{tabular}
\end{table}
"""


def markdown(boards: Sequence[Board]) -> str:
    """Return two tables per split: the main figures and the further ones."""
    blocks = []
    for board, _, rows in _tables(boards):
        names = {
            "suite": markdown_text(board.title), "generator": markdown_text(board.generator),
        }  # fmt: skip
        named = [cast("Row", row | names) for row in rows]
        blocks += [format_leaderboard(named, details=details) for details in (False, True)]
    return "\n".join(blocks)


def latex(boards: Sequence[Board]) -> str:
    r"""Return one `table` with `booktabs` rules per split, for `\input`.

    Set small and without `_LATEX_OMITS`, so that it fits the text of `article`; numbers of prompts
    and seeds stand in the caption.
    """
    blocks = ["% Needs \\usepackage{booktabs} and \\usepackage[T1]{fontenc}.\n"]
    for board, split, rows in _tables(boards):
        main = [column for column in columns_of("main") if column.key not in _LATEX_OMITS]
        columns = measured(rows, main)
        header, *lines = [
            " & ".join(line).replace(" to ", "--") + r" \\" for line in _texts(rows, columns)
        ]
        prompts, seeds = max(row["n"] for row in rows), max(row["seeds"] for row in rows)
        caption = (
            f"{board.title}, {split} (generator: {board.generator}): {prompts} prompts, "
            f"seeds of agents with chance: {seeds}. {notes(rows)}"
        ).strip()
        kinds = "".join("l" if column.kind == "text" else "r" for column in columns)
        body = "\n".join(lines)
        parts = {"caption": latex_text(caption), "kinds": kinds, "header": header, "body": body}
        blocks.append(Template(_TABLE).substitute(parts))
    return "\n".join(blocks)


def comma_separated(boards: Sequence[Board]) -> str:
    """Return all figures in full precision; an interval is two columns, `_low` and `_high`."""
    rows = [row for board in boards for row in board.rows]
    columns = measured(rows, COLUMNS)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    keys = [key for column in columns for key in _keys(column)]
    writer.writerow(["suite", "split", "generator", "oracle", *keys])
    for board in boards:
        for row in board.rows:
            context = [board.title, row["split"], board.generator, str(row["oracle"]).lower()]
            figures = [value for column in columns for value in _values(row, column)]
            writer.writerow(context + figures)
    return text.getvalue()


def latex_text(text: str) -> str:
    r"""Escape what LaTeX would take for a command.

    Example:
        >>> print(latex_text(r"keep_all & 95 % \input{x}"))
        keep\_all \& 95 \% \textbackslash{}input\{x\}
    """
    return "".join(_LATEX.get(letter, letter) for letter in _one_line(text))


def markdown_text(text: str) -> str:
    r"""Escape what would end a cell of a Markdown table, or start HTML in it.

    Example:
        >>> print(markdown_text("a|b <i>"))
        a\|b &lt;i>
    """
    return _one_line(text).replace("&", "&amp;").replace("<", "&lt;").replace("|", "\\|")


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _tables(boards: Sequence[Board]) -> list[tuple[Board, str, list[dict[str, Any]]]]:
    return [
        (board, split, [row for row in board.rows if row["split"] == split])
        for board in boards
        for split in board.splits
    ]


def _texts(rows: Sequence[dict[str, Any]], columns: Sequence[Column]) -> list[list[str]]:
    table = [[latex_text(column.title) for column in columns]]
    for row in rows:
        agent = row["agent"] + ORACLE_MARK if row["oracle"] else row["agent"]
        cells = [agent, *(cell(row.get(column.key)) for column in columns[1:])]
        table.append([latex_text(text) for text in cells])
    return table


def _keys(column: Column) -> list[str]:
    ends = ("_low", "_high") if column.kind == "interval" else ("",)
    return [column.key + end for end in ends]


def _values(row: dict[str, Any], column: Column) -> list[Any]:
    value = finite(row.get(column.key))
    return list(value or (None, None)) if column.kind == "interval" else [value]
