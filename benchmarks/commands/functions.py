"""Commands that are the functions `run` of other modules: their signatures and docstrings."""

from __future__ import annotations

import importlib
import inspect
import typing
from collections.abc import Callable, Sequence
from typing import Any

from pcrl_gym.cli_tools import Names, resumable

_MODULES = {
    name: f"benchmarks.{folder}{name}"
    for folder, names in {
        "analyses.": ("compare", "rates", "transfer", "dropped", "judge", "timing"),
        "speed.": ("throughput", "latency", "concurrency", "on_gpu"),
        "": ("scaling",),
    }.items()
    for name in names
}


def __getattr__(name: str) -> Callable[..., int | None]:
    """Return a command, whose module is imported when it is asked for."""
    if name not in _MODULES:
        raise AttributeError(f"{__name__} has no command {name!r}")
    return as_command(importlib.import_module(_MODULES[name]).run)


def as_command(run: Callable[..., Any]) -> Callable[..., int | None]:
    """Return a function as a command: options for all arguments but a required first one.

    It prints the analysis that the function returns; a number is the exit status.
    """
    parameters = []
    for place, old in enumerate(inspect.signature(run, eval_str=True).parameters.values()):
        by_place = place == 0 and old.kind is old.POSITIONAL_OR_KEYWORD
        kind = old.POSITIONAL_ONLY if by_place else old.KEYWORD_ONLY
        names = typing.get_origin(old.annotation) in (tuple, Sequence)
        annotation = Names if names and str in typing.get_args(old.annotation) else old.annotation
        if old.kind is not old.VAR_KEYWORD:
            parameters.append(old.replace(kind=kind, annotation=annotation))

    @resumable()
    def command(*arguments: Any, **options: Any) -> int | None:
        result = run(*arguments, **options)
        return result.show() if hasattr(result, "show") else result

    command.__doc__ = run.__doc__
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    return command
