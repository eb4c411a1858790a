"""What a generator is: a frozen language model that answers prompts with text."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from typing_extensions import Self


@dataclass(frozen=True, slots=True)
class Answer:
    """One greedy answer of a generator.

    Attributes:
        text: The decoded answer without special tokens and without white space around it.
        token_ids: The generator's ids of the answer as produced, up to and including the
            end-of-sequence token if the generator gave one within the limit.
        partial: Whether the answer was left unfinished, see `DraftingGenerator`.
    """

    text: str
    token_ids: tuple[int, ...] = ()
    partial: bool = False


@runtime_checkable
class Generator(Protocol):
    """A frozen, deterministic model: text in, text out.

    The environment never looks inside a generator, so any class with these members works.
    A generator that cannot answer raises `pcrl_gym.errors.GeneratorError`; it never returns a
    substitute, because a substitute would become a reward. One more attribute may be there,
    `fingerprint`: a string that is the same only for generators that answer alike, by which answers
    are kept on disk.

    Attributes:
        name: What tables and error messages call the generator.
        max_prompt_tokens: The context that a prompt (as `count_tokens` counts it) and its new
            tokens share, in tokens; `None` if there is no limit.
    """

    name: str
    max_prompt_tokens: int | None

    def generate(self, prompts: Sequence[str], max_new_tokens: int) -> list[Answer]:
        """Answer each prompt greedily with at most `max_new_tokens` tokens, in the given order."""
        ...

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Count the tokens of each text, without the ones added around it (BOS, EOS)."""
        ...

    def log_likelihood(self, prompts: Sequence[str], answers: Sequence[Answer]) -> list[float]:
        """Score given answers without decoding.

        Args:
            prompts: The texts to condition on.
            answers: One answer per prompt, as `generate` returned it (for any prompt).

        Returns:
            Per prompt the mean natural-log probability of the answer's `token_ids` after the
            prompt, at most 0; 0.0 for an answer without tokens.
        """
        ...


class SharedGenerator:
    """Base of generators that are their own deep copy.

    Gymnasium copies the arguments of an environment deeply. Of a frozen model that would be memory
    for nothing, and of a budget for requests a second one to spend.
    """

    def __deepcopy__(self, memo: dict[int, object]) -> Self:
        return self


@runtime_checkable
class DraftingGenerator(Generator, Protocol):
    """A generator that answers faster when it is given a draft of the answer."""

    def generate_from(
        self,
        prompts: Sequence[str],
        drafts: Sequence[Answer | str],
        max_new_tokens: int,
        decided: Callable[[int, str, int], bool] | None = None,
    ) -> list[Answer]:
        """Answer each prompt exactly as `generate` does; the drafts only save time.

        Args:
            prompts: The texts to answer.
            drafts: Per prompt an answer of this generator, or any text ("" if nothing is known).
            max_new_tokens: Limit of each answer in tokens.
            decided: If given, called with the index of a prompt, the raw text of its answer so far
                (the last word or character may be incomplete) and the most words that the tokens
                left can still begin; when it returns true, that answer may be left as it is.

        Returns:
            The answers in the given order. Answers that were left unfinished are `partial`.
        """
        ...
