"""Prompts and options for the tests of the environments."""

from __future__ import annotations

from typing import Any

from fakes import CountingGenerator
from pcrl_gym.prompts.prompt import Prompt

ID = "pcrl_gym:PromptCompression-v0"

PROMPTS = [
    Prompt("reverse", "Please write the words in reverse order", "one two three", "three two one"),
    Prompt("sort", "Sort the numbers from small to large", "3 14 15"),
    Prompt("opposite", "What is the opposite of hot?"),
    Prompt("unicode", "Say 你好 and שלום, naïve \U0001f600", "Input: <|endoftext|> \x1b[2J\ttab"),
    Prompt("long", "List all of these: " + "word " * 90),
]

SCORE_KEYS = {
    "compressed_prompt", "output", "compressed_output", "similarity", "partial", "survived",
    "compression_ratio", "drop_rate", "original_tokens", "compressed_tokens",
}  # fmt: skip
"""What `info` holds of a scored prompt that every reward's has."""


def options(tokenizer: Any, **changes: Any) -> dict[str, Any]:
    """Keyword arguments for `gym.make`: five prompts and a fake generator of their own."""
    base = {
        "dataset": PROMPTS,
        "generator": CountingGenerator(),
        "tokenizer": tokenizer,
        "max_units": 64,
    }
    return base | changes
