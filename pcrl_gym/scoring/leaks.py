"""Detection of compressed prompts that contain the answer."""

from __future__ import annotations

from pcrl_gym.episodes.words import UNICODE_WORD, find_words

NGRAM = 4
"""Number of consecutive words of the answer that count as a leak."""


def leaks_answer(answer: str, prompt: str, compressed: str) -> bool:
    """Return whether a compressed prompt contains words of the answer that the original does not.

    A leak is `NGRAM` consecutive words, ignoring case; each sign counts as a word. Shorter answers
    never count as leaked, because a prompt may name what it asks for.

    Args:
        answer: The generator's answer to the original prompt.
        prompt: The original prompt.
        compressed: The compressed prompt.

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
