"""Loading tokenizers, and encoding text in which special-token strings are plain text."""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from pcrl_gym.episodes.units import first_visible
from pcrl_gym.micro import MICRO, weights_folder
from pcrl_gym.prompts.chat_template import chat_frame
from pcrl_gym.prompts.prompt_text import PromptText, framed
from pcrl_gym.storage.model_folder import check_tokenizer, loading, locate

if TYPE_CHECKING:
    from tokenizers import Encoding, Tokenizer
    from transformers import PreTrainedTokenizerFast


def load_tokenizer(spec: str | Path | PreTrainedTokenizerFast) -> PreTrainedTokenizerFast:
    """Load a tokenizer from a name or folder; a tokenizer object is returned unchanged.

    Args:
        spec: `"micro"` or `"micro-seq2seq"`, a Hugging Face ID, a folder with a tokenizer, or a
            tokenizer.

    Raises:
        ValueError: If there is no such tokenizer, or it is a "slow" one, which provides no
            character offsets.
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
            "characters; choose one backed by the `tokenizers` library"
        )
    return cast("PreTrainedTokenizerFast", tokenizer)


def train_byte_level(
    texts: Iterable[str], vocab_size: int, max_length: int
) -> PreTrainedTokenizerFast:
    """Train a byte-level BPE tokenizer, which can encode any text.

    It has the special tokens `<pad>` (ID 0) and `</s>` (ID 1, end of text) and adds none to texts.

    `vocab_size` is the maximum number of token IDs, at least 258 for bytes and special tokens.
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
    """Encodes texts with a fast tokenizer, treating special-token strings as plain text.

    Only the template ranges of a `PromptText` can contain control tokens. The encoder uses a
    private copy of the tokenizer's backend and never changes the tokenizer, so threads may share an
    encoder regardless of how they use the tokenizer.

    Args:
        tokenizer: Any fast tokenizer.

    Example:
        >>> from transformers import AutoTokenizer
        >>> encoder = TextEncoder(AutoTokenizer.from_pretrained("gpt2"))  # doctest: +SKIP
        >>> encoder.prompt_ids(["<|endoftext|>"])  # doctest: +SKIP
        [[27, 91, 437, 1659, 5239, 91, 29]]
        >>> encoder.prompt_ids([PromptText("<|endoftext|>", [(0, 13)])])  # doctest: +SKIP
        [[50256]]
    """

    def __init__(self, tokenizer: PreTrainedTokenizerFast) -> None:
        added = tokenizer.added_tokens_decoder.values()
        special = (token.content for token in added if token.special)
        secret = secrets.token_hex(16)  # for names that no text contains
        self._names = {content: f"<{secret}|{i}>" for i, content in enumerate(special)}
        longest_first = sorted(self._names, key=len, reverse=True)
        self._special = re.compile("|".join(map(re.escape, longest_first)) or r"(?!)")
        self._named_pieces: dict[str, str] = {}
        self._backend = _renamed_backend(tokenizer, self._names)
        self._before, self._after = _framing_ids(self._backend, tokenizer.name_or_path)
        self._backend.post_processor = None
        self._chat_frame = chat_frame(tokenizer)

    def encodings(self, texts: Sequence[str]) -> list[Encoding]:
        """Return IDs and character offsets of each text, encoded without control tokens."""
        return self._backend.encode_batch(list(texts), add_special_tokens=False)

    def prompt_ids(self, texts: Sequence[str], add_special_tokens: bool = True) -> list[list[int]]:
        """Return the token IDs that a model should read for each text.

        If a template writes control tokens (see `PromptText`), no others are added. All other texts
        get the tokenizer's special tokens around a text (such as `<s>` or `</s>`) if
        `add_special_tokens` is set.

        A plain string that begins and ends like the output of the tokenizer's chat template is
        treated as such output.
        """
        known = self._known(texts)
        named = ["".join(piece for piece, _ in self._pieces(text)) for text in known]
        encodings = self._backend.encode_batch_fast(named, add_special_tokens=False)
        return [
            [*self._before, *encoding.ids, *self._after]
            if add_special_tokens and text == written
            else encoding.ids
            for text, written, encoding in zip(known, named, encodings, strict=True)
        ]

    def prompt_places(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the position in its text where each token of `prompt_ids` begins.

        Leading whitespace of a token is skipped. The position is -1 for special tokens around a
        text and for tokens in the template's ranges.
        """
        found = []
        for text in self._known(texts):
            pieces = self._pieces(text)
            written = "".join(piece for piece, _ in pieces)
            origins = [
                -1 if start is None else start + k
                for piece, start in pieces
                for k in range(len(piece))
            ]
            [encoding] = self.encodings([written])
            inside = [origins[first_visible(written, span)] for span in encoding.offsets]
            if text == written:
                inside = [-1] * len(self._before) + inside + [-1] * len(self._after)
            found.append(inside)
        return found

    def _known(self, texts: Sequence[str]) -> list[str]:
        frame = self._chat_frame
        return [
            text if frame is None or isinstance(text, PromptText) else framed(text, frame)
            for text in texts
        ]

    def _pieces(self, text: str) -> list[tuple[str, int | None]]:
        """Return the pieces to encode and the start of each in the text, None in fixed ranges.

        Control tokens in fixed ranges are replaced by their secret names.
        """
        if not isinstance(text, PromptText):
            return [(text, 0)]
        pieces: list[tuple[str, int | None]] = []
        end = 0
        for start, stop in text.fixed:
            pieces += [(text[end:start], end), (self._named(text[start:stop]), None)]
            end = stop
        return [*pieces, (text[end:], end)]

    def _named(self, piece: str) -> str:
        known = self._named_pieces.get(piece)
        if known is None:
            if len(self._named_pieces) >= _MAX_PIECES:
                self._named_pieces.clear()
            known = self._special.sub(lambda match: self._names[match[0]], piece)
            self._named_pieces[piece] = known
        return known


_MAX_PIECES = 1024
"""Maximum number of cached template pieces; most templates have two or three."""


def _renamed_backend(tokenizer: PreTrainedTokenizerFast, names: Mapping[str, str]) -> Tokenizer:
    """Return a copy of a tokenizer's backend in which special tokens are renamed.

    They are renamed both as added tokens and in the model's vocabulary, where models such as T5's
    (Unigram) would find them as ordinary pieces. The copy neither truncates nor pads.
    """
    from tokenizers import Tokenizer

    state = json.loads(tokenizer.backend_tokenizer.to_str())
    model = state["model"]
    if isinstance(model["vocab"], list):
        model["vocab"] = [[names.get(piece, piece), score] for piece, score in model["vocab"]]
    else:
        model["vocab"] = {names.get(piece, piece): i for piece, i in model["vocab"].items()}
    if model.get("unk_token") in names:
        model["unk_token"] = names[model["unk_token"]]
    for token in state["added_tokens"]:
        if token["content"] in names:
            token.update(content=names[token["content"]], single_word=False)
    state.update(truncation=None, padding=None)
    return Tokenizer.from_str(json.dumps(state))


def _framing_ids(backend: Tokenizer, name: str) -> tuple[list[int], list[int]]:
    """Return the IDs that a tokenizer adds before and after a text."""
    plain = backend.encode("a", add_special_tokens=False).ids
    full = backend.encode("a", add_special_tokens=True).ids
    for start in range(len(full) - len(plain) + 1):
        end = start + len(plain)
        if full[start:end] == plain:
            return full[:start], full[end:]
    raise ValueError(
        f"the tokenizer {name!r} encodes text differently when it adds special "
        "tokens; choose another tokenizer"
    )
