"""`table`, `merge`, `report` and `validate`: what to do with result folders."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.commands import common
from benchmarks.records import RunFolder
from benchmarks.tables import make_rows, print_table
from pcrl_gym.cli_tools import add_command, add_options


def add_tables(commands: Any) -> None:
    """Add the commands to the subparsers of `argparse`."""
    purpose = "print the leaderboard of a result folder"
    table = add_command(commands, "table", _table, purpose, common.FOLDER)
    table.add_argument(
        "--details",
        action="store_true",
        help="the further figures: interquartile mean, rates, second tokenizer, gold answers",
    )
    purpose = "join the result folders of shards in a new one"
    add_command(commands, "merge", _merge, purpose, common.FOLDERS, common.OUT)
    purpose = "write a leaderboard's page, tables (Markdown, CSV, LaTeX) and picture"
    report = add_command(commands, "report", _report, purpose, common.FOLDERS)
    add_options(report, out="folder for the report (default: report/ in the first)")
    purpose = "check a result folder, and say what is wrong"
    add_command(commands, "validate", _validate, purpose, common.FOLDER, common.DEVICE)


def _table(folder: str, details: bool = False) -> None:
    source = RunFolder(folder)
    rows = make_rows(source.frame(), source.settings) if source.has_results else []
    print_table(rows, details=details)


def _merge(folders: Sequence[str], out: str) -> None:
    from benchmarks.cluster.merge import merge

    print_table(merge(folders, out))
    print(f"\nWritten to {out}")


def _report(folders: Sequence[str], out: str | None = None) -> None:
    from benchmarks.report.command import run

    for file in run([Path(folder) for folder in folders], None if out is None else Path(out)):
        print(f"Written: {file}")


def _validate(folder: str, device: str = "auto") -> int:
    from benchmarks.validate import validate

    report = validate(folder, device=device)
    print(report.text(), end="")
    return 1 if report.problems else 0
