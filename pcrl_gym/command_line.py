"""What the command lines `pcrl-gym`, `python -m agents` and `python -m benchmarks` share.

Their exit statuses follow one rule:

| status | meaning |
|---|---|
| 0 | done, also if the reader of the output closed it early |
| 1 | a run failed: the generator, a training, a line of the input, the disk, a check |
| 2 | wrong use: arguments, missing files, unknown names, unusable folders, extras not installed |
| 130 | interrupted by Ctrl-C |
"""

from __future__ import annotations

import argparse
import os
import select
import sys
from collections.abc import Callable, Sequence
from typing import Any

from pcrl_gym import __version__
from pcrl_gym.errors import PcrlError

WRONG_USE = (
    ValueError,
    ImportError,
    FileNotFoundError,
    FileExistsError,
    NotADirectoryError,
    IsADirectoryError,
    PermissionError,
)
"""Errors of what the user asked for."""

FAILURES = (*WRONG_USE, PcrlError, OSError)
"""Errors that a user can do something about; anything else is a bug and keeps its traceback."""


def tell(error: BaseException) -> None:
    """Print an error on stderr."""
    text = str(error)
    if isinstance(error, OSError) and error.strerror and error.filename is not None:
        text = f"{error.strerror}: {error.filename}"  # without its number
    print(f"error: {text}", file=sys.stderr)


def attempt(work: Callable[[], int | None], *, resumable: bool = False) -> int:
    """Do the work of a command and return its exit status.

    Args:
        work: The work; returns the exit status, None being 0.
        resumable: Whether the same command continues what is unfinished.

    Returns:
        What the work returned; else, with a line on stderr, 2 after an error in `WRONG_USE`, 1
        after another one in `FAILURES`, 130 after Ctrl-C. 0 if the reader of stdout left.
    """
    try:
        status = work() or 0
        sys.stdout.flush()
        return status
    except BrokenPipeError as error:
        if _reader_left():
            return 0
        tell(error)
        return 1
    except WRONG_USE as error:
        tell(error)
        return 2
    except FAILURES as error:
        tell(error)
        return 1
    except KeyboardInterrupt:
        more = " Run the same command again to continue." if resumable else ""
        print(f"Interrupted.{more}", file=sys.stderr)
        return 130


def make_parser(prog: str, description: str, examples: str) -> tuple[argparse.ArgumentParser, Any]:
    """Return a parser with `--version`, and what its commands are added to.

    Args:
        prog: What the user types before a command.
        description: What it is for.
        examples: Lines below the help.
    """
    parser = argparse.ArgumentParser(
        prog=prog,
        description=description,
        epilog=f"examples:\n{examples}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"pcrl_gym {__version__}")
    commands = parser.add_subparsers(dest="command", title="commands", metavar="COMMAND")
    return parser, commands


def parse(
    parser: argparse.ArgumentParser, arguments: Sequence[str] | None = None
) -> argparse.Namespace:
    """Parse a command line; without a command, print the help on stderr and exit with 2.

    Args:
        parser: From `make_parser`.
        arguments: What follows the program's name; None: those of the process.
    """
    options = parser.parse_args(arguments)
    if options.command is None:
        parser.print_help(sys.stderr)
        parser.exit(2)
    return options


def positive(text: str) -> int:
    """Return an integer of at least 1."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, got {text}")
    return value


def _reader_left() -> bool:
    """Return whether stdout is a pipe that nobody reads; if so, nothing more is written to it."""
    try:
        stdout = sys.stdout.fileno()
    except (OSError, ValueError):
        return False  # an object in memory
    if hasattr(select, "poll"):  # not on Windows
        poll = select.poll()
        poll.register(stdout, 0)  # errors are reported always
        if not poll.poll(0):
            return False
    # What is still in the buffer would raise again when the interpreter ends.
    os.dup2(os.open(os.devnull, os.O_WRONLY), stdout)
    return True
