"""Leaderboard as Markdown, CSV, and LaTeX."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from benchmarks.markdown import cell
from benchmarks.report.data import Board
from benchmarks.tables import (
    COLUMNS,
    ORACLE_MARK,
    Row,
    columns_of,
    format_leaderboard,
    measured,
    notes,
)

# Ends the Markdown of every report and so identifies its folder.
MARK = "<!-- pcrl_gym benchmarks report -->"

_LATEX_OMITS = ("seeds", "n", "compression_ratio_micro", "compress_ms")  # to fit into `article`
_ESCAPES = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
_LATEX = str.maketrans(_ESCAPES | {mark: f"\\{mark}" for mark in "&%$#_{}"})
_MARKDOWN = str.maketrans({"&": "&amp;", "<": "&lt;", "|": "\\|"})


def markdown(boards: Sequence[Board]) -> str:
    """Return two tables per split: the main columns and the further ones."""
    blocks = []
    for board in boards:
        names = {"suite": _markdown(board.title), "generator": _markdown(board.generator)}
        for rows in board.rows.values():
            named = [cast("Row", row | names) for row in rows]
            blocks += [format_leaderboard(named, details=details) for details in (False, True)]
    return "\n".join([*blocks, MARK + "\n"])


def latex(boards: Sequence[Board]) -> str:
    r"""Return one `table` with `booktabs` rules per split, for `\input`."""
    from pandas import DataFrame

    blocks = ["% Needs \\usepackage{booktabs} and \\usepackage[T1]{fontenc}.\n"]
    for board, split, rows in ((b, split, rows) for b in boards for split, rows in b.rows.items()):
        columns = [c for c in measured(rows, columns_of("main")) if c.key not in _LATEX_OMITS]
        frame = DataFrame({c.title: [cell(row[c.key]) for row in rows] for c in columns})
        frame["agent"] += [ORACLE_MARK * row["oracle"] for row in rows]
        caption = (
            f"{board.title}, {split} (generator: {board.generator}): {rows[0]['n']} prompts, seeds "
            f"of stochastic agents: {max(row['seeds'] for row in rows)}. {notes(rows)}"
        )
        frame = frame.rename(columns=latex_text)
        table = frame.map(lambda text: latex_text(text).replace(" to ", "--")).to_latex(
            index=False, column_format=f"@{{}}l{'r' * (len(columns) - 1)}@{{}}"
        )
        blocks.append(
            "\\begin{table}\n\\centering\n\\footnotesize\n\\setlength{\\tabcolsep}{1.8pt}\n"
            f"\\caption{{{latex_text(caption)}}}\n{table}\\end{{table}}\n"
        )
    return "\n".join(blocks)


def comma_separated(boards: Sequence[Board]) -> str:
    """Return all values in full precision; an interval is two columns, `_low` and `_high`."""
    from pandas import DataFrame

    named = [
        row | {"suite": board.title, "oracle": str(row["oracle"]).lower()}
        for board in boards
        for rows in board.rows.values()
        for row in rows
    ]
    frame = DataFrame(named)
    columns = {key: frame[key] for key in ("suite", "split", "generator", "oracle")}
    for column in measured(named, COLUMNS):
        values = frame[column.key]
        if column.kind == "interval":
            columns |= {f"{column.key}_low": values.str[0], f"{column.key}_high": values.str[1]}
        else:
            columns[column.key] = values
    return DataFrame(columns).to_csv(index=False)


def latex_text(text: str) -> str:
    """Escape special characters of LaTeX, for the encoding T1."""
    return " ".join(text.split()).translate(_LATEX)


def _markdown(text: str) -> str:
    return " ".join(text.split()).translate(_MARKDOWN)
