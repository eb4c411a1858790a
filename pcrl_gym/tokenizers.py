"""Tokenizers: loading them, and encoding text in which special-token strings are only text."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pcrl_gym.micro import MICRO, weights_folder
from pcrl_gym.pretrained import check_tokenizer, loading, locate
from pcrl_gym.template import chat_frame

if TYPE_CHECKING:
    from tokenizers import Encoding, Tokenizer
    from transformers import PreTrainedTokenizerFast


def load_tokenizer(spec: str | Path | PreTrainedTokenizerFast) -> PreTrainedTokenizerFast:
    """Return the tokenizer that a name, a folder or an object stands for.

    Args:
        spec: `"micro"` or `"micro-seq2seq"`, a Hugging Face id, a folder that holds a tokenizer,
            or a tokenizer.

    Raises:
        ValueError: If there is no such tokenizer, or it cannot tell the character offsets of its
            tokens (a "slow" one).
    """
    if isinstance(spec, (str, Path)):
        from transformers import AutoTokenizer

        tokenizer: Any
        with loading("a tokenizer from", spec):
            source = locate(weights_folder(MICRO[spec]) if spec in MICRO else spec, MICRO)
            check_tokenizer(source)
            tokenizer = AutoTokenizer.from_pretrained(source, trust_remote_code=False)
    else:
        tokenizer = spec
    if not getattr(tokenizer, "is_fast", False):
        raise ValueError(
            f"the tokenizer {str(spec)[:80]!r} has no fast version, so it cannot map tokens to "
            "characters; choose one that is backed by the `tokenizers` library"
        )
    fast: PreTrainedTokenizerFast = tokenizer
    return fast


def train_byte_level(
    texts: Iterable[str], vocab_size: int, max_length: int
) -> PreTrainedTokenizerFast:
    """Train a byte-level BPE tokenizer, which any text can be encoded with.

    It has the special tokens `<pad>` (id 0) and `</s>` (id 1, the end of a text) and puts none
    around a text.

    Args:
        texts: What to train on.
        vocab_size: Most token ids, at least 258: the bytes and the special tokens.
        max_length: Tokens that the model takes, kept as `model_max_length`.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    pad, end = "<pad>", "</s>"
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=[pad, end],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=pad,
        eos_token=end,
        padding_side="left",
        model_max_length=max_length,
        clean_up_tokenization_spaces=False,
    )


class TextEncoder:
    """Encodes texts with a fast tokenizer, taking special-token strings in them as text.

    The tokenizer itself is neither changed nor switched between modes: a private copy of its
    backend does the work.

    Args:
        tokenizer: Any fast tokenizer.

    Example:
        >>> from transformers import AutoTokenizer
        >>> encoder = TextEncoder(AutoTokenizer.from_pretrained("gpt2"))  # doctest: +SKIP
        >>> encoder.prompt_ids(["<|endoftext|>"])  # doctest: +SKIP
        [[27, 91, 437, 1659, 5239, 91, 29]]
    """

    def __init__(self, tokenizer: PreTrainedTokenizerFast) -> None:
        self.tokenizer = tokenizer
        self._backend = _text_backend(tokenizer)
        self._before, self._after = _framing_ids(tokenizer)
        self._chat_frame = chat_frame(tokenizer)
        self._special = _special_pattern(tokenizer)

    def __reduce__(self) -> tuple[type[TextEncoder], tuple[Any]]:
        # A pickled backend forgets `encode_special_tokens`, so copies are made anew.
        return TextEncoder, (self.tokenizer,)

    def encodings(self, texts: Sequence[str]) -> list[Encoding]:
        """Return ids and character offsets of each text, without special tokens."""
        return self._backend.encode_batch(list(texts), add_special_tokens=False)

    def prompt_ids(self, texts: Sequence[str], add_special_tokens: bool = True) -> list[list[int]]:
        """Return the token ids that a model should read for each text.

        A text in the frame of the tokenizer's own chat template keeps the special tokens of the
        frame, and gets no others. All other text gets the special tokens that the tokenizer puts
        around a text (such as `<s>` or `</s>`) if `add_special_tokens` is set.

        Args:
            texts: The texts; may be empty.
            add_special_tokens: Whether to put the model's special tokens around ordinary text.
        """
        encodings = self._backend.encode_batch_fast(list(texts), add_special_tokens=False)
        result = []
        for text, encoding in zip(texts, encodings, strict=True):
            if self._in_chat_frame(text):
                result.append(self._chat_ids(text))
            elif add_special_tokens:
                result.append([*self._before, *encoding.ids, *self._after])
            else:
                result.append(encoding.ids)
        return result

    def _in_chat_frame(self, text: str) -> bool:
        if self._chat_frame is None:
            return False
        prefix, suffix = self._chat_frame
        long_enough = len(text) >= len(prefix) + len(suffix)
        return long_enough and text.startswith(prefix) and text.endswith(suffix)

    def _chat_ids(self, text: str) -> list[int]:
        assert self._chat_frame is not None
        prefix, suffix = self._chat_frame
        content_end = len(text) - len(suffix)
        if not self._special.search(text, len(prefix), content_end):
            return self._parsed_ids(text)
        # The user wrote a special-token string: only the frame may be parsed for special tokens.
        starts = [match.end() for match in self._special.finditer(prefix)]
        start = starts[-1] if starts else 0
        first = self._special.search(suffix)
        end = content_end + first.start() if first else len(text)
        middle = self._backend.encode(text[start:end], add_special_tokens=False).ids
        return [*self._parsed_ids(text[:start]), *middle, *self._parsed_ids(text[end:])]

    def _parsed_ids(self, text: str) -> list[int]:
        """Return the ids of template text, special tokens and all."""
        encoded = self.tokenizer(text, add_special_tokens=False, split_special_tokens=False)
        ids: list[int] = encoded["input_ids"]
        return ids


