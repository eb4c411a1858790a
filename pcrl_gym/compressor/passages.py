"""What a compressor decides about: a text's units, and the template that the policy reads around.

A policy learned on prompts inside a template, so free text is put in one for the policy's eyes;
units and offsets are those of the user's own text all the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pcrl_gym.episodes.episode import Episode, EpisodeBuilder, FindRanges, overlapping
from pcrl_gym.episodes.units import Span
from pcrl_gym.prompts.prompt import Prompt, text_problem
from pcrl_gym.prompts.prompt_text import PromptText


@dataclass(frozen=True, eq=False)
class Passage:
    """A text and what the policy reads of it.

    Attributes:
        text: The text to be compressed.
        units: Ranges `(start, end)` of its units, a partition.
        droppable: Bool (n_units,); False where a unit is protected.
        ids: Int64 (n_read,), ids of all units that the policy reads, template included.
        free: Bool (n_read,), which of them may be dropped.
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


def prompt_passages(
    builder: EpisodeBuilder, prompts: Sequence[tuple[str, str]], protection: FindRanges
) -> list[Passage]:
    """Return a passage per (instruction, input): the prompt in its template, which is protected.

    Args:
        builder: Makes the units.
        prompts: Pairs of instruction and input.
        protection: Finds the protected ranges of a text.
    """
    rows = [Prompt(str(i), instruction, text) for i, (instruction, text) in enumerate(prompts)]
    passages = []
    for episode in builder.build(rows, [protection] * len(rows)):
        head, tail = _body(episode)
        passages.append(
            Passage(
                text=episode.text,
                units=episode.spans,
                droppable=episode.droppable,
                ids=episode.unit_ids,
                free=episode.droppable,
                head=head,
                tail=tail,
                offset=0,
                template_text=episode.template_text,
            )
        )
    return passages


def text_passages(
    builder: EpisodeBuilder, texts: Sequence[str], protection: FindRanges
) -> list[Passage]:
    """Return a passage per text, which the policy reads as an instruction in the template.

    White space at the ends of a text, which templates strip, belongs to its first and last unit; if
    any of it is protected, it is a unit of its own. A text of white space alone is one protected
    unit.

    Args:
        builder: Makes the units.
        texts: The texts.
        protection: Finds the protected ranges of a text.

    Raises:
        ValueError: If the template changes the instruction.
    """
    rows = [Prompt(str(i), text.strip()) for i, text in enumerate(texts)]
    ranges = [protection(text) for text in texts]
    inner = [
        _shifted(found, len(text.lstrip()) - len(text), len(row.instruction))
        for found, text, row in zip(ranges, texts, rows, strict=True)
    ]
    episodes = builder.build(rows, [_always(found) for found in inner])
    # All of it is the user's, even where it looks like a prompt in a chat template.
    return [
        _text_passage(builder, PromptText(text), episode, found)
        for text, episode, found in zip(texts, episodes, ranges, strict=True)
    ]


def text_list(name: str, value: Any) -> list[str]:
    """Return the texts of an argument; `ValueError` if they are none."""
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


def _always(ranges: list[Span]) -> FindRanges:
    return lambda _: ranges


def _text_passage(
    builder: EpisodeBuilder, text: str, episode: Episode, ranges: Sequence[Span]
) -> Passage:
    head, tail = _body(episode)
    core = episode.prompt.instruction
    if not core:
        whole = ((0, len(text)),) if text else ()
        none = np.zeros(len(whole), np.bool_)
        return Passage(text, whole, none, np.zeros(len(whole), np.int64), none, 0, 0, 0, "")
    body = episode.spans[head:tail]
    if _of_template(episode)[head:tail].any() or episode.text[body[0][0] : body[-1][1]] != core:
        raise ValueError(
            "the template writes an instruction without an input in several pieces or changed; "
            "give prompts as instruction= and input="
        )
    begin = len(text) - len(text.lstrip())
    before, after = (0, begin), (begin + len(core), len(text))
    units = _shifted(body, begin - body[0][0], len(text))
    ids, free = episode.unit_ids.tolist(), episode.droppable.tolist()
    if free[tail - 1] and _overlap(ranges, after):
        units.append(after)
        ids.insert(tail, builder.unit_id(text[after[0] :]))
        free.insert(tail, False)
        tail += 1
    else:
        units[-1] = (units[-1][0], len(text))
    if free[head] and _overlap(ranges, before):
        units.insert(0, before)
        ids.insert(head, builder.unit_id(text[:begin]))
        free.insert(head, False)
        tail += 1
    else:
        units[0] = (0, units[0][1])
    read = np.array(free, dtype=np.bool_)
    return Passage(
        text=text,
        units=tuple(units),
        droppable=read[head:tail],
        ids=np.array(ids, dtype=np.int64),
        free=read,
        head=head,
        tail=tail,
        offset=head,
        template_text="",
    )


def _shifted(spans: Sequence[Span], by: int, length: int) -> list[Span]:
    """Move ranges, leaving out what comes to lie outside of a text of this length."""
    moved = [(max(start + by, 0), min(end + by, length)) for start, end in spans]
    return [(start, end) for start, end in moved if start < end]


def _overlap(ranges: Sequence[Span], span: Span) -> bool:
    return any(start < span[1] and span[0] < end for start, end in ranges)


def _of_template(episode: Episode) -> NDArray[np.bool_]:
    """Tell for each unit whether it is the template's, bool (n_units,)."""
    return overlapping(len(episode.text), episode.spans, episode.fixed)


def _body(episode: Episode) -> tuple[int, int]:
    """Return the places of the first unit that is not the template's, and behind the last one."""
    users = np.flatnonzero(~_of_template(episode))
    return (int(users[0]), int(users[-1]) + 1) if len(users) else (0, 0)
