"""What a compressor decides about: a text's units, and the template that the policy reads around.

A policy learned on prompts inside a template, so free text is put in one for the policy's eyes;
units and offsets are those of the user's own text all the same.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .episode import DIGIT, Episode, EpisodeBuilder, compile_force_keep, overlapping
from .prompt import Prompt, text_problem
from .prompt_text import PromptText
from .units import Span


@dataclass(frozen=True, eq=False)
class Passage:
    """A text and what the policy reads of it.

    Attributes:
        text: The text to be compressed.
        units: Ranges `(start, end)` of its units, a partition.
        droppable: bool (n_units,); False where a unit is protected.
        ids: int64 (n_read,), ids of all units that the policy reads, template included.
        free: bool (n_read,), which of them may be dropped.
        head: Where the template's units in front end.
        tail: Where the template's units at the end begin.
        offset: Place of the text's first unit among those that the policy reads.
        template_text: The template's own text inside `text`.
    """

    text: str
    units: tuple[Span, ...]
    droppable: NDArray[np.bool_]
    ids: NDArray[np.int64]
    free: NDArray[np.bool_]
    head: int
    tail: int
    offset: int
    template_text: str


def protection(
    force_keep: Sequence[str | re.Pattern[str]], keep_digits: bool
) -> list[re.Pattern[str]]:
    """Return patterns of what must be kept; `EpisodeBuilder` says what is allowed.

    Raises:
        ValueError: If `force_keep` is a lone string, or holds an empty string or anything but
            strings and compiled regular expressions of text.
    """
    return compile_force_keep(force_keep) + ([DIGIT] if keep_digits else [])


def prompt_passages(
    builder: EpisodeBuilder,
    prompts: Sequence[tuple[str, str]],
    patterns: Sequence[re.Pattern[str]],
) -> list[Passage]:
    """Return a passage per (instruction, input): the prompt in its template, which is protected.

    Args:
        builder: Builder that protects nothing but the template.
        prompts: Pairs of instruction and input.
        patterns: What else must be kept, found in the whole prompt.
    """
    rows = [Prompt(str(i), instruction, text) for i, (instruction, text) in enumerate(prompts)]
    passages = []
    for episode in builder(rows):
        head, tail = _body(episode)
        droppable = episode.droppable & ~_protected(episode.text, episode.spans, patterns)
        passages.append(
            Passage(
                text=episode.text,
                units=episode.spans,
                droppable=droppable,
                ids=episode.unit_ids,
                free=droppable,
                head=head,
                tail=tail,
                offset=0,
                template_text=episode.template_text,
            )
        )
    return passages


def text_passages(
    builder: EpisodeBuilder, texts: Sequence[str], patterns: Sequence[re.Pattern[str]]
) -> list[Passage]:
    """Return a passage per text, which the policy reads as an instruction in the template.

    White space at the ends of a text, which templates strip, belongs to its first and last unit. A
    text of white space alone is one protected unit.

    Args:
        builder: Builder that protects nothing but the template.
        texts: The texts.
        patterns: What must be kept, found in the text without a template.

    Raises:
        ValueError: If the template changes the instruction.
    """
    rows = [Prompt(str(i), text.strip()) for i, text in enumerate(texts)]
    # All of it is the user's, even where it looks like a prompt in a chat template.
    return [
        _text_passage(PromptText(text), episode, patterns)
        for text, episode in zip(texts, builder(rows), strict=True)
    ]


def text_list(name: str, value: Any) -> list[str]:
    """The texts of an argument; `ValueError` if they are none."""
    if not isinstance(value, (str, list, tuple)):
        raise ValueError(f"{name} must be a string or a list of strings, got {value!r}")
    texts = [value] if isinstance(value, str) else list(value)
    for i, text in enumerate(texts):
        problem = text_problem(text)
        if problem:
            place = name if isinstance(value, str) else f"{name}[{i}]"
            raise ValueError(f"{place} {problem}")
    return texts


def prompt_pairs(instruction: Any, input: Any) -> list[tuple[str, str]]:
    """Pair instructions with inputs; `ValueError` if they do not go together."""
    instructions = text_list("instruction", instruction)
    if input is None:
        return [(row, "") for row in instructions]
    inputs = text_list("input", input)
    if isinstance(instruction, str) != isinstance(input, str) or len(inputs) != len(instructions):
        raise ValueError(
            "instruction and input must both be strings or lists of the same length, got "
            f"{len(instructions)} and {len(inputs)}"
        )
    return list(zip(instructions, inputs, strict=True))


def _text_passage(text: str, episode: Episode, patterns: Sequence[re.Pattern[str]]) -> Passage:
    head, tail = _body(episode)
    core = episode.prompt.instruction
    if not core:
        whole = ((0, len(text)),) if text else ()
        none = np.zeros(len(whole), np.bool_)
        return Passage(text, whole, none, np.zeros(len(whole), np.int64), none, 0, 0, 0, "")
    body = episode.spans[head:tail]
    if not episode.droppable[head:tail].all() or episode.text[body[0][0] : body[-1][1]] != core:
        raise ValueError(
            "the template writes an instruction without an input in several pieces or changed; "
            "give prompts as instruction= and input="
        )
    shift = len(text) - len(text.lstrip()) - body[0][0]
    units = [(start + shift, end + shift) for start, end in body]
    units[0] = (0, units[0][1])
    units[-1] = (units[-1][0], len(text))
    droppable = ~_protected(text, units, patterns)
    free = episode.droppable.copy()
    free[head:tail] = droppable
    return Passage(text, tuple(units), droppable, episode.unit_ids, free, head, tail, head, "")


def _body(episode: Episode) -> tuple[int, int]:
    """Places of the first unit that is not the template's, and behind the last one."""
    users = np.flatnonzero(episode.droppable)
    return (int(users[0]), int(users[-1]) + 1) if len(users) else (0, 0)


def _protected(
    text: str, units: Sequence[Span], patterns: Sequence[re.Pattern[str]]
) -> NDArray[np.bool_]:
    matches = [match.span() for pattern in patterns for match in pattern.finditer(text)]
    return overlapping(len(text), units, matches)
