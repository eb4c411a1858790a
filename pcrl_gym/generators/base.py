"""The generator protocol: a frozen language model that answers prompts with text."""

from __future__ import annotations

import inspect
from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

if TYPE_CHECKING:
    from typing_extensions import Self


@dataclass(frozen=True, slots=True)
class Answer:
    """One greedy answer of a generator.

    Attributes:
        text: The decoded answer without special tokens and surrounding whitespace.
        token_ids: The generator's token IDs of the answer as generated, including the
            end-of-sequence token if it was generated within the limit.
        partial: Whether the answer was left unfinished, see `DraftingGenerator`.
    """

    text: str
    token_ids: tuple[int, ...] = ()
    partial: bool = False


Drafts = Sequence[Answer | str]
Decided = Callable[[int, str, int], bool] | None
"""Decides whether an answer may be left unfinished; see `DraftingGenerator.generate_from`."""


@runtime_checkable
class Generator(Protocol):
    """A frozen, deterministic model: text in, text out.

    Subclasses define `name`, `max_prompt_tokens`, and the three methods; the other attributes have
    defaults. The environment uses no other members. A generator that cannot answer raises
    `pcrl_gym.errors.GeneratorError`; it never returns a substitute, because a substitute would
    become a reward.

    Attributes:
        name: Name of the generator in tables and error messages.
        max_prompt_tokens: The context in tokens shared by a prompt (as counted by `count_tokens`)
            and its new tokens; `None` if there is no limit.
        tokenizer: The model's fast tokenizer, which the policy uses unless it is given another one;
            `None` if there is none.
        fingerprint: A string shared only by generators with the same answers, used as the key for
            answers on disk; `None` if answers cannot be cached on disk.
        gives_likelihoods: Whether `log_likelihood` returns values instead of raising.
    """

    name: str
    max_prompt_tokens: int | None
    tokenizer: Any = None
    fingerprint: str | None = None
    gives_likelihoods: bool = True

    @abstractmethod
    def generate(self, prompts: Sequence[str], max_new_tokens: int) -> list[Answer]:
        """Answer each prompt greedily with at most `max_new_tokens` tokens, in order."""

    @abstractmethod
    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Count the tokens of each text, excluding those added around it (BOS, EOS)."""

    @abstractmethod
    def log_likelihood(self, prompts: Sequence[str], answers: Sequence[Answer]) -> list[float]:
        """Score given answers without decoding.

        Args:
            prompts: The texts to condition on.
            answers: One answer per prompt, as `generate` returned it (for any prompt).

        Returns:
            Per prompt the mean natural-log probability of the answer's `token_ids` given the
            prompt, at most 0; 0.0 for an answer without tokens.
        """


class DraftingGenerator(Generator):
    """A generator that answers faster when it is given a draft of the answer."""

    @abstractmethod
    def generate_from(
        self, prompts: Sequence[str], drafts: Drafts, max_new_tokens: int, decided: Decided = None
    ) -> list[Answer]:
        """Answer each prompt exactly as `generate` does; the drafts only save time.

        Args:
            prompts: The texts to answer.
            drafts: Per prompt an answer of this generator, or any text ("" if unknown).
            max_new_tokens: Maximum length of an answer in tokens.
            decided: If given, called with the index of a prompt, the raw text of its answer so far
                (the last word or character may be incomplete), and the maximum number of words that
                the remaining tokens can begin. If it returns true, the answer may be left partial.

        Returns:
            The answers in the given order. Answers that were left unfinished are `partial`.
        """

    def generate_and_score(
        self,
        prompts: Sequence[str],
        drafts: Sequence[Answer],
        max_new_tokens: int,
        decided: Decided = None,
    ) -> tuple[list[Answer], list[float]]:
        """Generate as in `generate_from` and score the drafts as in `log_likelihood`.

        A generator that verifies whole drafts can score them in the same pass.
        """
        answers = self.generate_from(prompts, drafts, max_new_tokens, decided)
        return answers, self.log_likelihood(prompts, drafts)

    @classmethod
    def __subclasshook__(cls, other: type) -> bool:
        """Accept any class that has the method `generate_from`."""
        return hasattr(other, "generate_from") or NotImplemented


class SharedGenerator:
    """Base class of generators whose deep copy is the object itself.

    Gymnasium deep-copies the arguments of an environment, which would waste memory for a frozen
    model and duplicate a budget of requests.
    """

    def __deepcopy__(self, memo: dict[int, object]) -> Self:
        return self


def check_generator(generator: Any) -> Generator:
    """Return the object if it has all members of `Generator`.

    Raises:
        ValueError: If it lacks a member or is a class.
    """
    # Static lookup first, because some generators compute their fingerprint from all weights.
    names = sorted({*Generator.__annotations__, *Generator.__abstractmethods__})
    missing = [
        name
        for name in names
        if inspect.getattr_static(generator, name, names) is names and not hasattr(generator, name)
    ]
    if missing or isinstance(generator, type):
        lacks = f"an object without {', '.join(missing)}" if missing else "a class"
        raise ValueError(
            f"unknown generator {generator!r} ({lacks}): expected a name, a folder, or an instance "
            "of a subclass of pcrl_gym.Generator"
        )
    checked: Generator = generator
    return checked


def check_integer(name: str, value: object, least: int) -> None:
    """Raise a ValueError that names the argument unless it is an integer >= `least`."""
    if type(value) is not int or value < least:
        raise ValueError(f"expected {name} to be an integer >= {least}, got {value!r}")


def check_new_tokens(max_new_tokens: int) -> None:
    """Raise a ValueError if the answer limit is below 1."""
    if max_new_tokens < 1:
        raise ValueError(f"max_new_tokens must be at least 1, got {max_new_tokens}")


def check_pairs(what: str, items: Sequence[Any], prompts: Sequence[str]) -> None:
    """Raise a ValueError unless there is one item per prompt."""
    if len(items) != len(prompts):
        raise ValueError(f"expected one {what} per prompt, got {len(items)} for {len(prompts)}")
