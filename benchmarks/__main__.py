"""Command line: `python -m benchmarks COMMAND`; `--help` lists the commands."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from benchmarks.commands.analyses import add_analyses
from benchmarks.commands.running import add_run
from benchmarks.commands.speed import add_speed
from benchmarks.commands.tables import add_tables
from benchmarks.commands.tuning import add_tuning
from pcrl_gym.cli_tools import make_parser, parse

_EXAMPLES = """\
  python -m benchmarks run --suite micro --agents keep_all random:rate=0.3 --out results/mine
  python -m benchmarks table results/mine
  python -m benchmarks report results/mine
  python -m benchmarks compare results/mine
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        arguments: What follows `python -m benchmarks`; None for the process's own.

    Returns:
        Exit status, see `pcrl_gym.cli_tools`. Arguments of wrong form raise `SystemExit(2)`.
    """
    parser, commands = make_parser("python -m benchmarks", "Benchmark agents.", _EXAMPLES)
    for add in (add_run, add_tuning, add_tables, add_analyses, add_speed):
        add(commands)
    options = parse(parser, arguments)
    return options.handler(options)


if __name__ == "__main__":
    sys.exit(main())
