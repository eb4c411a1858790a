"""Worker process that reads texts as JSON lines and writes compressed ones.

    python worker.py module:function

The Python of the compressor's environment runs this file as a script. As this package may not be
installed there, only the standard library is imported. See `worker_process`.
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
    """Return the function `module:function`, or the `compress` method of an instance of a class.

    Raises:
        ValueError: If the module or function does not exist, it is not callable, or the class takes
            arguments.
    """
    module_name, _, name = spec.partition(":")
    if not module_name or not name:
        raise ValueError(f"compressor {spec!r}: expected module:function or module:Class")
    try:
        found = getattr(importlib.import_module(module_name), name, None)
    except ModuleNotFoundError as error:
        # If an existing module lacks one of its own imports, raise that error.
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
                f"compressor {spec!r}: expected a class that can be created without arguments "
                f"({error})"
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
    except ValueError:  # raised for some C functions
        return False


def main(spec: str) -> None:
    """Report whether the compressor can be loaded, then answer each line of standard input."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what the compressor prints goes to stderr

    def answer(**fields: object) -> None:
        answers.write(json.dumps(fields) + "\n")
        answers.flush()

    sys.path[0] = str(Path.cwd())  # like `python -m`
    try:
        function = find_function(spec)
    except Exception as error:  # imports can raise anything
        answer(error=f"{type(error).__name__}: {error}")
        return
    answer(takes_rate=takes_rate(function))
    for line in sys.stdin:
        asked = json.loads(line)
        settings = {} if asked["rate"] is None else {"rate": asked["rate"]}
        try:
            text = function(asked["text"], **settings)
            if not isinstance(text, str):
                raise TypeError(f"expected a string, got {type(text).__name__}")
        except Exception as error:  # compressors can raise anything
            answer(error=f"{type(error).__name__}: {error}")
        else:
            answer(text=text)


if __name__ == "__main__":
    main(sys.argv[1])