def _text_backend(tokenizer: PreTrainedTokenizerFast) -> Tokenizer:
    """Return a copy of a tokenizer's backend that cannot produce special tokens from text.

    `encode_special_tokens` stops the search for special-token strings, but models that hold those
    strings in their vocabulary (Unigram, as in T5) would still find them as ordinary pieces. A
    space in front takes them out of reach, because no pre-tokenizer lets a space through.
    """
    from tokenizers import Tokenizer

    state = json.loads(tokenizer.backend_tokenizer.to_str())
    model = state["model"]
    special = {token["content"] for token in state["added_tokens"] if token["special"]}
    special -= {model.get("unk_token")}
    if isinstance(model["vocab"], list):
        model["vocab"] = [
            [f" {piece}" if piece in special else piece, score] for piece, score in model["vocab"]
        ]
    else:
        model["vocab"] = {
            f" {piece}" if piece in special else piece: index
            for piece, index in model["vocab"].items()
        }
    for token in state["added_tokens"]:
        if token["content"] in special:
            token["content"] = f" {token['content']}"
    state.update(truncation=None, padding=None, post_processor=None)
    backend = Tokenizer.from_str(json.dumps(state))
    backend.encode_special_tokens = True
    return backend


def _framing_ids(tokenizer: PreTrainedTokenizerFast) -> tuple[list[int], list[int]]:
    """Return the ids that a tokenizer puts before and after a text."""
    plain = tokenizer("a", add_special_tokens=False)["input_ids"]
    full = tokenizer("a", add_special_tokens=True)["input_ids"]
    for start in range(len(full) - len(plain) + 1):
        end = start + len(plain)
        if full[start:end] == plain:
            return full[:start], full[end:]
    raise ValueError(
        f"the tokenizer {tokenizer.name_or_path!r} encodes a text differently when it adds special "
        "tokens; it cannot be used here"
    )


def _special_pattern(tokenizer: PreTrainedTokenizerFast) -> re.Pattern[str]:
    """Return a pattern of the special-token strings, with the white space they swallow."""
    tokens = [token for token in tokenizer.added_tokens_decoder.values() if token.special]
    tokens.sort(key=lambda token: len(token.content), reverse=True)
    patterns = [
        (r"\s*" if token.lstrip else "")
        + re.escape(token.content)
        + (r"\s*" if token.rstrip else "")
        for token in tokens
    ]
    return re.compile("|".join(patterns) or r"(?!)")
