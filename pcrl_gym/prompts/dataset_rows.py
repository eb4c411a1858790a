"""Conversion of dataset rows in common formats to prompts."""

from __future__ import annotations

import json
import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from pcrl_gym.errors import DatasetError, did_you_mean
from pcrl_gym.prompts.dataset_files import Table, json_type
from pcrl_gym.prompts.prompt import Prompt, text_problem

COLUMNS = {
    "instruction": ("instruction", "prompt", "question"),
    "input": ("input", "context"),
    "output": ("output", "response", "completion", "answer"),
    "source": ("source", "category"),
    "check": ("check",),
}
"""The fields of a prompt and their keys in common formats."""

CONVERSATIONS = ("messages", "conversations")
"""Keys for lists of chat messages."""

_ROLES = {
    "system": ("system", "developer"),
    "user": ("user", "human"),
    "assistant": ("assistant", "gpt", "chatgpt", "bing", "bard", "model"),
}
_ROLE_OF = {name: role for role, names in _ROLES.items() for name in names}


def prompts_from_rows(
    stem: str, tables: Sequence[Table], columns: Mapping[str, str] | None = None
) -> list[Prompt]:
    """Convert rows to prompts; default IDs begin with `stem`.

    Raises:
        DatasetError: If a row violates the schema, an ID is not unique, there are no rows, or a
            column is missing in all rows (see `pcrl_gym.load_prompts`).

    Warns:
        UserWarning: If conversations have turns after the first exchange.
    """
    prompts: list[Prompt] = []
    cut = 0
    columns = columns or {}
    for column, field in columns.items():
        if not any(isinstance(row, dict) and column in row for _, rows in tables for row in rows):
            raise DatasetError(
                f"{tables[0][0]}: no row has the column {column!r} (mapped to {field!r})"
            )
    for origin, rows in tables:
        for number, row in enumerate(rows):
            try:
                if not isinstance(row, dict):
                    raise ValueError(f"expected an object, got {json_type(row)}")
                row = rename_columns(row, columns) if columns else row
                texts, has_later_turns = read_row(row)
                row_id = _row_id(row, f"{stem}:{len(prompts)}")
            except ValueError as error:
                raise DatasetError(f"{origin}: row {number} (the first is 0): {error}") from error
            cut += has_later_turns
            prompts.append(Prompt(id=row_id, **texts))
    if cut:
        warnings.warn(
            f"{stem}: {cut} of {len(prompts)} rows are conversations with several turns, of which "
            "only the first is read",
            stacklevel=4,  # the caller of `load_prompts`
        )
    return check_prompts(prompts, tables[0][0])


def check_prompts(prompts: Sequence[Prompt], origin: str) -> list[Prompt]:
    """Return prompts as a list.

    Raises:
        DatasetError: If there are none, one is empty or not a `Prompt`, or two have the same ID.
    """
    for prompt in prompts:
        if not isinstance(prompt, Prompt):
            raise DatasetError(
                f"{origin}: expected Prompt objects, got {type(prompt).__name__}; to read a file, "
                "pass its path"
            )
        if _is_empty(prompt.instruction, prompt.input):
            raise DatasetError(
                f"{origin}: prompt {prompt.id!r} is empty: give it an instruction or an input"
            )
    if not prompts:
        raise DatasetError(f"{origin}: no prompts found")
    most_common, count = Counter(prompt.id for prompt in prompts).most_common(1)[0]
    if count > 1:
        raise DatasetError(f"{origin}: key 'id': {count} rows have the id {most_common!r}")
    return list(prompts)


def check_columns(columns: Mapping[str, str]) -> None:
    """Check the fields that columns are mapped to.

    Raises:
        ValueError: If a field is neither a prompt field nor a conversation, or is given twice.
    """
    known = (*COLUMNS, "id", *CONVERSATIONS)
    for column, field in columns.items():
        if field not in known:
            raise ValueError(
                f"columns: {column!r} cannot be read as {field!r}{did_you_mean(str(field), known)}"
            )
    if len(set(columns.values())) < len(columns):
        raise ValueError(f"columns: each field can have only one column, got {dict(columns)}")


def rename_columns(row: Mapping[str, Any], columns: Mapping[str, str]) -> dict[str, Any]:
    """Return a row with columns renamed to fields, without other keys for the same fields.

    Example:
        >>> rename_columns({"prompt": "Old.", "task": "New."}, {"task": "instruction"})
        {'instruction': 'New.'}
    """
    replaced = {name for field in columns.values() for name in COLUMNS.get(field, (field,))}
    if replaced.intersection(COLUMNS["instruction"]):
        replaced.update(CONVERSATIONS)
    kept = {name: value for name, value in row.items() if name not in replaced | columns.keys()}
    return kept | {field: row[column] for column, field in columns.items() if column in row}


def _row_id(row: Mapping[str, Any], default: str) -> str:
    row_id: Any = row.get("id")
    if isinstance(row_id, int) and not isinstance(row_id, bool):
        return str(row_id)
    if row_id is None or row_id == "":
        return default
    if problem := text_problem(row_id):
        raise ValueError(f"key 'id' {problem}")
    return str(row_id)


