"""Select the texts of chat messages to compress, and put the compressed texts back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

from pcrl_gym.compressor.arguments import check_text
from pcrl_gym.compressor.compression import Compression
from pcrl_gym.compressor.saving import TokenCounts

Messages: TypeAlias = Sequence[Mapping[str, Any]]


class Place(NamedTuple):
    """Position of a text: a message, and a part of its content if the content has parts."""

    message: int
    part: int | None = None


@dataclass(frozen=True)
class CompressedMessages(TokenCounts):
    """A compressed conversation.

    Attributes:
        messages: The messages after compression, as new dictionaries with the original keys.
        compressions: The compression of each compressed text.
        places: The position of each of these texts.
        original_tokens: Tokens of all texts of all messages before compression, including texts
            that were not compressed. Tokens that a chat template adds are not counted.
        compressed_tokens: Tokens of all texts after compression.
        template_tokens: 0.
    """

    messages: list[dict[str, Any]]
    compressions: tuple[Compression, ...]
    places: tuple[Place, ...]
    original_tokens: int
    compressed_tokens: int
    template_tokens: int = 0

    def to_dict(self) -> dict[str, Any]:
        """Return the result as JSON-compatible data."""
        return {
            "messages": self.messages,
            **self._counts(),
            "places": [list(place) for place in self.places],
            "compressions": [one.to_dict() for one in self.compressions],
        }


def find_texts(messages: Messages) -> dict[Place, str]:
    """Return all texts of the messages by position, in order.

    Texts are string contents and the `text` of each part `{"type": "text", "text": ...}` of list
    contents. Other contents (None, images, ...) have none.

    Raises:
        ValueError: If the messages are not a list of mappings with a role, or a text is invalid.

    Example:
        >>> find_texts([{"role": "user", "content": "Hi"}])
        {Place(message=0, part=None): 'Hi'}
    """
    if isinstance(messages, (str, Mapping)) or not isinstance(messages, Sequence):
        raise ValueError(f"messages must be a list of messages, got {type(messages).__name__}")
    found: dict[Place, Any] = {}
    for i, message in enumerate(messages):
        if not isinstance(message, Mapping) or not isinstance(message.get("role"), str):
            raise ValueError(
                f'messages[{i}] must look like {{"role": "user", "content": ...}}, got '
                f"{str(message)[:60]!r}"
            )
        content = message.get("content")
        if isinstance(content, str):
            found[Place(i)] = content
        elif isinstance(content, Sequence):
            for j, part in enumerate(content):
                if isinstance(part, Mapping) and part.get("type") == "text":
                    found[Place(i, j)] = part.get("text")
    for place, text in found.items():
        part = "" if place.part is None else f"[{place.part}]['text']"
        check_text(f"messages[{place.message}]['content']{part}", text)
    return found


def chosen_places(
    messages: Messages,
    places: Sequence[Place],
    roles: Sequence[str] = ("user",),
    cache_until: int | None = None,
) -> tuple[Place, ...]:
    """Return the positions of the texts to compress.

    Args:
        messages: The messages.
        places: The positions of their texts.
        roles: Roles whose messages are compressed.
        cache_until: Index of the first message that may change, as in a slice: -1 is the last
            message. If None, every message may change.

    Raises:
        ValueError: If `roles` are not strings, or `cache_until` is not an index of the messages.
    """
    if isinstance(roles, str) or not all(isinstance(role, str) for role in roles):
        raise ValueError(f"roles must be a sequence of strings such as ('user',), got {roles!r}")
    n = len(messages)
    if cache_until is not None and (
        isinstance(cache_until, bool)
        or not isinstance(cache_until, int)
        or not -n <= cache_until <= n
    ):
        raise ValueError(
            f"cache_until must be an index into the {n} messages or None, got {cache_until!r}"
        )
    first = len(range(n)[:cache_until]) if cache_until is not None else 0
    return tuple(
        place
        for place in places
        if place.message >= first and messages[place.message]["role"] in roles
    )


def replaced(
    messages: Messages, places: Sequence[Place], texts: Sequence[str]
) -> list[dict[str, Any]]:
    """Return copies of the messages with new texts at the given positions.

    Example:
        >>> replaced([{"role": "user", "content": "Hi there", "name": "A"}], [Place(0)], ["Hi"])
        [{'role': 'user', 'content': 'Hi', 'name': 'A'}]
    """
    copies = [dict(message) for message in messages]
    for (i, j), text in zip(places, texts, strict=True):
        if j is None:
            copies[i]["content"] = text
        else:
            parts = list(copies[i]["content"])
            parts[j] = {**parts[j], "text": text}
            copies[i]["content"] = parts
    return copies
