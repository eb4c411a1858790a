"""A question with its compressed context."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pcrl_gym.compressor.compression import Compression
from pcrl_gym.compressor.saving import TokenCounts


@dataclass(frozen=True)
class CompressedContext(TokenCounts):
    """A question with its compressed context.

    Attributes:
        question: The question, unchanged.
        compressions: The compression of each text of the context.
        original_tokens: Tokens of the question and the context before compression.
        compressed_tokens: Tokens of the question and the context after compression.
        template_tokens: 0.
    """

    question: str
    compressions: tuple[Compression, ...]
    original_tokens: int
    compressed_tokens: int
    template_tokens: int = 0

    @property
    def context(self) -> list[str]:
        """The compressed texts of the context."""
        return [one.text for one in self.compressions]

    def to_dict(self) -> dict[str, Any]:
        """Return the result as JSON-compatible data."""
        return {
            "question": self.question,
            "context": self.context,
            **self._counts(),
            "compressions": [one.to_dict() for one in self.compressions],
        }
