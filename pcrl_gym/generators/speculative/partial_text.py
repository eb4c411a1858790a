"""The text of an answer that is certain while its tokens are still being decoded."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from pcrl_gym.episodes.words import ASCII_WORD, UNICODE_WORD, find_words
from pcrl_gym.generators.base import Answer

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

UNKNOWN = "\N{REPLACEMENT CHARACTER}"
APPENDING = frozenset({"ByteLevel", "Metaspace", "ByteFallback", "Fuse", "Strip", "Replace"})
"""Decoders for which a further token only appends text, except bytes of incomplete characters."""


class GrowingText:
    """Decodes unfinished answers.

    Attributes:
        words_per_token: Maximum number of words, Unicode or ASCII, that a token can add; `None` if
            a token may change the text before it, so that nothing is certain.

    Example:
        >>> from pcrl_gym.episodes.tokenizers import load_tokenizer
        >>> GrowingText(load_tokenizer("micro")).words_per_token
        2
    """

    def __init__(self, tokenizer: PreTrainedTokenizerFast) -> None:
        self._backend = tokenizer.backend_tokenizer
        decoder = json.loads(self._backend.to_str())["decoder"] or {"decoders": []}
        steps = decoder.get("decoders", [decoder])
        self.words_per_token = self._max_words() if _appends(steps) else None
        falls_back = any(step["type"] == "ByteFallback" for step in steps)
        vocabulary = self._backend.get_vocab().items() if falls_back else ()
        self._bytes = {i for token, i in vocabulary if re.fullmatch("<0x[0-9A-F]{2}>", token)}
        added = self._backend.get_added_tokens_decoder().items()
        self._left_out = {i for i, token in added if token.special}  # also between two bytes

    def certain(self, tokens: Sequence[int]) -> str:
        """Return the text of tokens, with a trailing U+FFFD for each uncertain byte.

        Byte fallback decodes a run of bytes as a whole: one more can turn all of it into U+FFFD.
        """
        end, unknown = len(tokens), 0
        while end and (tokens[end - 1] in self._bytes or tokens[end - 1] in self._left_out):
            end -= 1
            unknown += tokens[end] in self._bytes
        text = self._backend.decode(list(tokens[:end]), skip_special_tokens=True)
        return text + UNKNOWN * unknown

    def partial_answer(self, tokens: Sequence[int]) -> Answer:
        """Return an unfinished answer with the part of its text that is certain."""
        return Answer(self.certain(tokens).rstrip(UNKNOWN).strip(), tuple(tokens), partial=True)

    def decider(
        self, decided: Callable[[int, str, int], bool], limit: int
    ) -> Callable[[int, list[int]], bool] | None:
        """Return `decided` as a function of an answer's tokens; see `DraftingGenerator`."""
        words = self.words_per_token
        if words is None:
            return None
        return lambda i, tokens: decided(i, self.certain(tokens), (limit - len(tokens)) * words)

    def _max_words(self) -> int:
        ids = [[i] for i in range(self._backend.get_vocab_size(with_added_tokens=True))]
        texts = self._backend.decode_batch(ids, skip_special_tokens=True)
        # A piece of a character may complete a character that is a word.
        pieces = {text.replace(UNKNOWN, " a ") for text in texts}
        return max(
            1, *(len(find_words(t, word)) for word in (UNICODE_WORD, ASCII_WORD) for t in pieces)
        )


def _appends(steps: list[dict[str, Any]]) -> bool:
    kinds = [step["type"] for step in steps]
    # A replacement after the tokens are fused may span two of them.
    fused = kinds.index("Fuse") if "Fuse" in kinds else len(kinds)
    return (
        bool(kinds)
        and APPENDING.issuperset(kinds)
        and "Replace" not in kinds[fused:]
        and all(step["stop"] == 0 for step in steps if step["type"] == "Strip")
    )
