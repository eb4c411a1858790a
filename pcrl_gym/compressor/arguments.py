"""Validate the arguments of a compressor call before anything slow happens."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypedDict, get_args

from pcrl_gym.compressor.counting import Counter, CountWith
from pcrl_gym.episodes.constraints import constraint_patterns
from pcrl_gym.episodes.protection import ForceKeep, Protection
from pcrl_gym.prompts.prompt import text_problem

if TYPE_CHECKING:

    class Options(TypedDict, total=False):
        """Arguments of every call form."""

        rate: float | None
        target_tokens: int | None
        tolerance: float | None
        count_with: CountWith
        force_keep: ForceKeep
        keep_digits: bool
        keep: ForceKeep
        protect: Protect | None
        batch_size: int


Texts = list[str] | tuple[str, ...]
Protect: TypeAlias = Literal["constraints"]


@dataclass(frozen=True)
class Amount:
    """How much to drop.

    Attributes:
        rate: Share of a text's droppable units, 0 to 1, or None.
        target_tokens: Maximum number of remaining tokens, at least 1, or None.
        tolerance: Maximum expected likelihood loss in nats per token, at least 0, or None.

    Raises:
        ValueError: If a value is out of range, or more than one is given.
    """

    rate: float | None = None
    target_tokens: int | None = None
    tolerance: float | None = None

    def __post_init__(self) -> None:
        check_rate("rate", self.rate)
        if self.target_tokens is not None:
            check_count("target_tokens", self.target_tokens)
        if self.tolerance is not None and not (
            isinstance(self.tolerance, (int, float)) and 0.0 <= self.tolerance < float("inf")
        ):
            raise ValueError(f"tolerance must be at least 0 or None, got {self.tolerance!r}")
        given = {name: value for name, value in asdict(self).items() if value is not None}
        if len(given) > 1:
            got = " and ".join(f"{name}={value}" for name, value in given.items())
            raise ValueError(f"pass only one of rate, target_tokens, and tolerance, got {got}")


@dataclass(frozen=True)
class Call:
    """Validated settings of a call.

    Attributes:
        protection: Finds the protected ranges of a text.
        amount: How much to drop.
        count: Counts the tokens of texts.
        batch_size: Number of windows per forward pass.
        default_rate: Rate if none is given. If None, the policy decides.
        rates: Rate of each text, overriding `amount`. If None, `amount` applies.
        others: Tokens of uncompressed texts that share one budget with all compressed texts. If
            None, each text has its own budget.
    """

    protection: Protection
    amount: Amount
    count: Counter
    batch_size: int
    default_rate: float | None = None
    rates: Sequence[float | None] | None = None
    others: int | None = None


def make_protection(
    force_keep: ForceKeep, keep_digits: bool, keep: ForceKeep, protect: Protect | None
) -> Protection:
    r"""Return the protection that finds the ranges of a text that a call keeps.

    Args:
        force_keep: Literal strings and compiled regular expressions.
        keep_digits: Whether numbers are kept.
        keep: Regular expressions, compiled or as strings.
        protect: "constraints" (see `episodes.constraints`), or None for nothing else.

    Raises:
        ValueError: If an argument has the wrong type, or a string is not a regular expression.

    Example:
        >>> protection = make_protection((), False, [r"\bnot\b"], None)
        >>> protection("do not say nothing")
        [(2, 7)]
    """
    check_protect(protect)
    patterns = [*_patterns(keep), *(constraint_patterns() if protect else ())]
    return Protection(force_keep, keep_digits) | Protection(patterns)


def _patterns(keep: ForceKeep) -> list[re.Pattern[str]]:
    if isinstance(keep, (str, re.Pattern)):
        raise ValueError(
            f"keep must be a sequence of regular expressions, got {keep!r}; write keep=[{keep!r}]"
        )
    patterns = []
    for i, item in enumerate(keep):
        try:
            if not isinstance(item, re.Pattern) and not item:
                raise ValueError(f"keep[{i}] must not be empty, got {item!r}")
            patterns.append(re.compile(item))
        except (re.error, TypeError) as error:
            raise ValueError(
                f"keep[{i}] is not a valid regular expression: {item!r} ({error})"
            ) from error
    return patterns


def check_form(
    text: Any,
    instruction: Any,
    input: Any,
    messages: Any,
    question: Any,
    context: Any,
    *,
    of_messages: bool,
    of_question: bool,
) -> None:
    """Raise `ValueError` unless the arguments match exactly one call form.

    `of_messages` and `of_question` tell whether other arguments of these forms are given.
    """
    forms = (text, instruction, messages, question)
    if (
        sum(given is not None for given in forms) != 1
        or (instruction is None and input is not None)
        or (question is None) != (context is None)
    ):
        raise ValueError(
            "pass exactly one of text, instruction= (optionally with input=), messages=, or "
            "question= with context="
        )
    if of_messages and messages is None:
        raise ValueError("roles and cache_until require messages=")
    if of_question and question is None:
        raise ValueError("context_rates requires question=")


def check_rate(name: str, rate: Any) -> None:
    """Raise `ValueError` unless a rate is None or between 0 and 1."""
    if rate is not None and not (isinstance(rate, (int, float)) and 0.0 <= rate <= 1.0):
        raise ValueError(f"{name} must be between 0 and 1, or None, got {rate!r}")


def check_protect(value: Any) -> None:
    """Raise `ValueError` unless a value is None or names what to protect."""
    if value is not None and value not in get_args(Protect):
        raise ValueError(f"protect must be 'constraints' or None, got {value!r}")


def check_count(name: str, value: Any) -> None:
    """Raise `ValueError` unless a value is an integer of at least 1."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError(f"{name} must be an integer of at least 1, got {value!r}")


