"""What several commands have in common: types of options, and failures told without a traceback."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable

from pcrl_gym.errors import PcrlError
from pcrl_gym.template import check_template

FAILURES = (PcrlError, ValueError, OSError, ImportError)
"""What a user can mend; anything else is a bug and keeps its traceback."""


def tell(error: BaseException) -> None:
    """Print an error on stderr."""
    print(f"error: {error}", file=sys.stderr)


def attempt(work: Callable[[], int | None], *, resumable: bool = False) -> int:
    """Do the work of a command.

    Args:
        work: the work; returns the exit status, None being 0.
        resumable: whether the same command goes on with what is unfinished.

    Returns:
        What the work returned, None being 0; 1 if it failed, 130 if it was interrupted.
    """
    try:
        return work() or 0
    except FAILURES as error:
        tell(error)
        return 1
    except KeyboardInterrupt:
        more = " The same command goes on with what is unfinished." if resumable else ""
        print(f"Interrupted.{more}", file=sys.stderr)
        return 130


def names(text: str) -> list[str]:
    """Names separated by commas."""
    return [name.strip() for name in text.split(",") if name.strip()]


def template(text: str) -> str:
    """The name of a prompt template, with settings if it has any."""
    try:
        check_template(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    return text


TEMPLATES = 'alpaca, chat, or "chat:system=You are terse.,enable_thinking=false"'
"""What `template` takes, for the help of options."""


def positive(text: str) -> int:
    """An integer of at least 1."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, got {number}")
    return number
