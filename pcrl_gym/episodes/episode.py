"""The episode: one prompt or text split into units, to which keep masks are applied."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pcrl_gym.episodes.matching import exact_mask, nearest_mask
from pcrl_gym.episodes.protection import ForceKeep, Protection
from pcrl_gym.episodes.tokenizers import TextEncoder
from pcrl_gym.episodes.units import Span, UnitKind, check_unit_kind, first_tokens, split_units
from pcrl_gym.prompts.prompt import Prompt
from pcrl_gym.prompts.prompt_text import PromptText, RenderedPrompt, join_kept
from pcrl_gym.prompts.template import Template

if TYPE_CHECKING:
    from tokenizers import Encoding
    from transformers import PreTrainedTokenizerFast


@dataclass(frozen=True, eq=False)
class Episode:
    """One prompt, its text, and the units that a keep mask keeps or drops.

    Attributes:
        prompt: The prompt.
        text: The text that the generator reads if every unit is kept; a `PromptText`, which marks
            the ranges of the template.
        spans: Character range `(start, end)` of each unit; together a partition of `text`.
        droppable: Bool (n_units,); False for protected units. Read-only.
        unit_ids: Int64 (n_units,); the policy tokenizer's ID of the first token of each unit.
            Read-only.
        fixed: Character ranges of `text` that belong to the template.
        around: For a text without a template, the IDs of the template units that the policy reads
            before and after it; see `EpisodeBuilder.cut_texts`.
    """

    prompt: Prompt
    text: str
    spans: tuple[Span, ...]
    droppable: NDArray[np.bool_]
    unit_ids: NDArray[np.int64]
    fixed: tuple[Span, ...]
    around: tuple[Sequence[int], Sequence[int]] = ((), ())

    def __post_init__(self) -> None:
        self.droppable.flags.writeable = False
        self.unit_ids.flags.writeable = False

    def __len__(self) -> int:
        """Return the number of units."""
        return len(self.spans)

    @property
    def template_text(self) -> str:
        """The text of the template: the joined fixed ranges, as a `PromptText`."""
        joined = "".join(self.text[start:end] for start, end in self.fixed)
        return PromptText(joined, [(0, len(joined))])

    @property
    def body(self) -> slice:
        """Slice from the user's first to the user's last unit, without the template's ends."""
        users = np.flatnonzero(~overlapping(len(self.text), self.spans, self.fixed))
        return slice(int(users[0]), int(users[-1]) + 1) if len(users) else slice(0, 0)

    @property
    def body_span(self) -> Span:
        """Character range of `body` in `text`; empty and at the end if there are no user units."""
        units = self.spans[self.body]
        return (units[0][0], units[-1][1]) if units else (len(self.text),) * 2

    @property
    def body_text(self) -> str:
        """The text of `body`, the input of text compressors."""
        return self.text[slice(*self.body_span)]

    def with_body(self, body: str) -> tuple[str, NDArray[np.bool_]]:
        """Return the text with its body replaced, and which units are kept in it.

        If a keep mask yields the same body, this returns the results of `compress` and `kept` for
        that mask. Otherwise, the kept units are those of `matching.nearest_mask`, and the whole new
        body counts as user text, including template text between instruction and input.

        Args:
            body: The text that replaces `body_span`.

        Returns:
            A `PromptText`, and bool (n_units,).
        """
        (start, end), own = self.body_span, self.body
        units, free = self.spans[own], self.droppable[own]
        kept = np.ones(len(self), np.bool_)
        found = exact_mask([self.text[a:b] for a, b in units], free, body)
        if found is not None:
            kept[own] = found
            return self.compress(kept), kept
        inside = [(a - start, b - start) for a, b in units]
        kept[own] = nearest_mask(self.text[start:end], inside, free, body)
        shift = len(body) - (end - start)
        fixed = [(a, b) for a, b in self.fixed if b <= start]
        fixed += [(a + shift, b + shift) for a, b in self.fixed if a >= end]
        return PromptText(self.text[:start] + body + self.text[end:], fixed), kept

    def kept(self, mask: ArrayLike) -> NDArray[np.bool_]:
        """Return the effective keep mask.

        Protected units and units past the end of a short mask are always kept. Entries past the
        last unit (padding) are ignored.

        Args:
            mask: Keep mask, bool or integer (any length,); 0 drops, anything else keeps.

        Returns:
            bool (n_units,), True where a unit is kept.

        Raises:
            ValueError: If the mask is not a one-dimensional array of bools or integers.
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
        """Return the text without the units that the mask drops; see `kept`.

        Keeping every unit returns exactly `text`. The template's ranges move with its text.

        Raises:
            ValueError: If the mask is invalid, as in `kept`.
        """
        return join_kept(self.text, self.spans, self.kept(mask).tolist())


class EpisodeBuilder:
    r"""Converts prompts, or texts without a template, to episodes.

    Args:
        tokenizer: The policy's fast tokenizer; special-token strings in prompts are plain text.
        template: The text around instruction and input.
        unit: `"token"` or `"word"`, see `split_units`.
        force_keep: Strings, matched literally anywhere, and compiled regular expressions. Their
            matches in the user's text cannot be dropped.
        keep_digits: Whether to protect numbers as well; see `pcrl_gym.episodes.protection`.

    Raises:
        ValueError: If `unit` is unknown, or `Protection` rejects `force_keep`.

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
        self.protection = Protection(force_keep, keep_digits)
        self.encoder = TextEncoder(tokenizer)
        self._unit: UnitKind = unit
        unknown = (tokenizer.unk_token_id, tokenizer.pad_token_id, 0)
        self._unknown_id = next(token_id for token_id in unknown if token_id is not None)

    def __call__(
        self, prompts: Sequence[Prompt], protection: Protection | None = None
    ) -> list[Episode]:
        """Return one episode per prompt, in order.

        `protection` finds the ranges that cannot be dropped; None uses the builder's protection.
        """
        find = protection or self.protection
        episodes = []
        for prompt, rendered, encoding in zip(prompts, *self._encoded(prompts), strict=True):
            protected: list[Span] = []
            for start, end in _user_ranges(rendered):
                found = find(rendered.text[start:end])
                protected += [(start + first, start + last) for first, last in found]
            episodes.append(self._cut(prompt, rendered, encoding, protected))
        return episodes

    def cut_texts(
        self, texts: Sequence[str], protection: Protection | None = None
    ) -> list[Episode]:
        """Return one episode per text without a template, in order.

        The policy was trained on prompts inside the template, so it reads the text as an
        instruction in it (see `Episode.around`). Units, offsets, and protection refer to the text.

        Whitespace at the ends of a text, which templates strip, belongs to its first and last unit,
        or forms its own unit if any of it is protected. A text of only whitespace is one protected
        unit.

        Raises:
            ValueError: If the template changes the instruction.
        """
        find = protection or self.protection
        stripped = [Prompt(str(i), text.strip()) for i, text in enumerate(texts)]
        return [
            self._cut_text(text, find(text), prompt, rendered, encoding)
            for text, prompt, rendered, encoding in zip(
                texts, stripped, *self._encoded(stripped), strict=True
            )
        ]

    def _encoded(self, prompts: Sequence[Prompt]) -> tuple[list[RenderedPrompt], list[Encoding]]:
        rendered = [self.template.render(prompt) for prompt in prompts]
        return rendered, self.encoder.encodings([item.text for item in rendered])

    def _cut(
        self,
        prompt: Prompt,
        rendered: RenderedPrompt,
        encoding: Encoding,
        protected: Sequence[Span],
    ) -> Episode:
        text = rendered.text
        protected = [*rendered.fixed, *protected]
        offsets, token_ids = encoding.offsets, encoding.ids  # each access makes a new list
        spans = split_units(text, offsets, self._unit, protected)
        tokens = first_tokens(text, spans, offsets)
        ids = [self._unknown_id if token is None else token_ids[token] for token in tokens]
        return Episode(
            prompt=prompt,
            text=text,
            spans=tuple(spans),
            droppable=~overlapping(len(text), spans, protected),
            unit_ids=np.array(ids, dtype=np.int64),
            fixed=rendered.fixed,
        )

    def _cut_text(
        self,
        text: str,
        protected: Sequence[Span],
        stripped: Prompt,
        rendered: RenderedPrompt,
        encoding: Encoding,
    ) -> Episode:
        core = stripped.instruction
        spans = [(0, len(text))] if text else []
        free, ids = [False] * len(spans), [0] * len(spans)
        around: tuple[Sequence[int], Sequence[int]] = ((), ())
        if core:
            users = _user_ranges(rendered)
            if [rendered.text[start:end] for start, end in users] != [core]:
                raise ValueError(
                    "the template splits or changes an instruction without an input; pass prompts "
                    "as instruction= and input="
                )
            [(first, last)] = users
            begin = text.index(core)
            shift = first - begin  # from a position in the text to its position in the template
            moved = [(max(a + shift, first), min(b + shift, last)) for a, b in protected]
            inside = self._cut(stripped, rendered, encoding, [m for m in moved if m[0] < m[1]])
            body, read = inside.body, inside.unit_ids.tolist()
            around = (read[: body.start], read[body.stop :])
            spans = [(start - shift, end - shift) for start, end in inside.spans[body]]
            free, ids = inside.droppable[body].tolist(), read[body]
            for edge, (left, right) in ((0, (0, begin)), (-1, (begin + len(core), len(text)))):
                if free[edge] and any(start < right and left < end for start, end in protected):
                    place = 0 if edge == 0 else len(spans)
                    spans.insert(place, (left, right))
                    free.insert(place, False)
                    [alone] = self.encoder.encodings([text[left:right]])
                    ids.insert(place, alone.ids[0] if alone.ids else self._unknown_id)
                else:
                    spans[edge] = (min(spans[edge][0], left), max(spans[edge][1], right))
        return Episode(
            prompt=Prompt(stripped.id, text),
            text=PromptText(text),  # user text, even if it looks like a chat template
            spans=tuple(spans),
            droppable=np.array(free, dtype=np.bool_),
            unit_ids=np.array(ids, dtype=np.int64),
            fixed=(),
            around=around,
        )


def _user_ranges(rendered: RenderedPrompt) -> list[Span]:
    """Return the nonempty ranges between those of the template."""
    borders = [0, *(border for span in rendered.fixed for border in span), len(rendered.text)]
    between = zip(borders[::2], borders[1::2], strict=True)
    return [(start, end) for start, end in between if start < end]


def overlapping(length: int, spans: Sequence[Span], ranges: Iterable[Span]) -> NDArray[np.bool_]:
    """Return whether a range overlaps each span of a partition of `length` characters."""
    covered = np.zeros(length, dtype=np.bool_)
    for start, end in ranges:
        covered[start:end] = True
    starts = np.array([start for start, _ in spans], dtype=np.intp)
    return np.logical_or.reduceat(covered, starts) if len(starts) else covered
