"""What a model reads for a prompt, and the tokens that an answer is made of."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pcrl_gym.episodes.tokenizers import TextEncoder

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast


class PromptEncoder:
    """Encodes prompts as a generator reads them.

    A causal model reads the BOS that its tokenizer adds, if any, and no EOS, since it continues the
    text; an encoder always reads an EOS at the end. An empty prompt is BOS, or EOS without one.

    Args:
        tokenizer: The model's fast tokenizer.
        is_encoder_decoder: Whether prompts go to an encoder.
        pad_token_id: What an empty prompt is where the tokenizer has neither BOS nor EOS.

    Attributes:
        encoder: Encodes text without control tokens around it.
    """

    def __init__(
        self, tokenizer: PreTrainedTokenizerFast, is_encoder_decoder: bool, pad_token_id: int
    ) -> None:
        self.encoder = TextEncoder(tokenizer)
        self._to_encoder = is_encoder_decoder
        bos, self._eos = tokenizer.bos_token_id, tokenizer.eos_token_id
        self._closes = self.encoder.prompt_ids(["a"])[0][-1] == self._eos
        self._start = next(i for i in (bos, self._eos, pad_token_id) if i is not None)
        # Sentencepiece puts the space before a text by itself.
        spaced = self.encoder.encodings(["a"])[0].tokens[0].startswith("\u2581")
        self._lead = "" if spaced else " "

    def __call__(self, prompts: Sequence[str]) -> list[list[int]]:
        """Return the token ids of each prompt; never empty rows."""
        eos, rows = self._eos, self.encoder.prompt_ids(prompts)
        if self._to_encoder:
            end = [] if eos is None else [eos]
            rows = [row if row[-1:] == end else row + end for row in rows]
        else:
            # Some tokenizers close every text.
            rows = [row[:-1] if self._closes and row[-1:] == [eos] else row for row in rows]
        return [row or [self._start] for row in rows]

    def answers(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the token ids of each answer, without an end token.

        As if a space stood before it: its first word then has the token that the word has inside
        the prompt. Generators strip their answers.
        """
        return self.encoder.prompt_ids([self._lead + t for t in texts], add_special_tokens=False)
