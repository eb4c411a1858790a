"""Values from YAML or the command line, checked against the type of the field they are for."""

from __future__ import annotations

import math
import types
import typing
from typing import Any

_NAMES = {bool: "true or false", int: "an integer", float: "a finite number", str: "a string"}


def convert(value: Any, kind: Any) -> Any:
    """Return a value as the type that a field asks for.

    Args:
        value: What YAML made of it. YAML takes `1e-4` for a string, so numbers may be strings.
        kind: `bool`, `int`, `float`, `str`, `None`, a `Literal`, `tuple[<one of these>, ...]` or a
            union of these.

    Raises:
        ValueError: If the value is no such thing; the message says what was expected.

    Example:
        >>> convert("1e-4", float), convert([1, 2], tuple[int, ...]), convert(None, int | None)
        (0.0001, (1, 2), None)
    """
    origin = typing.get_origin(kind)
    if kind is Any:
        return value
    if origin in (typing.Union, types.UnionType):
        for option in typing.get_args(kind):
            try:
                return convert(value, option)
            except ValueError:
                continue
    elif origin is typing.Literal:
        if value in typing.get_args(kind):
            return value
    elif origin is tuple:
        if isinstance(value, (list, tuple)):
            return tuple(convert(item, typing.get_args(kind)[0]) for item in value)
    elif kind in (int, float):
        number = _number(value)
        if number is not None and (kind is float or number == int(number)):
            return kind(number)
    elif kind is type(None):
        if value is None:
            return None
    elif isinstance(value, kind):
        return value
    hint = "; put it in quotes" if kind is str and not isinstance(value, (list, dict)) else ""
    raise ValueError(f"expected {describe(kind)}, got {value!r}{hint}")


def describe(kind: Any) -> str:
    """Say in words what values a type has.

    Example:
        >>> describe(int | None)
        'an integer or null'
    """
    origin = typing.get_origin(kind)
    if origin in (typing.Union, types.UnionType):
        return " or ".join(describe(option) for option in typing.get_args(kind))
    if origin is typing.Literal:
        return " or ".join(repr(option) for option in typing.get_args(kind))
    if origin is tuple:
        return f"a list with {describe(typing.get_args(kind)[0])} per item"
    if kind is type(None):
        return "null"
    return _NAMES.get(kind, getattr(kind, "__name__", str(kind)))


def _number(value: Any) -> int | float | None:
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            return None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        return None
    return value
