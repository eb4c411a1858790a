"""Detect texts that differ from a policy's training prompts, by their tokens per word.

A tokenizer that was trained on one kind of text splits the words of other kinds (names, code, other
languages) into more tokens. A policy that knows few of these tokens drops them at random.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from pcrl_gym.episodes.tokenizers import TextEncoder
    from pcrl_gym.episodes.units import Span

QUANTILE = 0.995
"""Share of the training prompts that count as in-domain."""

# Excludes ASCII punctuation: lists and code have so much that it would outweigh the words.
_WORD = re.compile(r"\w+|[^\w\s!-~]")
_WHOLE_WORDS = 8


def prompt_text(instruction: str, input: str) -> str:
    """Return a prompt as text without a template."""
    return f"{instruction}\n{input}".strip()


def count_words(text: str, tokens: Sequence[Span] = ()) -> tuple[int, int]:
    """Count the words of a text and the tokens that they are split into.

    A word is a run of letters and digits, or any other visible character that is not ASCII. The
    character ranges of the tokens may overlap.

    Example:
        >>> count_words("Sort: b, a1", [(0, 2), (2, 4), (4, 5), (5, 7), (7, 8), (8, 11)])
        (3, 4)
    """
    words = [match.span() for match in _WORD.finditer(text)]
    inside = np.zeros(len(text) + 1, np.int64)
    for start, end in words:
        inside[start + 1 : end + 1] = 1
    before = np.cumsum(inside)
    spans = np.array(tokens, np.int64).reshape(-1, 2)
    return len(words), int(np.count_nonzero(before[spans[:, 1]] > before[spans[:, 0]]))


def tokens_per_word(texts: Sequence[str], encoder: TextEncoder) -> NDArray[np.float64]:
    """Return the mean number of tokens per word of each text, float64 (n_texts,).

    Eight words of one token each are added, so that one rare word in a short text has little
    weight: a text with 4 words of 16 tokens has (16 + 8) / (4 + 8) = 2. The texts have no template,
    and `encoder` uses the policy's tokenizer.
    """
    pairs = zip(texts, encoder.encodings(texts), strict=True)
    counts = [count_words(text, encoding.offsets) for text, encoding in pairs]
    return np.array([(tokens + _WHOLE_WORDS) / (words + _WHOLE_WORDS) for words, tokens in counts])


def domain_limit(texts: Sequence[str], encoder: TextEncoder) -> float:
    """Return the 99.5% quantile of the tokens per word of a policy's training prompts."""
    return float(np.quantile(tokens_per_word(texts, encoder), QUANTILE))
