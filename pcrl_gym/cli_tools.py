"""Shared code of the command lines `pcrl-gym`, `python -m agents`, and `python -m benchmarks`.

Commands are functions: their parameters are the arguments and options, and their docstrings are the
help. The exit statuses are:

| status | meaning |
|---|---|
| 0 | success, even if the reader of the output closed it early |
| 1 | a run failed: the generator, a training run, a line of the input, the disk, or a check |
| 2 | wrong use: arguments, missing files, unknown names, unusable folders, or missing extras |
| 130 | interrupted by Ctrl-C |
"""

from __future__ import annotations

import dataclasses
import os
import select
import sys
import typing
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Annotated, Any

from cyclopts import App, CycloptsError, Group, Parameter, Token, default_name_transform

from pcrl_gym import __version__
from pcrl_gym.errors import PcrlError
from pcrl_gym.spec_strings import parse_spec

WRONG_USE = (
    ValueError, ImportError, FileNotFoundError, FileExistsError, NotADirectoryError,
    IsADirectoryError, PermissionError,
)  # fmt: skip
"""Errors caused by wrong use."""

FAILURES = (*WRONG_USE, PcrlError, OSError)
"""Errors that users can fix; anything else is a bug and keeps its traceback."""


def make_app(name: str, about: str, example: str, flags: Mapping[str, str] | None = None) -> App:
    """Return a command line without commands, whose help ends with an example.

    `flags` maps parameters to options with different names: `{"splits": "split"}`.
    """
    return App(
        name=name,
        help=about,
        help_epilogue=f"Example: `{example}`",
        help_format="markdown",
        version=f"pcrl_gym {__version__}",
        default_parameter=Parameter(
            consume_multiple=1,
            allow_repeating=True,  # the last value wins; lists are extended
            negative=(),
            show_default=_shown,
            name_transform=lambda old: (flags or {}).get(old, default_name_transform(old)),
        ),
        suppress_keyboard_interrupt=False,
    )


def add_commands(
    app: App, words: str, examples: Mapping[str, str], group: Group | None = None
) -> None:
    """Add functions as commands, in the given order; each is imported only when needed.

    The keys of `examples` are import paths ("package.module:function"). The help of each command
    ends with an example made of `words`, the name of the command, and the value in `examples`.
    """
    for path, example in examples.items():
        name = command_name(path)
        epilogue = f"Example: `{words} {name} {example}`"
        place = len(list(app))
        app.command(path, name=name, group=group, help_epilogue=epilogue, sort_key=place)


def command_name(path: str) -> str:
    """Return the command name of a function: its own name, or that of its module if it is `run`.

    Example:
        >>> command_name("agents.commands:train"), command_name("benchmarks.speed.on_gpu:run")
        ('train', 'on-gpu')
    """
    module, _, function = path.rpartition(":")
    name = module.rpartition(".")[2] if function == "run" else function
    return name.replace("_", "-")


def run_app(app: App, arguments: Sequence[str] | None = None) -> int:
    """Run a command line on words, by default those of the process, and return its exit status.

    A command returns nothing, its exit status, or a result to print: with its method `show` on a
    terminal, if it has one, else with `str`. Errors are one line on stderr, except for bugs.
    Without a command, the help is printed there.
    """
    words = sys.argv[1:] if arguments is None else list(arguments)
    try:
        asked = [word for word in words if word not in app.help_flags]
        _, path, rest = app.parse_commands(asked)
        if path[-1].default_command is None:
            for name in path[-1]:
                _ = path[-1][name]  # imported, as the list shows the first line of the docstring
            if not rest and asked == words:
                from rich.console import Console

                app.help_print(words, console=Console(stderr=True))
                return 2
        result = app(words, exit_on_error=False, print_error=False, result_action="return_value")
        if not isinstance(result, int | None):
            if sys.stdout.isatty() and hasattr(result, "show"):
                result.show()
            else:
                print(result, end="")
            result = 0
        sys.stdout.flush()
        return result or 0
    except CycloptsError as error:
        return _fail(str(error).rstrip("."), 2)
    except FAILURES as error:
        if isinstance(error, BrokenPipeError) and _reader_left():
            return 0
        return _fail(message(error), 2 if isinstance(error, WRONG_USE) else 1)
    except KeyboardInterrupt as error:
        print("Interrupted.", *(f"{hint}." for hint in error.args), file=sys.stderr)
        return 130


