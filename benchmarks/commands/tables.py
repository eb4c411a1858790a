"""What to do with result folders."""

from __future__ import annotations

from pathlib import Path

from pcrl_gym.cli_tools import Names


def table(folder: str, /, *, details: bool = False, others: tuple[str, ...] = ()) -> None:
    """Print the leaderboard of a result folder.

    Args:
        folder: Result folder.
        details: The further figures: interquartile mean, rates, second tokenizer, gold answers.
        others: Result folders whose rows stand in the same table; "standings" is the published one
            of the suite.
    """
    from benchmarks.records import RunFolder
    from benchmarks.standings import join
    from benchmarks.tables import make_rows, print_table

    source = RunFolder(folder)
    rows = make_rows(*join(source, others)) if source.has_results else []
    print_table(rows, details=details)


def merge(folders: tuple[str, ...], /, *, out: str) -> None:
    """Join the result folders of shards in a new one.

    Args:
        folders: Result folders.
        out: Folder for the results.
    """
    from benchmarks.cluster.merge import merge
    from benchmarks.tables import print_table

    print_table(merge(folders, out))
    print(f"Written to {out}")


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


def records(folder: str, /, *, agents: Names = (), splits: Names = ()) -> None:
    """Print the records, a JSON object per line.

    Args:
        folder: Result folder.
        agents: Agents to print; by default all.
        splits: Splits to print; by default all.
    """
    from benchmarks.records import RunFolder

    for line in RunFolder(folder).json_lines(agents, splits):
        print(line)
