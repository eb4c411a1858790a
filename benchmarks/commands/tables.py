"""What to do with result folders."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from pcrl_gym.cli_tools import Names, Splits


def table(
    folder: str,
    /,
    *,
    details: bool = False,
    others: Annotated[tuple[str, ...], Parameter(name="--with")] = (),
) -> None:
    """Print the leaderboard of a result folder.

    Args:
        folder: Result folder.
        details: The further figures: interquartile mean, rates, second tokenizer, gold answers.
        others: Result folders whose rows stand in the same table; "standings" is the published one
            of the suite.
    """
    from benchmarks.records import RunFolder
    from benchmarks.tables import format_leaderboard, make_rows

    source = RunFolder(folder)
    print(format_leaderboard(make_rows(source.records(), source.settings), details=details), end="")


def merge(folders: tuple[str, ...], /, *, out: str) -> None:
    """Join the result folders of shards in a new one.

    Args:
        folders: Result folders.
        out: Folder for the results.
    """
    from benchmarks.cluster.merge import merge
    from benchmarks.tables import format_leaderboard

    print(f"{format_leaderboard(merge(folders, out))}\nWritten to {out}")


def report(folders: tuple[str, ...], /, *, out: str | None = None) -> None:
    """Write a leaderboard's page, tables (Markdown, CSV, LaTeX) and picture.

    Args:
        folders: Result folders.
        out: Folder for the report; by default report/ in the first.
    """
    from benchmarks.report.command import run

    for file in run([Path(folder) for folder in folders], None if out is None else Path(out)):
        print(f"Written: {file}")


def validate(folder: str, /, *, device: str = "auto") -> int:
    """Check a result folder, and say what is wrong.

    Args:
        folder: Result folder.
        device: Device of the generator.
    """
    from benchmarks.validate import validate

    report = validate(folder, device=device)
    print(report.text(), end="")
    return 1 if report.problems else 0


def records(folder: str, /, *, agents: Names = (), splits: Splits = ()) -> None:
    """Print the records, a JSON object per line.

    Args:
        folder: Result folder.
        agents: Agents to print; by default all.
        splits: Splits to print; by default all.
    """
    from benchmarks.records import RunFolder

    for line in RunFolder(folder).json_lines(agents, splits):
        print(line)
