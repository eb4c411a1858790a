"""Names with settings, such as `name:key=value,key=value`."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import json
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from pcrl_gym.errors import did_you_mean

_OPENING = ('"', "[", "{")
_PYTHON = {"True": True, "False": False, "None": None}


def find_object(spec: str, what: str) -> Any:
    """Return the object at `module:name`, or None if the module has no such attribute.

    `what` describes the object in error messages.

    Raises:
        ValueError: If there is no such module, or `spec` is not of the form `module:name`.

    Example:
        >>> find_object("json:dumps", "function")([])
        '[]'
    """
    module_name, _, name = spec.partition(":")
    if not module_name or not name:
        raise ValueError(f"{what} {spec!r}: expected module:name")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        # If the module exists but one of its own imports is missing, let that error through.
        if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
            raise
        raise ValueError(
            f"{what} {spec!r}: there is no module {module_name!r} on the Python path"
        ) from error
    return getattr(module, name, None)


def parse_spec(spec: str) -> tuple[str, dict[str, Any]]:
    """Split a name from its settings.

    A value is JSON (`true`, `false`, `null`, a number, or text in quotes, brackets, or braces;
    Python's `True`, `False`, and `None` also work). Any other text up to the next comma is a
    string. The name itself may contain colons.

    Raises:
        ValueError: If a setting has no name or no value or appears twice, or quotes or brackets are
            not closed.

    Example:
        >>> parse_spec("chat:system=Be brief.,enable_thinking=false")
        ('chat', {'system': 'Be brief.', 'enable_thinking': False})
        >>> parse_spec('chat:system="Be brief, please."')
        ('chat', {'system': 'Be brief, please.'})
        >>> parse_spec("my_module:MyAgent:rate=0.3")
        ('my_module:MyAgent', {'rate': 0.3})
    """
    head, equals, _ = spec.partition("=")
    name, colon, _ = head.rpartition(":") if equals and ":" in head else spec.partition(":")
    rest = spec[len(name) + 1 :]
    settings: dict[str, Any] = {}
    while colon:
        key, equals, rest = rest.partition("=")
        key = key.strip()
        if not equals or not key.isidentifier() or key in settings:
            problem = "appears twice" if key in settings else "is not of the form key=value"
            raise ValueError(
                f"expected {name}:key=value,key=value with each key once, got {spec!r}: "
                f"{(key or rest)!r} {problem}; put values with commas in double quotes"
            )
        settings[key], colon, rest = _value(rest, spec)
    return name, settings


def format_spec(name: str, settings: Mapping[str, Any]) -> str:
    """Return the canonical string that `parse_spec` parses to the given name and settings.

    Raises:
        ValueError: If a value is not JSON.

    Example:
        >>> format_spec("chat", {"system": "Be brief, please.", "enable_thinking": False})
        'chat:enable_thinking=false,system="Be brief, please."'
        >>> format_spec("chat", {})
        'chat'
    """
    pairs = ",".join(f"{key}={_written(key, settings[key])}" for key in sorted(settings))
    return f"{name}:{pairs}" if pairs else name


def check_settings(
    settings: Mapping[str, Any],
    target: Callable[..., Any],
    owner: str,
    allowed: Sequence[str] = (),
) -> dict[str, Any]:
    """Convert settings to the parameter types of a function or class constructor.

    Error messages call it `owner`. If `allowed` is empty, all its parameters may be set.

    Raises:
        ValueError: If a setting is unknown or has the wrong type.
    """
    check_names(settings, target, owner, allowed)
    is_class = isinstance(target, type) and not dataclasses.is_dataclass(target)
    try:
        hints = typing.get_type_hints(target.__init__ if is_class else target, include_extras=True)
    except NameError:  # imported only for type checkers
        hints = {}
    return {
        name: check_value(value, hints.get(name, Any), f"{owner}.{name}")
        for name, value in settings.items()
    }


def check_fields(instance: Any, owner: str) -> None:
    """Convert the fields of a frozen dataclass to their annotated types, in its `__post_init__`.

    Raises:
        ValueError: If a field has the wrong type or is outside the range of its annotation.
    """
    fields = {one.name: getattr(instance, one.name) for one in dataclasses.fields(instance)}
    for name, value in check_settings(fields, type(instance), owner).items():
        object.__setattr__(instance, name, value)


def check_names(
    names: Iterable[str], target: Callable[..., Any], owner: str, allowed: Sequence[str] = ()
) -> None:
    """Check that a function or class constructor has these parameters.

    Raises:
        ValueError: If a name is unknown and `target` takes no `**` parameter.
    """
    parameters = inspect.signature(target).parameters.values()
    if not allowed and any(p.kind is p.VAR_KEYWORD for p in parameters):
        return
    known = allowed or [p.name for p in parameters]
    for name in names:
        if name not in known:
            hint = did_you_mean(name, known) if known else "; it has no settings"
            raise ValueError(f"{owner} has no setting {name!r}{hint}")


def check_value(value: Any, kind: Any, name: str) -> Any:
    """Convert a value to the type of a field, using pydantic.

    Args:
        value: A value parsed from JSON or YAML. YAML parses `1e-4` as a string, so numbers may be
            strings. Booleans are not numbers, and numbers must be finite.
        kind: The type. If pydantic does not support it, the value is returned unchanged.
        name: Name of the field in error messages.

    Raises:
        ValueError: If the value cannot be converted; the message states the expected type.

    Example:
        >>> check_value("1e-4", float, "lr"), check_value([1, 2], tuple[int, ...], "sizes")
        (0.0001, (1, 2))
        >>> check_value(12, str | None, "task.dataset")
        Traceback (most recent call last):
        ValueError: task.dataset: expected a valid string, got 12; put it in quotes
    """
    from pydantic import ConfigDict, PydanticUserError, TypeAdapter, ValidationError

    try:
        adapter = TypeAdapter(kind, config=ConfigDict(allow_inf_nan=False))
    except PydanticUserError:
        return value
    strict = isinstance(value, bool) or kind is bool
    try:
        return adapter.validate_python(value, strict=strict or None)
    except ValidationError as error:
        found = error.errors()
        expected = " or ".join(one["msg"].replace("Input should be", "expected") for one in found)
        hint = "; put it in quotes" if any(one["type"] == "string_type" for one in found) else ""
        raise ValueError(f"{name}: {expected}, got {value!r}{hint}") from None


def _value(text: str, spec: str) -> tuple[Any, str, str]:
    """Parse one value; return it, the comma after it, and the rest."""
    text = text.lstrip()
    if not text.startswith(_OPENING):
        bare, comma, rest = text.partition(",")
        return _scalar(bare.strip()), comma, rest
    try:
        value, end = json.JSONDecoder().raw_decode(text)
    except ValueError as error:
        raise ValueError(f"{spec!r} contains {text!r}, which is not valid JSON: {error}") from error
    rest = text[end:].lstrip()
    if rest[:1] not in ("", ","):
        raise ValueError(f"expected a comma or the end after {text[:end]} in {spec!r}")
    return value, rest[:1], rest[1:]


def _scalar(text: str) -> Any:
    if text in _PYTHON:
        return _PYTHON[text]
    try:
        value = json.loads(text)
    except ValueError:
        return text
    # NaN and Infinity are not JSON, although `json` parses them.
    return text if text.endswith(("NaN", "Infinity")) else value


def _written(key: str, value: Any) -> str:
    try:
        quoted = json.dumps(value, ensure_ascii=False, allow_nan=False, sort_keys=True)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{key} must be a JSON value, got {value!r}: {error}") from error
    if not isinstance(value, str):
        return quoted
    plain = value == value.strip() and "," not in value and not value.startswith(_OPENING)
    return value if plain and value and _scalar(value) == value and "\n" not in value else quoted
