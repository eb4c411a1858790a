"""Token counts in a second tokenizer, so that savings can be compared across generators."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence

BYTES = "bytes"


@functools.cache  # every part of a run asks for it
def token_counter(name: str) -> Callable[[Sequence[str]], list[int]]:
    """Return a function that counts the tokens of texts, without special tokens.

    The name is "bytes" for UTF-8 bytes, the tokens of ByT5 (Xue et al. 2022,
    https://arxiv.org/abs/2105.13626), or what `episodes.tokenizers.load_tokenizer` takes.
    """
    if name == BYTES:
        # A lone surrogate has no UTF-8; three bytes are what it would take.
        return lambda texts: [len(text.encode("utf-8", "surrogatepass")) for text in texts]
    from pcrl_gym.episodes.tokenizers import TextEncoder, load_tokenizer

    encoder = TextEncoder(load_tokenizer(name))
    return lambda texts: [len(encoding.ids) for encoding in encoder.encodings(texts)]
