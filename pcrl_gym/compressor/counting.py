"""Count tokens like the model that will read a text."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, cast

from pcrl_gym.episodes.tokenizers import TextEncoder, load_tokenizer
from pcrl_gym.errors import MissingExtraError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

CountWith: TypeAlias = "str | Path | PreTrainedTokenizerFast | Callable[[str], int] | None"
Counter: TypeAlias = Callable[[Sequence[str]], list[int]]

# OpenAI models and encodings, which tiktoken supports.
_TIKTOKEN = re.compile(r"(chat)?gpt-.*|o\d(-.*)?|text-embedding-.*|[a-z]+\d+k_\w+")


def token_counter(count_with: CountWith, encoder: TextEncoder) -> Counter:
    """Return a function that counts the tokens of texts, without special tokens around them.

    Args:
        count_with: One of
            * the name of an OpenAI model or encoding, such as `"gpt-4o"` or `"o200k_base"`, counted
              by tiktoken, which downloads the encoding on first use;
            * a folder, a Hugging Face id, `"micro"`, or a tokenizer: see `load_tokenizer`;
            * a function from a text to its number of tokens;
            * None to use `encoder`.

            Named tokenizers are loaded once per process.
        encoder: The default tokenizer.

    Raises:
        MissingExtraError: If tiktoken is needed and not installed.
        ValueError: If there is no such tokenizer or tiktoken model. The returned function raises it
            if a function `count_with` returns anything but integers of at least 0.

    Example:
        >>> count = token_counter(lambda text: len(text.split()), None)
        >>> count(["one two", ""])
        [2, 0]
    """
    if count_with is None:
        return _encoded(encoder)
    if isinstance(count_with, (str, Path)):
        return _named(str(count_with))
    if callable(count_with) and not hasattr(count_with, "backend_tokenizer"):
        return _own(count_with)  # fast tokenizers are also callable
    return _encoded(TextEncoder(load_tokenizer(cast("PreTrainedTokenizerFast", count_with))))


@lru_cache(maxsize=16)
def _named(name: str) -> Counter:
    if _TIKTOKEN.fullmatch(name) and not Path(name).exists():
        return _tiktoken(name)
    return _encoded(TextEncoder(load_tokenizer(name)))


def _encoded(encoder: TextEncoder) -> Counter:
    def count(texts: Sequence[str]) -> list[int]:
        return [len(ids) for ids in encoder.prompt_ids(texts, add_special_tokens=False)]

    return count


def _own(function: Callable[[str], int]) -> Counter:
    def count(texts: Sequence[str]) -> list[int]:
        return [_checked(function(str(text))) for text in texts]

    return count


def _checked(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ValueError(f"count_with must return an integer of at least 0, got {value!r}")
    return value


def _tiktoken(name: str) -> Counter:
    try:
        import tiktoken
    except ImportError as error:
        raise MissingExtraError(
            f"counting tokens for {name!r} needs tiktoken: pip install 'pcrl-gym[tiktoken]'"
        ) from error
    try:
        if name in tiktoken.list_encoding_names():
            encoding = tiktoken.get_encoding(name)
        else:
            encoding = tiktoken.encoding_for_model(name)
    except KeyError as error:
        raise ValueError(
            f"tiktoken does not know the model {name!r}: upgrade it, or choose an encoding: "
            f"{', '.join(tiktoken.list_encoding_names())}"
        ) from error

    def count(texts: Sequence[str]) -> list[int]:
        # Treat special tokens in the text as plain text.
        return [len(encoding.encode_ordinary(str(text))) for text in texts]

    return count
