"""The leaderboard as Markdown, CSV and LaTeX."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from string import Template
from typing import Any, cast

from benchmarks.columns import COLUMNS, columns_of, measured
from benchmarks.markdown import cell, finite
from benchmarks.report.data import Board
from benchmarks.tables import ORACLE_MARK, Row, format_leaderboard, notes

MARK = "<!-- pcrl_gym benchmarks report -->"
"""Ends the Markdown of every report, by which its folder differs from those of others."""

_LATEX_OMITS = ("seeds", "n", "compression_ratio_micro", "compress_ms")
_ESCAPES = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
_LATEX = str.maketrans(_ESCAPES | {mark: f"\\{mark}" for mark in "&%$#_{}"})

_TABLE = Template(r"""\begin{table}
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
""")


def markdown(boards: Sequence[Board]) -> str:
    """Return two tables per split: the main figures and the further ones."""
    blocks = []
    for board in boards:
        names = {"suite": _markdown(board.title), "generator": _markdown(board.generator)}
        for rows in board.rows.values():
            named = [cast("Row", row | names) for row in rows]
            blocks += [format_leaderboard(named, details=details) for details in (False, True)]
    return "\n".join([*blocks, MARK + "\n"])


def latex(boards: Sequence[Board]) -> str:
    r"""Return one `table` with `booktabs` rules per split, for `\input`.

    Set small and without `_LATEX_OMITS`, so that it fits the text of `article`; numbers of prompts
    and seeds stand in the caption.
    """
    blocks = ["% Needs \\usepackage{booktabs} and \\usepackage[T1]{fontenc}.\n"]
    for board, split, rows in ((b, split, rows) for b in boards for split, rows in b.rows.items()):
        columns = [c for c in measured(rows, columns_of("main")) if c.key not in _LATEX_OMITS]
        lines = [[column.title for column in columns]]
        for row in rows:
            name = row["agent"] + ORACLE_MARK * row["oracle"]
            lines.append([name, *(cell(row[c.key]).replace(" to ", "--") for c in columns[1:])])
        header, *body = [" & ".join(map(latex_text, line)) + r" \\" for line in lines]
        prompts, seeds = max(row["n"] for row in rows), max(row["seeds"] for row in rows)
        caption = (
            f"{board.title}, {split} (generator: {board.generator}): {prompts} prompts, "
            f"seeds of agents with chance: {seeds}. {notes(cast('list[Row]', rows))}"
        )
        kinds = "".join("l" if column.kind == "text" else "r" for column in columns)
        parts = {"caption": latex_text(caption), "kinds": kinds, "header": header}
        blocks.append(_TABLE.substitute(parts, body="\n".join(body)))
    return "\n".join(blocks)


def comma_separated(boards: Sequence[Board]) -> str:
    """Return all figures in full precision; an interval is two columns, `_low` and `_high`."""
    all_rows = [(board, row) for board in boards for rows in board.rows.values() for row in rows]
    columns = measured([row for _, row in all_rows], COLUMNS)
    lines = []
    for board, row in all_rows:
        line: dict[str, Any] = {"suite": board.title, "split": row["split"]}
        line |= {"generator": board.generator, "oracle": str(row["oracle"]).lower()}
        for key, kind in ((column.key, column.kind) for column in columns):
            value = finite(row[key])
            if kind == "interval":
                line[f"{key}_low"], line[f"{key}_high"] = value or (None, None)
            else:
                line[key] = value
        lines.append(line)
    text = io.StringIO()
    writer = csv.DictWriter(text, list(lines[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    return text.getvalue()


def latex_text(text: str) -> str:
    r"""Escape what LaTeX would take for a command, with the encoding T1.

    Example:
        >>> print(latex_text(r"keep_all & 95 % \input{x}"))
        keep\_all \& 95 \% \textbackslash{}input\{x\}
    """
    return " ".join(text.split()).translate(_LATEX)


def _markdown(text: str) -> str:
    return " ".join(text.split()).replace("&", "&amp;").replace("<", "&lt;").replace("|", "\\|")
