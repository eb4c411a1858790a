"""Command line: `python -m benchmarks COMMAND`; `--help` lists the commands."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from benchmarks.commands.analyses import add_analyses
from benchmarks.commands.running import add_run
from benchmarks.commands.speed import add_speed
from benchmarks.commands.tables import add_tables
from benchmarks.commands.tuning import add_tuning


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        arguments: what follows `python -m benchmarks`; None for the process's own.

    Returns:
        Exit status: 0 done, 1 the command failed, 130 interrupted. Wrong arguments exit with 2.
    """
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Benchmark agents.")
    commands = parser.add_subparsers(dest="command", required=True)
    for add in (add_run, add_tuning, add_tables, add_analyses, add_speed):
        add(commands)
    options = parser.parse_args(arguments)
    return options.handler(options)


if __name__ == "__main__":
    sys.exit(main())