def given_texts(name: str, value: Any) -> list[str]:
    """Return the texts of an argument, which is a text or a list of texts.

    Raises:
        ValueError: If it is anything else, or a text is not valid Unicode.
    """
    if not isinstance(value, (str, list, tuple)):
        raise ValueError(f"{name} must be a string or a list of strings, got {value!r}")
    texts = [value] if isinstance(value, str) else list(value)
    for i, text in enumerate(texts):
        check_text(name if isinstance(value, str) else f"{name}[{i}]", text)
    return texts


def check_text(name: str, text: Any) -> None:
    """Raise `ValueError` unless a value is a string that can be encoded."""
    if problem := text_problem(text):
        raise ValueError(f"{name} {problem}")


def given_pairs(instruction: Any, input: Any) -> list[tuple[str, str]]:
    """Return the (instruction, input) pair of each prompt; a missing input is empty.

    Raises:
        ValueError: If they are neither two texts nor two lists of the same length.
    """
    instructions = given_texts("instruction", instruction)
    if input is None:
        return [(row, "") for row in instructions]
    inputs = given_texts("input", input)
    if isinstance(instruction, str) != isinstance(input, str) or len(inputs) != len(instructions):
        raise ValueError(
            "instruction and input must both be strings or lists of the same length, got "
            f"{len(instructions)} and {len(inputs)}"
        )
    return list(zip(instructions, inputs, strict=True))


def given_rates(rates: Sequence[float | None] | None, amount: Amount, n: int) -> list[float | None]:
    """Return the rate of each of `n` texts; without `rates`, they share one.

    Raises:
        ValueError: If there are not `n` rates, one is out of range, or another amount is given.
    """
    if rates is None:
        return [amount.rate] * n
    if amount != Amount():
        raise ValueError("context_rates cannot be combined with rate, target_tokens, or tolerance")
    if not isinstance(rates, (list, tuple)) or len(rates) != n:
        raise ValueError(
            f"context_rates must be a list with one rate per text ({n}), got {rates!r}"
        )
    for i, rate in enumerate(rates):
        check_rate(f"context_rates[{i}]", rate)
    return list(rates)
