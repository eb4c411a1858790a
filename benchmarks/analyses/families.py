"""The leaderboard's figures for each task family of the prompts, from records only."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.analyses.analysis import Analysis, Cell, Table, family_of, write_analysis
from benchmarks.markdown import cell
from benchmarks.records import RunFolder
from benchmarks.tables import COLUMNS, ORACLE_MARK, ORACLE_NOTE, make_rows, measured
from pcrl_gym.cli_tools import Names

if TYPE_CHECKING:
    from pandas import DataFrame

_SHOWN = "agent n reward reward_ci compression_ratio likelihood_loss gold_quality".split()
_NOTE = (
    "The columns of the leaderboard, over the prompts of one family: the largest family first, and "
    "in it the highest reward. A family is the part of a prompt's `source` before a slash."
)


def run(folder: str | Path, /, *, agents: Names = (), splits: Names = ()) -> Analysis:
    """Show for each task family what agents achieve, and write the analysis.

    Args:
        folder: Result folder.
        agents: Agents to show; by default all.
        splits: Splits to show; by default all.
    """
    source = RunFolder(folder)
    return write_analysis(source.path, analyse(source.frame(agents, splits), source.settings))


def analyse(frame: DataFrame, settings: dict[str, Any]) -> Analysis:
    """Return a table per split, with a row per family and agent."""
    tables, note = {}, _NOTE
    for split, own in frame.groupby("split", sort=False, observed=True):
        families = own["source"].map(family_of)
        order = families.value_counts().sort_index().sort_values(ascending=False, kind="stable")
        rows = make_rows(own.assign(split=families), settings | {"splits": list(order.index)})
        if any(row["oracle"] for row in rows):
            note = f"{_NOTE} {ORACLE_NOTE.strip()}"
        columns = measured(rows, [column for column in COLUMNS if column.key in _SHOWN])
        cells = [(row["split"], *(_cell(row, c.key) for c in columns)) for row in rows]
        tables[str(split)] = Table(("family", *(c.title for c in columns)), tuple(cells))
    return Analysis("families", "Figures by task family", note, tables)


def _cell(row: dict[str, Any], key: str) -> Cell:
    value = row[key]
    if key == "agent" and row["oracle"]:
        return f"{value}{ORACLE_MARK}"
    return cell(value) if isinstance(value, tuple) else value
