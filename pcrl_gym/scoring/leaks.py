"""Whether a compressed prompt gives the answer away instead of asking for it."""

from __future__ import annotations

from pcrl_gym.episodes.words import UNICODE_WORD, find_words

NGRAM = 4
"""Number of consecutive words of the answer that may not be put into a prompt."""


def leaks_answer(answer: str, prompt: str, compressed: str) -> bool:
    """Return whether a compressed prompt holds words of the answer that the original does not.

    That is `NGRAM` consecutive words, in lower case, each sign a word of its own. An
    answer of fewer words cannot be told from a prompt that names what it asks for.

    Args:
        answer: The generator's answer to the original prompt.
        prompt: The original prompt.
        compressed: What a compressor made of it.

    Example:
        >>> answer = "The capital of France is Paris."
        >>> leaks_answer(answer, "Which city rules France?", "Say: the capital of France is Paris")
        True
        >>> leaks_answer(answer, "What is the capital of France?", "capital of France?")
        False
    """
    found, asked, given = (_ngrams(text) for text in (compressed, prompt, answer))
    return bool((found & given) - asked)


def _ngrams(text: str) -> set[tuple[str, ...]]:
    words = find_words(text, UNICODE_WORD)
    return set(zip(*(words[i:] for i in range(NGRAM)), strict=False))
