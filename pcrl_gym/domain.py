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
    from .tokenizers import TextEncoder

QUANTILE = 0.995
"""Share of the training prompts that are of their own kind."""

_WORD = re.compile(r"\w+|[^\w\s]")
_WHOLE_WORDS = 16


def prompt_text(instruction: str, input: str) -> str:
    """Return a prompt as a text without a template."""
    return f"{instruction}\n{input}".strip()


def count_words(text: str) -> int:
    """Count words: runs of letters and digits, and every other visible character.

    Example:
        >>> count_words("Sort: b, a1")
        5
    """
    return len(_WORD.findall(text))


def tokens_per_word(texts: Sequence[str], encoder: TextEncoder) -> NDArray[np.float64]:
    """Return how many tokens a word of each text has on average.

    Sixteen words of one token each are counted besides, so that one rare word in a short text
    weighs little: a text of 24 tokens and 4 words has (24 + 16) / (4 + 16) = 2.

    Args:
        texts: The texts, without a template.
        encoder: Encoder of the policy's tokenizer.

    Returns:
        float64 (n_texts,), positive.
    """
    stripped = [text.strip() for text in texts]
    tokens = [len(ids) for ids in encoder.prompt_ids(stripped, add_special_tokens=False)]
    words = [count_words(text) for text in stripped]
    result: NDArray[np.float64] = (np.array(tokens, np.float64) + _WHOLE_WORDS) / (
        np.array(words, np.float64) + _WHOLE_WORDS
    )
    return result


def domain_limit(texts: Sequence[str], encoder: TextEncoder) -> float:
    """Return the most tokens per word that 99.5 % of a policy's training prompts have.

    Args:
        texts: The training prompts, see `prompt_text`; at least one.
        encoder: Encoder of the policy's tokenizer.
    """
    return float(np.quantile(tokens_per_word(texts, encoder), QUANTILE))
