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
from typing import Any, TypeVar

from pcrl_gym import __version__
from pcrl_gym.errors import PcrlError
from pcrl_gym.spec_strings import parse_spec

T = TypeVar("T")

WRONG_USE = (
    ValueError, ImportError, FileNotFoundError, FileExistsError, NotADirectoryError,
    IsADirectoryError, PermissionError,
)  # fmt: skip
"""Errors of what the user asked for."""

FAILURES = (*WRONG_USE, PcrlError, OSError)
"""Errors that a user can do something about; anything else is a bug and keeps its traceback."""


def print_error(error: BaseException) -> None:
    """Print an error on stderr."""
    text = str(error)
    if isinstance(error, OSError) and error.strerror and error.filename is not None:
        text = f"{error.strerror}: {error.filename}"  # without its number
    print(f"error: {text}", file=sys.stderr)


def attempt(work: Callable[[], int | None], *, resumable: bool = False) -> int:
    """Do the work of a command and return its exit status, by the rule of this module.

    Errors are lines on stderr; with `resumable`, Ctrl-C says that the same command continues.
    """
    try:
        status = work() or 0
        sys.stdout.flush()
        return status
    except FAILURES as error:
        if isinstance(error, BrokenPipeError) and _reader_left():
            return 0
        print_error(error)
        return 2 if isinstance(error, WRONG_USE) else 1
    except KeyboardInterrupt:
        more = " Run the same command again to continue." if resumable else ""
        print(f"Interrupted.{more}", file=sys.stderr)
        return 130


def make_parser(prog: str, description: str, examples: str) -> tuple[argparse.ArgumentParser, Any]:
    """Return a parser with `--version` and examples, and what its commands are added to."""
    parser = argparse.ArgumentParser(
        prog=prog,
        description=description,
        epilog=f"examples:\n{examples}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"pcrl_gym {__version__}")
    commands = parser.add_subparsers(dest="command", title="commands", metavar="COMMAND")
    return parser, commands


def add_command(
    commands: Any,
    name: str,
    run: Callable[..., int | None],
    purpose: str,
    *shared: argparse.ArgumentParser,
    resumable: bool = False,
    **settings: Any,
) -> argparse.ArgumentParser:
    """Add a command that calls a function with those of its options that are given.

    The function has the defaults, and returns the exit status, None being 0. `purpose` is the help,
    and the description if `settings` (of `argparse.ArgumentParser`) hold no other one; see also
    `shared` and `attempt`.
    """
    settings.setdefault("description", f"{purpose[0].upper()}{purpose[1:]}.")
    settings.setdefault("argument_default", argparse.SUPPRESS)
    command: argparse.ArgumentParser = commands.add_parser(
        name, help=purpose, parents=shared, **settings
    )

    def handle(options: argparse.Namespace) -> int:
        given = {k: v for k, v in vars(options).items() if k not in ("command", "handler")}
        return attempt(lambda: run(**given), resumable=resumable)

    command.set_defaults(handler=handle)
    return command


def shared(*flags: str, **settings: Any) -> argparse.ArgumentParser:
    """Return a parent parser with one argument, for `add_command`."""
    parser = argparse.ArgumentParser(add_help=False, argument_default=argparse.SUPPRESS)
    parser.add_argument(*flags, **settings)
    return parser


def add_options(
    command: Any, kind: Callable[[str], Any] = str, *, many: bool = False, **helps: str
) -> None:
    """Add options with values of one kind, or lists of these: `max_units="help"` and so on."""
    for name, text in helps.items():
        settings: dict[str, Any] = {"action": ListAction, "item": kind} if many else {"type": kind}
        command.add_argument(f"--{name.replace('_', '-')}", help=text, **settings)


def parse(
    parser: argparse.ArgumentParser, arguments: Sequence[str] | None = None
) -> argparse.Namespace:
    """Parse a command line (None: the process's); without a command, print the help and exit."""
    options = parser.parse_args(arguments)
    if options.command is None:
        parser.print_help(sys.stderr)
        parser.exit(2)
    return options


class ListAction(argparse.Action):
    """Take a list: words with spaces between them or, if none has settings, commas.

    It takes all words up to the next option, so arguments without a name stand before it. `item`
    converts each; its `ValueError` says what is wrong.
    """

    def __init__(self, *flags: Any, item: Callable[[str], Any] = str, **settings: Any) -> None:
        settings = {"metavar": "ITEM", **settings, "nargs": "+"}
        super().__init__(*flags, **settings)
        self._item = item

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: Any = None) -> None:
        """Store a tuple of the items."""
        try:
            items = tuple(self._item(part) for word in values for part in split_list(word))
        except (ValueError, argparse.ArgumentTypeError) as error:
            raise argparse.ArgumentError(self, str(error)) from error
        if items or self.required:  # an empty word is no list: a default stays
            setattr(namespace, self.dest, items)


def split_list(word: str) -> list[str]:
    """Return the names in a word of a command line: one with settings, or some between commas.

    Raises:
        ValueError: If a name with settings is not alone.

    Example:
        >>> split_list("keep_all,stopwords"), split_list("random:rate=0.2,seed=1")
        (['keep_all', 'stopwords'], ['random:rate=0.2,seed=1'])
    """
    between_commas = [part.strip() for part in word.split(",") if part.strip()]
    if "=" not in word:
        return between_commas
    try:
        name, settings = parse_spec(word)
        if settings and "," in name:
            raise ValueError(f"{word!r} has settings after a list")
    except ValueError as error:
        raise ValueError(
            f"{error}; put spaces between names if one has settings: keep_all random:rate=0.2"
        ) from error
    return [word] if settings else between_commas


def readable(read: Callable[[str], T]) -> Callable[[str], T]:
    """Return a function as argparse's `type`, so that users see the message of its `ValueError`."""

    def convert(text: str) -> T:
        try:
            return read(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from error

    return convert


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
