"""Parse JSON records: a field of an object, or chat messages."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from pcrl_gym.compressor.commands.records import Content, Parse, Written
from pcrl_gym.compressor.messages import chosen_places, find_texts, replaced
from pcrl_gym.errors import did_you_mean
from pcrl_gym.prompts.prompt import text_problem


def json_field(field: str) -> Parse:
    """Return a parser for JSON objects of which one field is compressed.

    A dotted field is nested: `a.b` is `b` of the object `a`, and `a.0` is the first item of the
    list `a`. A field named `a.b` takes precedence. Blank lines are unchanged.

    Example:
        >>> text, write = json_field("row.prompt")('{"id": 7, "row": {"prompt": "Please sort"}}')
        >>> text, write(["sort"])
        ('Please sort', '{"id": 7, "row": {"prompt": "sort"}}')
    """

    def parse(text: str) -> tuple[Content, Written]:
        if not text.strip():
            return None, lambda texts: text
        row = _loaded(text)
        holder, key = _place(row, field)
        if not isinstance(holder[key], str):
            raise ValueError(f"needs a string in {field!r}, got {json.dumps(holder[key])[:60]}")

        def write(texts: Sequence[str]) -> str:
            holder[key] = texts[0]
            return _like(text, row)

        return holder[key], write

    return parse


def json_messages(field: str) -> Parse:
    """Return a parser for chat messages: a JSON list, or an object with one in a field.

    User messages are compressed. For `field`, see `json_field`.
    """

    def parse(text: str) -> tuple[Content, Written]:
        if not text.strip():
            return None, lambda texts: text
        row: Any = {field: _loaded(text)}
        alone = isinstance(row[field], list)
        holder, key = (row, field) if alone else _place(row[field], field)
        messages = holder[key]
        try:
            places = chosen_places(messages, list(find_texts(messages)))
        except ValueError as error:
            raise ValueError(f"has no chat messages: {error}") from error

        def write(texts: Sequence[str]) -> str:
            holder[key] = replaced(messages, places, texts)
            return _like(text, row[field])

        return messages, write

    return parse


def _loaded(text: str) -> Any:
    try:
        return json.loads(text.removeprefix("\ufeff"))
    except (ValueError, RecursionError) as error:  # ValueError also if integers are too long
        raise ValueError(f"is not valid JSON: {error}") from error


def dump(value: Any, indent: int | None = None) -> str:
    r"""Return a value as JSON that can be encoded as UTF-8.

    Example:
        >>> print(dump(["é"]), dump(["\ud800"]))
        ["é"] ["\ud800"]
    """
    written = json.dumps(value, ensure_ascii=False, indent=indent)
    return json.dumps(value, indent=indent) if text_problem(written) else written


def _like(text: str, value: Any) -> str:
    """Return a value as JSON, on several lines if the original text has several lines."""
    return dump(value, indent=2 if "\n" in text else None)


def _place(row: Any, field: str) -> tuple[Any, Any]:
    """Return the object or list that holds a field, and its key or index there."""
    first, dot, rest = field.partition(".")
    if isinstance(row, dict) and field in row:
        return row, field
    key: Any = int(first) if isinstance(row, list) and first.isdecimal() else first
    if (isinstance(row, dict) and key in row) or (isinstance(key, int) and key < len(row)):
        return _place(row[key], rest) if dot else (row, key)
    known = did_you_mean(first, map(str, row)) if isinstance(row, dict) and row else ""
    raise ValueError(f"has no field {field!r}{known}")