@contextmanager
def resumable() -> Iterator[None]:
    """Decorate a resumable command, so that users learn on Ctrl-C how to continue it."""
    try:
        yield
    except KeyboardInterrupt as error:
        raise KeyboardInterrupt("Run the same command again to continue") from error


def message(error: BaseException) -> str:
    """Return the message of an error for the user."""
    if isinstance(error, OSError) and error.strerror and error.filename is not None:
        return f"{error.strerror}: {error.filename}"  # without the error number
    return str(error)


def split_list(word: str) -> list[str]:
    """Split a command-line word into names: one with settings, or several between commas.

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
            f"{error}; separate names with spaces if any has settings: keep_all random:rate=0.2"
        ) from error
    return [word] if settings else between_commas


def _names(_: Any, tokens: Sequence[Token]) -> tuple[str, ...]:
    return tuple(part for token in tokens for part in split_list(token.value))


def _pairs(_: Any, tokens: Sequence[Token]) -> dict[str, str]:
    pairs = {}
    for key, equals, value in (token.value.partition("=") for token in tokens):
        if not equals or not key or not value:
            raise ValueError(f"expected KEY=VALUE, got {key + equals + value!r}")
        pairs[key] = value
    return pairs


Names = Annotated[Sequence[str], Parameter(converter=_names)]
"""Names separated by spaces or, if none has settings, by commas."""

Pairs = Annotated[
    dict[str, str],
    Parameter(converter=_pairs, accepts_keys=False, n_tokens=-1, metavar="KEY=VALUE..."),
]
"""Words like `prompt=instruction`."""


def flags_of(kind: type, docstring: str | None, without: Collection[str] = ()) -> Any:
    """Return a typed dictionary of the options that are given, from the fields of a dataclass.

    The docstring describes them under "Attributes:". Fields that the constructor does not take are
    left out.
    """
    hints = typing.get_type_hints(kind)
    names = [field.name for field in dataclasses.fields(kind) if field.init]
    flags = {name: _flag(name, hints[name]) for name in names if name not in without}
    made = typing.TypedDict("Flags", flags, total=False)  # type: ignore[misc]
    made.__doc__ = docstring
    return made


def _flag(name: str, hint: Any) -> Any:
    if hint is bool:  # `--no-...` overrides a flag that is set in a file
        return Annotated[bool, Parameter(negative=f"--no-{name.replace('_', '-')}")]
    parts = typing.get_args(hint) or (hint,)
    return Pairs if any(typing.get_origin(part) is _MAPPING for part in parts) else hint


_MAPPING = typing.get_origin(Mapping[str, str])


def _shown(default: Any) -> str | None:
    """Return a default as shown in the help, or None if it is off or empty."""
    if isinstance(default, (list, tuple)):
        default = " ".join(map(str, default))
    return None if default is None or default is False or default == "" else str(default)


def _fail(text: str, status: int) -> int:
    print(f"error: {text}", file=sys.stderr)
    return status


def _reader_left() -> bool:
    """Return whether stdout is a pipe without a reader; if so, discard further output."""
    try:
        stdout = sys.stdout.fileno()
    except (OSError, ValueError):
        return False  # an object in memory
    if hasattr(select, "poll"):  # not on Windows
        poll = select.poll()
        poll.register(stdout, 0)  # errors are always reported
        if not poll.poll(0):
            return False
    # Buffered output would raise again when the interpreter exits.
    os.dup2(os.open(os.devnull, os.O_WRONLY), stdout)
    return True
