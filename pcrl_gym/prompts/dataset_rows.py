"""Rows of datasets: the columns of common formats, read as the texts of a prompt."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from pcrl_gym.prompts.prompt import text_problem

COLUMNS = {
    "instruction": ("instruction", "prompt", "question"),
    "input": ("input", "context"),
    "output": ("output", "response", "completion", "answer"),
    "source": ("source", "category"),
}
"""The fields of a prompt, and the keys under which common formats keep them."""

CONVERSATIONS = ("messages", "conversations")
"""Keys of a list of chat messages."""

_ROLES = {
    "system": ("system", "developer"),
    "user": ("user", "human"),
    "assistant": ("assistant", "gpt", "chatgpt", "bing", "bard", "model"),
}
_ROLE_OF = {name: role for role, names in _ROLES.items() for name in names}


class Row(NamedTuple):
    """What a row says about a prompt.

    Attributes:
        texts: The fields of `Prompt` that the row has; `instruction` is among them.
        has_later_turns: Whether it is a conversation that goes on after the first answer.
    """

    texts: dict[str, str]
    has_later_turns: bool


def read_row(row: Mapping[str, Any]) -> Row:
    """Read a row under the keys of `COLUMNS` or `CONVERSATIONS`.

    Null counts as absent, and as instruction like an empty string.

    Of a conversation the first exchange is read: the user message is the instruction, or the
    input if a system message comes before it, which then is the instruction; the message of the
    assistant that follows is the output.

    Raises:
        ValueError: If there is no instruction or no text in the prompt, a value is no text or no
            conversation, or two keys hold different texts for one field.

    Example:
        >>> read_row({"question": "Who?", "answer": "Me.", "level": 3}).texts
        {'instruction': 'Who?', 'output': 'Me.'}
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
        exchange, goes_on = _first_exchange(key, messages)
        has_later_turns |= goes_on
        for field, text in exchange.items():
            found[field][key] = text
    texts = {field: _the_one(field, texts) for field, texts in found.items() if texts}
    if "instruction" not in texts and not row.keys() & {*COLUMNS["instruction"], *CONVERSATIONS}:
        others = ", ".join(map(repr, (*COLUMNS["instruction"][1:], *CONVERSATIONS)))
        raise ValueError(
            f"key 'instruction' is missing, and so are those that may stand for it ({others}); "
            f"the row has {', '.join(map(str, row)) or 'none'}"
        )
    if is_empty(texts.setdefault("instruction", ""), texts.get("input", "")):
        raise ValueError("the prompt is empty: write an instruction, or delete the row")
    return Row(texts, has_later_turns)


def is_empty(instruction: str, user_input: str) -> bool:
    """Return whether a prompt has no text but white space."""
    return not (instruction.strip() or user_input.strip())


def _the_one(field: str, texts: Mapping[str, str]) -> str:
    """Return the text of a field that several keys may hold."""
    different = {key: text for key, text in texts.items() if text.strip()}
    if field != "source" and len({text.strip() for text in different.values()}) > 1:
        keys = " and ".join(map(repr, different))
        raise ValueError(
            f"keys {keys} hold different texts, and each may be the {field}: keep one, and remove "
            "or rename the others"
        )
    return next(iter(different.values()), next(iter(texts.values())))


def _first_exchange(key: str, messages: Any) -> tuple[dict[str, str], bool]:
    """Return the fields of a prompt in a conversation, and whether it goes on after them."""
    if isinstance(messages, Mapping) and all(isinstance(m, list) for m in messages.values()):
        # How `datasets.Sequence` stores a list of objects.
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
    """Return role and text of a message, OpenAI's (role, content) or ShareGPT's (from, value)."""
    if not isinstance(message, Mapping):
        raise ValueError(f"{place}: expected an object, got {type(message).__name__}")
    # Columns of a Parquet file that mixes both forms are null where they do not apply.
    role_key, text_key = ("from", "value") if message.get("from") else ("role", "content")
    role = _ROLE_OF.get(str(message.get(role_key)))
    if role is None:
        raise ValueError(
            f"{place}: expected 'role' and 'content', or 'from' and 'value', with one of the "
            f"roles {', '.join(_ROLE_OF)}; got the role {message.get(role_key)!r}"
        )
    content: Any = message.get(text_key)
    if content is None and role == "assistant":
        return role, ""  # a call of a tool
    if isinstance(content, list):
        content = "".join(_read_part(part, place) for part in content)
    if problem := text_problem(content):
        raise ValueError(f"{place}: {text_key!r} {problem}")
    return role, content


def _read_part(part: Any, place: str) -> str:
    text = part.get("text") if isinstance(part, Mapping) else part
    if not isinstance(text, str):
        kind = part.get("type") if isinstance(part, Mapping) else type(part).__name__
        raise ValueError(f"{place}: expected parts of text, got one of type {kind!r}")
    return text
