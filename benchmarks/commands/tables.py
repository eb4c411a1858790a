"""`table`, `merge`, `report` and `validate`: what to do with result folders."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from benchmarks.commands.common import attempt
from benchmarks.leaderboard import format_leaderboard, make_rows
from benchmarks.records import RunFolder


def add_tables(commands: Any) -> None:
    """Add the commands to the subparsers of `argparse`."""
    table = commands.add_parser("table", help="print the leaderboard of a result folder")
    table.add_argument("dir", help="result folder")
    table.add_argument(
        "--details",
        action="store_true",
        help="the further figures: interquartile mean, rates, second tokenizer, gold answers",
    )
    table.set_defaults(handler=_table)
    merge = commands.add_parser("merge", help="join the result folders of shards in a new one")
    merge.add_argument("dirs", nargs="+", metavar="dir", help="result folder of a shard")
    merge.add_argument("--out", required=True, help="result folder for all of it")
    merge.set_defaults(handler=_merge)
    report = commands.add_parser(
        "report", help="write a leaderboard's page, tables (Markdown, CSV, LaTeX) and picture"
    )
    report.add_argument("dirs", nargs="+", metavar="dir", help="result folder")
    report.add_argument("--out", help="folder for the report (default: report/ in the first)")
    report.set_defaults(handler=_report)
    valid = commands.add_parser("validate", help="check a result folder, and say what is wrong")
    valid.add_argument("dir", help="result folder")
    valid.set_defaults(handler=_validate)
    valid.add_argument("--device", default="auto", help="device of the generator (default auto)")


def _table(options: argparse.Namespace) -> int:
    def show() -> None:
        folder = RunFolder(options.dir)
        rows = make_rows(folder.records(), folder.settings)
        print(format_leaderboard(rows, details=options.details), end="")

    return attempt(show)


def _merge(options: argparse.Namespace) -> int:
    from benchmarks.merge import merge

    def join() -> None:
        print(format_leaderboard(merge(options.dirs, options.out)), end="")
        print(f"\nWritten to {options.out}")

    return attempt(join)


def _report(options: argparse.Namespace) -> int:
    from benchmarks.report.command import run

    def write() -> None:
        for file in run([Path(one) for one in options.dirs], options.out and Path(options.out)):
            print(f"Written: {file}")

    return attempt(write)


def _validate(options: argparse.Namespace) -> int:
    from benchmarks.validate import validate

    def check() -> int:
        report = validate(options.dir, device=options.device)
        print(report.text(), end="")
        return 1 if report.problems else 0

    return attempt(check)
