"""Names with settings, as `name:key=value,key=value`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

_OPENING = ('"', "[", "{")
_PYTHON = {"True": True, "False": False, "None": None}


def parse_spec(spec: str) -> tuple[str, dict[str, Any]]:
    """Split a name from its settings.

    A value is JSON (`true`, `false`, `null`, a number, or something in quotes, brackets or braces;
    Python's `True`, `False` and `None` do as well), and any other text up to the next comma is a
    string.

    Raises:
        ValueError: If a setting has no name or no value, or is there twice, or quotes or brackets
            are not closed.

    Example:
        >>> parse_spec("chat:system=Be brief.,enable_thinking=false")
        ('chat', {'system': 'Be brief.', 'enable_thinking': False})
        >>> parse_spec('chat:system="Be brief, please."')
        ('chat', {'system': 'Be brief, please.'})
    """
    name, colon, rest = spec.partition(":")
    settings: dict[str, Any] = {}
    while colon:
        key, equals, rest = rest.partition("=")
        key = key.strip()
        if not equals or not key.isidentifier() or key in settings:
            problem = "is there twice" if key in settings else "is not of the form key=value"
            raise ValueError(
                f"expected {name}:key=value,key=value with each key once, got {spec!r}: "
                f"{(key or rest)!r} {problem}; a value with a comma needs double quotes"
            )
        settings[key], colon, rest = _value(rest, spec)
    return name, settings


def format_spec(name: str, settings: Mapping[str, Any]) -> str:
    """Write what `parse_spec` reads; the same settings are always written the same.

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


def _value(text: str, spec: str) -> tuple[Any, str, str]:
    """Read one value; returns it, the comma behind it and what follows."""
    text = text.lstrip()
    if not text.startswith(_OPENING):
        bare, comma, rest = text.partition(",")
        return _scalar(bare.strip()), comma, rest
    try:
        value, end = json.JSONDecoder().raw_decode(text)
    except ValueError as error:
        raise ValueError(f"{spec!r} holds {text!r}, which is not valid JSON: {error}") from error
    rest = text[end:].lstrip()
    if rest[:1] not in ("", ","):
        raise ValueError(f"expected a comma or the end behind {text[:end]} in {spec!r}")
    return value, rest[:1], rest[1:]


def _scalar(text: str) -> Any:
    def refuse(constant: str) -> Any:  # NaN and Infinity are not JSON
        raise ValueError(constant)

    if text in _PYTHON:
        return _PYTHON[text]
    try:
        return json.loads(text, parse_constant=refuse)
    except ValueError:
        return text


def _written(key: str, value: Any) -> str:
    try:
        quoted = json.dumps(value, ensure_ascii=False, allow_nan=False, sort_keys=True)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{key} must be a JSON value, got {value!r}: {error}") from error
    if not isinstance(value, str):
        return quoted
    plain = value == value.strip() and "," not in value and not value.startswith(_OPENING)
    return value if plain and value and _scalar(value) == value and "\n" not in value else quoted
