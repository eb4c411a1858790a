"""Whether a text is of the kind that a policy was trained on, by how its tokenizer cuts words.

A tokenizer that was made for some kind of text cuts the words of other kinds (names, code, other
languages) into more tokens, and a policy that knows few of these tokens drops them at random.
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
"""Share of the training prompts that are of their own kind."""

# ASCII punctuation is left out: lists and code have so much of it that words would weigh little.
_WORD = re.compile(r"\w+|[^\w\s!-~]")
_WHOLE_WORDS = 8


def prompt_text(instruction: str, input: str) -> str:
    """Return a prompt as a text without a template."""
    return f"{instruction}\n{input}".strip()


def count_words(text: str, tokens: Sequence[Span] = ()) -> tuple[int, int]:
    """Count the words of a text, and the tokens that they are cut into.

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
    """Return how many tokens a word of each text has on average, float64 (n_texts,).

    Eight words of one token each are added, so that one rare word in a short text weighs little: a
    text with 4 words of 16 tokens has (16 + 8) / (4 + 8) = 2. Texts have no template, and the
    encoder is that of the policy's tokenizer.
    """
    pairs = zip(texts, encoder.encodings(texts), strict=True)
    counts = [count_words(text, encoding.offsets) for text, encoding in pairs]
    return np.array([(tokens + _WHOLE_WORDS) / (words + _WHOLE_WORDS) for words, tokens in counts])


def domain_limit(texts: Sequence[str], encoder: TextEncoder) -> float:
    """Return the most tokens per word that 99.5 % of a policy's training prompts have."""
    return float(np.quantile(tokens_per_word(texts, encoder), QUANTILE))
