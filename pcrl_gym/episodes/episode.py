"""The episode: one prompt cut into units, and what a keep mask makes of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pcrl_gym.episodes.protection import ForceKeep, Protection
from pcrl_gym.episodes.tokenizers import TextEncoder
from pcrl_gym.episodes.units import Span, UnitKind, check_unit_kind, first_tokens, split_units
from pcrl_gym.prompts.prompt import Prompt
from pcrl_gym.prompts.prompt_text import PromptText, RenderedPrompt, join_kept
from pcrl_gym.prompts.template import Template

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

FindRanges: TypeAlias = Callable[[str], list[Span]]


@dataclass(frozen=True, eq=False)
class Episode:
    """One prompt, its text and the units that a keep mask decides about.

    Attributes:
        prompt: The prompt.
        text: What the generator reads if every unit is kept; a `PromptText`, which tells the
            template's own ranges.
        spans: Character range `(start, end)` of each unit in `text`; together a partition of it.
        droppable: Bool (n_units,); False where a unit is protected. Read-only.
        unit_ids: Int64 (n_units,); the policy tokenizer's id of the token each unit begins with.
            Read-only.
        fixed: Character ranges of `text` that are the template's own.
    """

    prompt: Prompt
    text: str
    spans: tuple[Span, ...]
    droppable: NDArray[np.bool_]
    unit_ids: NDArray[np.int64]
    fixed: tuple[Span, ...]

    def __post_init__(self) -> None:
        self.droppable.flags.writeable = False
        self.unit_ids.flags.writeable = False

    def __len__(self) -> int:
        """Return the number of units."""
        return len(self.spans)

    @property
    def template_text(self) -> str:
        """The template's own text: the fixed ranges, joined; a `PromptText`."""
        joined = "".join(self.text[start:end] for start, end in self.fixed)
        return PromptText(joined, [(0, len(joined))])

    def kept(self, mask: ArrayLike) -> NDArray[np.bool_]:
        """Return the effective mask: what of a keep mask the episode goes by.

        Protected units are kept whatever the mask says, so are units behind the end of a mask
        that is too short; what a mask holds behind the last unit (padding) is ignored.

        Args:
            mask: Keep mask, bool or integer (any length,); 0 drops, anything else keeps.

        Returns:
            bool (n_units,), True where a unit is kept.

        Raises:
            ValueError: If the mask is not one-dimensional or not of bools or integers.
        """
        array = np.asarray(mask)
        if array.ndim != 1 or (array.size and array.dtype.kind not in "biu"):
            raise ValueError(
                "a keep mask must be a one-dimensional array of bools or integers, got shape "
                f"{array.shape} of {array.dtype}; threshold probabilities first"
            )
        result = np.ones(len(self), dtype=np.bool_)
        length = min(len(array), len(self))
        result[:length] = array[:length].astype(np.bool_) | ~self.droppable[:length]
        return result

    def compress(self, mask: ArrayLike) -> str:
        """Return the text with the units deleted that the mask drops; see `kept`.

        Keeping every unit gives `text` to the byte. The template's ranges move with its text.

        Raises:
            ValueError: As `kept` does.
        """
        return join_kept(self.text, self.spans, self.kept(mask).tolist())


class EpisodeBuilder:
    r"""Turns prompts into episodes.

    Args:
        tokenizer: The policy's tokenizer (a fast one); special-token strings in prompts are text.
        template: What is written around instruction and input.
        unit: `"token"` or `"word"`, see `split_units`.
        force_keep: Strings, found literally and in any place, and compiled regular expressions:
            their matches in the user's text cannot be dropped.
        keep_digits: Whether numbers cannot be dropped either; see `pcrl_gym.episodes.protection`.

    Raises:
        ValueError: If `unit` is unknown, or `force_keep` is a lone string, or holds an empty
            string or anything but strings and compiled regular expressions of text.

    Example:
        >>> builder = EpisodeBuilder(tokenizer, AlpacaTemplate(), unit="word")  # doctest: +SKIP
        >>> [episode] = builder([Prompt(id="0", instruction="Sort b a.")])  # doctest: +SKIP
        >>> episode.compress([1, 0])  # doctest: +SKIP
        'Instruction:  b a.\nOutput: \n'
    """

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerFast,
        template: Template,
        unit: UnitKind = "token",
        force_keep: ForceKeep = (),
        keep_digits: bool = False,
    ) -> None:
        check_unit_kind(unit)
        self.template = template
        self._unit: UnitKind = unit
        self._protection = Protection(force_keep, keep_digits)
        self._encoder = TextEncoder(tokenizer)
        unknown = (tokenizer.unk_token_id, tokenizer.pad_token_id, 0)
        self._unknown_id = next(token_id for token_id in unknown if token_id is not None)

    def __call__(self, prompts: Sequence[Prompt]) -> list[Episode]:
        """Return one episode per prompt, in order."""
        return self.build(prompts, [self._protection] * len(prompts))

    def build(self, prompts: Sequence[Prompt], protections: Sequence[FindRanges]) -> list[Episode]:
        """Return one episode per prompt, each with a protection of its own.

        Args:
            prompts: The prompts.
            protections: What finds the protected ranges in each piece of a prompt's text that is
                not the template's, in place of `force_keep` and `keep_digits`.
        """
        rendered = [self.template.render(prompt) for prompt in prompts]
        encodings = self._encoder.encodings([item.text for item in rendered])
        return [
            self._build(prompt, item, encoding, protection)
            for prompt, item, encoding, protection in zip(
                prompts, rendered, encodings, protections, strict=True
            )
        ]

    def unit_id(self, text: str) -> int:
        """Return the id that stands for a unit of this text alone."""
        [encoding] = self._encoder.encodings([text])
        return encoding.ids[0] if encoding.ids else self._unknown_id

    def _build(
        self, prompt: Prompt, rendered: RenderedPrompt, encoding: Any, protection: FindRanges
    ) -> Episode:
        text, fixed = rendered.text, rendered.fixed
        offsets, ids = encoding.offsets, encoding.ids
        protected = [*fixed, *_in_user_text(text, fixed, protection)]
        spans = split_units(text, offsets, self._unit, protected)
        tokens = first_tokens(text, spans, offsets)
        return Episode(
            prompt=prompt,
            text=text,
            spans=tuple(spans),
            droppable=~overlapping(len(text), spans, protected),
            unit_ids=np.array(
                [self._unknown_id if token is None else ids[token] for token in tokens],
                dtype=np.int64,
            ),
            fixed=fixed,
        )


def _in_user_text(text: str, fixed: Sequence[Span], protection: FindRanges) -> Iterable[Span]:
    """Yield the protected ranges of what stands between the template's own ranges."""
    borders = [0, *(border for span in fixed for border in span), len(text)]
    for start, end in zip(borders[::2], borders[1::2], strict=True):
        for first, last in protection(text[start:end]) if start < end else ():
            yield start + first, start + last


def overlapping(length: int, spans: Sequence[Span], ranges: Iterable[Span]) -> NDArray[np.bool_]:
    """Tell for each span of a partition of `length` characters whether a range overlaps it."""
    covered = np.zeros(length, dtype=np.bool_)
    for start, end in ranges:
        covered[start:end] = True
    starts = np.array([start for start, _ in spans], dtype=np.intp)
    return np.logical_or.reduceat(covered, starts) if len(starts) else covered
