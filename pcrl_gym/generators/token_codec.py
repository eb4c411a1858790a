"""Conversion between text and token IDs: encodes prompts and decodes answers."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

from pcrl_gym.episodes.tokenizers import TextEncoder
from pcrl_gym.generators.base import Answer

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast


class TokenCodec:
    """Encodes prompts and decodes answers of a generator.

    A causal model reads the BOS that its tokenizer adds, if any, but no EOS, since it continues the
    text. An encoder always reads an EOS at the end. An empty prompt becomes BOS, else EOS, else
    padding. Answers end with one of `eos_ids`.
    """

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerFast,
        is_encoder_decoder: bool,
        pad_token_id: int,
        eos_ids: Collection[int] = (),
    ) -> None:
        self._tokenizer = tokenizer
        self._encoder = TextEncoder(tokenizer)
        self._to_encoder = is_encoder_decoder
        self._eos_ids = eos_ids
        bos, self._eos = tokenizer.bos_token_id, tokenizer.eos_token_id
        self._closes = self._encoder.prompt_ids(["a"])[0][-1] == self._eos
        self._start = next(i for i in (bos, self._eos, pad_token_id) if i is not None)
        # SentencePiece adds the space before a text itself.
        spaced = self._encoder.encodings(["a"])[0].tokens[0].startswith("\u2581")
        self._lead = "" if spaced else " "

    def prompts(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the token IDs of each prompt; no row is empty."""
        eos, rows = self._eos, self._encoder.prompt_ids(texts)
        if self._to_encoder:
            end = [] if eos is None else [eos]
            rows = [row if row[-1:] == end else row + end for row in rows]
        else:
            # Some tokenizers append EOS to every text.
            rows = [row[:-1] if self._closes and row[-1:] == [eos] else row for row in rows]
        return [row or [self._start] for row in rows]

    def owners(
        self, texts: Sequence[str], pieces: Sequence[Sequence[tuple[int, int]]]
    ) -> list[list[int]]:
        """Return the index of the piece in which each token of `prompts` begins, or -1 if none.

        Pieces are character ranges of the text, in order and without overlap.
        """
        found = []
        rows, places = self.prompts(texts), self._encoder.prompt_places(texts)
        for row, begins, own in zip(rows, places, pieces, strict=True):
            starts = [start for start, _ in own]
            owners = []
            for place in begins:
                n = bisect_right(starts, place) - 1
                owners.append(n if n >= 0 and place < own[n][1] else -1)
            # A final EOS may have been removed or added.
            found.append([*owners, *[-1] * len(row)][: len(row)])
        return found

    def answers(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the token IDs of each answer, without an end token.

        The answer is encoded as if a space preceded it, so that its first word gets the same token
        as inside a prompt. Generators strip their answers.
        """
        return self._encoder.prompt_ids([self._lead + t for t in texts], add_special_tokens=False)

    def drafts(self, drafts: Sequence[Answer | str], limit: int) -> list[list[int]]:
        """Return the token IDs of each draft as an answer, up to the limit or its end token."""
        texts = [draft for draft in drafts if isinstance(draft, str)]
        encoded = iter(self.answers(texts))  # only a guess; the model decides
        end = sorted(self._eos_ids)[:1]
        rows = [
            [*next(encoded), *end] if isinstance(draft, str) else list(draft.token_ids)
            for draft in drafts
        ]
        return [self._cut(row[:limit]) for row in rows]

    def count(self, texts: Sequence[str]) -> list[int]:
        """Count the tokens of each text, without BOS and EOS."""
        return [len(ids) for ids in self._encoder.prompt_ids(texts, add_special_tokens=False)]

    def answer(self, tokens: list[int]) -> Answer:
        """Return the answer with these token IDs, which may be padded after the end."""
        tokens = self._cut(tokens)
        text = self._tokenizer.decode(
            tokens, skip_special_tokens=True, clean_up_tokenization_spaces=False
        )
        return Answer(str(text).strip(), tuple(tokens))

    def _cut(self, tokens: list[int]) -> list[int]:
        end = next((k for k, token in enumerate(tokens) if token in self._eos_ids), len(tokens))
        return tokens[: end + 1]
