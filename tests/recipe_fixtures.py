"""What the tests of the recipes of examples/clients share."""

from __future__ import annotations

from typing import Any

from pcrl_gym import Compressor
from pcrl_gym.compressor.calls import TextCompressor
from pcrl_gym.compressor.saving import TokenCounts

TEXT = "Could you please sort these words for me: pear, fig, apple"
CHAT: list[dict[str, Any]] = [
    {"role": "system", "content": "Could you please be brief."},
    {"role": "user", "content": TEXT, "name": "Ada"},
]


class Failing(TextCompressor):
    """A compressor that cannot."""

    def __init__(self, other: Compressor) -> None:
        self.builder = other.builder

    def _compressed(self, *arguments: Any) -> Any:
        raise RuntimeError("no memory")


def tokens(counts: TokenCounts) -> tuple[int, int]:
    """How many tokens there were before and after."""
    return counts.original_tokens, counts.compressed_tokens
