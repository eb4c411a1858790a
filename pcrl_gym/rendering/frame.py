"""Content of a rendered prompt, in parts that are safe to print."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from numpy.typing import NDArray

if TYPE_CHECKING:
    import numpy as np

    from pcrl_gym.episodes.episode import Episode

State: TypeAlias = Literal["kept", "dropped", "protected"]

_TERMS = ("similarity", "compression_ratio", "drop_rate", "log_likelihood")
# All control characters but tab and line feed, as they would act on the terminal.
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\u202a-\u202e\u2066-\u2069]")


@dataclass(frozen=True, slots=True)
class Frame:
    """Content of one rendering.

    Attributes:
        episode: The episode.
        kept: Keep mask, bool (n_units,), True for units that are still in the prompt.
        info: Info of the last step with the answers and reward terms, or None before it.
        reward: Reward of the last step.
    """

    episode: Episode
    kept: NDArray[np.bool_]
    info: dict[str, Any] | None = None
    reward: float = 0.0


def segments(frame: Frame) -> list[tuple[str, State]]:
    """Return the prompt, split where the state of the units changes, safe to print."""
    episode = frame.episode
    states: list[State] = [
        "dropped" if not kept else "kept" if droppable else "protected"
        for kept, droppable in zip(frame.kept, episode.droppable, strict=True)
    ]
    units = zip(states, (episode.text[start:end] for start, end in episode.spans), strict=True)
    return [
        (visible("".join(text for _, text in group)), state)
        for state, group in groupby(units, key=itemgetter(0))
    ]


def mark(frame: Frame, marks: Mapping[State, str], escape: Callable[[str], str] = str) -> str:
    """Return the prompt with each part in the mark of its state, such as `"~~{}~~"`.

    Whitespace before dropped parts is not marked.
    """
    parts = []
    for text, state in segments(frame):
        word = text.lstrip() if state == "dropped" else text
        space = text[: len(text) - len(word)] if word else ""
        parts.append(space + marks[state].format(escape(word or text)))
    return "".join(parts)


def summary(frame: Frame) -> list[str]:
    """Return lines with the answers and reward terms of a finished episode, else an empty list."""
    info = frame.info
    if info is None:
        return []
    lines = [f"answer to the original:   {_one_line(info['output'])}"]
    if "compressed_output" in info:
        end = " [unfinished]" if info.get("partial") else ""
        lines.append(f"answer to the compressed: {_one_line(info['compressed_output'])}{end}")
    return [*lines, " | ".join(" ".join(term) for term in terms(frame))]


def terms(frame: Frame) -> list[tuple[str, str]]:
    """Return names and values of a finished episode's reward terms, else an empty list."""
    info = frame.info
    if info is None:
        return []
    values = [("reward", f"{frame.reward:.3f}")]
    if info.get("partial"):
        values.append(("survived", str(info["survived"])))
    measured = [(term, info.get(term, math.nan)) for term in _TERMS]
    values += [(term, f"{value:.3f}") for term, value in measured if not math.isnan(value)]
    return [*values, ("tokens", f"{info['original_tokens']} -> {info['compressed_tokens']}")]


def visible(text: str) -> str:
    r"""Return a text that is safe to print, replacing control characters and lone surrogates.

    >>> visible("a\x1b[2Jb\n")
    'a\u241b[2Jb\n'
    """
    return _CONTROL.sub(
        lambda match: chr(0x2400 + ord(match[0])) if match[0] < " " else "\ufffd",
        text.replace("\r\n", "\n").replace("\t", "    "),
    )


def _one_line(text: str) -> str:
    return " ".join(visible(text).split())
