"""A compressor in a process of its own: texts come in as JSON lines, shorter ones go out.

    python worker.py module:function

It is run as a file by the Python of the compressor's environment, in which this package need not be
installed, so it imports nothing but the standard library. See `worker_process`.
"""

from __future__ import annotations

import importlib
import inspect
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any


def find_function(spec: str) -> Callable[..., Any]:
    """Return what `module:function` names; of a class, the method `compress` of an object of it.

    Raises:
        ValueError: If there is no such module or function, it cannot be called, or the class takes
            arguments.
    """
    module_name, _, name = spec.partition(":")
    if not module_name or not name:
        raise ValueError(f"compressor {spec!r}: expected module:function or module:Class")
    try:
        found = getattr(importlib.import_module(module_name), name, None)
    except ModuleNotFoundError as error:
        # A module that exists but misses one of its own imports has to say so itself.
        if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
            raise
        raise ValueError(
            f"compressor {spec!r}: there is no module {module_name!r} on the Python path"
        ) from error
    if isinstance(found, type):
        try:
            found = getattr(found(), "compress", None)
        except TypeError as error:
            raise ValueError(
                f"compressor {spec!r}: expected a class that is made without arguments ({error})"
            ) from error
    if not callable(found):
        raise ValueError(
            f"compressor {spec!r}: expected a function from text to text, or a class with a method "
            "'compress'"
        )
    made: Callable[..., Any] = found
    return made


def takes_rate(function: Callable[..., Any]) -> bool:
    """Return whether a compressor has an argument `rate`."""
    try:
        return "rate" in inspect.signature(function).parameters
    except ValueError:  # of some that are written in C
        return False


def main(spec: str) -> None:
    """Answer each line of standard input; the first line says whether the compressor is there."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what the compressor prints goes to stderr

    def answer(**fields: object) -> None:
        answers.write(json.dumps(fields) + "\n")
        answers.flush()

    sys.path[0] = str(Path.cwd())  # as `python -m` has it
    try:
        function = find_function(spec)
    except Exception as error:  # whatever an import raises
        answer(error=f"{type(error).__name__}: {error}")
        return
    answer(takes_rate=takes_rate(function))
    for line in sys.stdin:
        asked = json.loads(line)
        settings = {} if asked["rate"] is None else {"rate": asked["rate"]}
        try:
            text = function(asked["text"], **settings)
            if not isinstance(text, str):
                raise TypeError(f"expected a text, got {type(text).__name__}")
        except Exception as error:  # whatever a compressor raises
            answer(error=f"{type(error).__name__}: {error}")
        else:
            answer(text=text)


if __name__ == "__main__":
    main(sys.argv[1])