def read_row(row: Mapping[str, Any]) -> tuple[dict[str, str], bool]:
    """Read a row with the keys of `COLUMNS` or `CONVERSATIONS`.

    Null counts as absent, but a null instruction as an empty string. Only the first exchange of a
    conversation is read, see `pcrl_gym.load_prompts`. The constraints of an IFEval row become its
    check.

    Returns:
        The fields of `Prompt` that the row has, including `instruction`, and whether it is a
        conversation that continues after the first answer.

    Raises:
        ValueError: If there is no instruction, the prompt is empty, a value is neither text nor a
            conversation, or two keys hold different texts for one field.

    Example:
        >>> read_row({"question": "Who?", "answer": "Me.", "level": 3})
        ({'instruction': 'Who?', 'output': 'Me.'}, False)
    """
    given = {key: value for key, value in row.items() if value is not None}
    conversations = {key: given[key] for key in CONVERSATIONS if key in given}
    if isinstance(given.get("prompt"), list):  # TRL's conversational form
        conversations["prompt"] = given.pop("prompt")
        if isinstance(given.get("completion"), list):
            conversations["prompt"] = conversations["prompt"] + given.pop("completion")
    found: dict[str, dict[str, str]] = {field: {} for field in COLUMNS}
    for field, keys in COLUMNS.items():
        for key in keys:
            if key in given:
                if problem := text_problem(given[key]):
                    raise ValueError(f"key {key!r} {problem}")
                found[field][key] = given[key]
    has_later_turns = False
    for key, messages in conversations.items():
        exchange, continues = _first_exchange(key, messages)
        has_later_turns |= continues
        for field, text in exchange.items():
            found[field][key] = text
    texts = {field: _the_one(field, texts) for field, texts in found.items() if texts}
    if "check" not in texts and "instruction_id_list" in given:
        ids, kwargs = given["instruction_id_list"], given.get("kwargs")
        texts["check"] = "ifeval:" + json.dumps({"ids": ids, "kwargs": kwargs})
    if "instruction" not in texts and not row.keys() & {*COLUMNS["instruction"], *CONVERSATIONS}:
        others = ", ".join(map(repr, (*COLUMNS["instruction"][1:], *CONVERSATIONS)))
        raise ValueError(
            f"key 'instruction' and its alternatives ({others}) are missing; "
            f"the row has {', '.join(map(str, row)) or 'no keys'}"
        )
    if _is_empty(texts.setdefault("instruction", ""), texts.get("input", "")):
        raise ValueError("the prompt is empty: write an instruction, or delete the row")
    return texts, has_later_turns


def _is_empty(instruction: str, user_input: str) -> bool:
    return not (instruction.strip() or user_input.strip())


def _the_one(field: str, texts: Mapping[str, str]) -> str:
    """Return the text of a field that may be stored under several keys."""
    different = {key: text for key, text in texts.items() if text.strip()}
    if field != "source" and len({text.strip() for text in different.values()}) > 1:
        keys = " and ".join(map(repr, different))
        raise ValueError(
            f"keys {keys} contain different texts, and each could be the {field}: keep one, and "
            "remove or rename the others"
        )
    return next(iter(different.values()), next(iter(texts.values())))


def _first_exchange(key: str, messages: Any) -> tuple[dict[str, str], bool]:
    """Return the prompt fields of a conversation and whether it continues after them."""
    if isinstance(messages, Mapping) and all(isinstance(m, list) for m in messages.values()):
        # `datasets.Sequence` stores a list of objects like this.
        columns = zip(*messages.values(), strict=True)
        messages = [dict(zip(messages, values, strict=True)) for values in columns]
    if not isinstance(messages, list):
        raise ValueError(f"key {key!r} must be a list of messages, got {type(messages).__name__}")
    turns: dict[str, list[str]] = {role: [] for role in _ROLES}
    for number, message in enumerate(messages):
        place = f"key {key!r}, message {number} (the first is 0)"
        role, text = _read_message(message, place)
        order = "an optional system message, then the user's, then the assistant's"
        if role == "system" and turns["user"]:
            raise ValueError(f"{place}: a system message after the user's; expected {order}")
        if role == "assistant" and not turns["user"]:
            raise ValueError(f"{place}: an answer before a user message; expected {order}")
        turns[role].append(text)
        if role == "assistant":
            break
    if not turns["user"]:
        raise ValueError(f"key {key!r} has no user message")
    system, user, answer = ("\n".join(turns[role]) for role in _ROLES)
    exchange = {"instruction": system, "input": user} if system.strip() else {"instruction": user}
    if answer:
        exchange["output"] = answer
    return exchange, bool(turns["assistant"]) and number + 1 < len(messages)


def _read_message(message: Any, place: str) -> tuple[str, str]:
    """Return the role and text of an OpenAI (role, content) or ShareGPT (from, value) message."""
    if not isinstance(message, Mapping):
        raise ValueError(f"{place}: expected an object, got {type(message).__name__}")
    # In a Parquet file that mixes both formats, columns that do not apply are null.
    role_key, text_key = ("from", "value") if message.get("from") else ("role", "content")
    role = _ROLE_OF.get(str(message.get(role_key)))
    if role is None:
        raise ValueError(
            f"{place}: expected 'role' and 'content', or 'from' and 'value', with one of the "
            f"roles {', '.join(_ROLE_OF)}; got role {message.get(role_key)!r}"
        )
    content: Any = message.get(text_key)
    if content is None and role == "assistant":
        return role, ""  # a tool call
    if isinstance(content, list):
        content = "".join(_read_part(part, place) for part in content)
    if problem := text_problem(content):
        raise ValueError(f"{place}: {text_key!r} {problem}")
    return role, content


def _read_part(part: Any, place: str) -> str:
    text = part.get("text") if isinstance(part, Mapping) else part
    if not isinstance(text, str):
        kind = part.get("type") if isinstance(part, Mapping) else type(part).__name__
        raise ValueError(f"{place}: expected text parts, got a part of type {kind!r}")
    return text
