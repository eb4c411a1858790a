"""What a generator is: a frozen language model that answers prompts with text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable


@dataclass(frozen=True, slots=True)
class Answer:
    """One greedy answer of a generator.

    Attributes:
        text: The decoded answer without special tokens and without white space around it.
        token_ids: The generator's ids of the answer as produced, up to and including the
            end-of-sequence token if the generator gave one within the limit.
    """

    text: str
    token_ids: tuple[int, ...] = ()


@runtime_checkable
class Generator(Protocol):
    """A frozen, deterministic model: text in, text out.

    The environment never looks inside a generator, so any class with these members will do.
    A generator that cannot answer raises `pcrl_gym.errors.GeneratorError`; it never returns a
    substitute, because a substitute would become a reward.

    Attributes:
        name: What tables and error messages call the generator.
        max_prompt_tokens: The context that a prompt (as `count_tokens` counts it) and its new
            tokens share, in tokens; `None` if there is no limit.
    """

    name: str
    max_prompt_tokens: int | None

    def generate(self, prompts: Sequence[str], max_new_tokens: int) -> list[Answer]:
        """Answers each prompt greedily with at most `max_new_tokens` tokens, in the given order."""
        ...

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Counts the tokens of each text, without the ones added around it (BOS, EOS)."""
        ...

    def log_likelihood(self, prompts: Sequence[str], answers: Sequence[Answer]) -> list[float]:
        """Scores given answers without decoding.

        Args:
            prompts: The texts to condition on.
            answers: One answer per prompt, as `generate` returned it (for any prompt).

        Returns:
            Per prompt the mean natural-log probability of the answer's `token_ids` after the
            prompt, at most 0; 0.0 for an answer without tokens.
        """
        ...
