"""Result of a compressor: the shorter text and the decision about every unit."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pcrl_gym.compressor.certificate import Certificate
from pcrl_gym.compressor.saving import TokenCounts
from pcrl_gym.compressor.undo import with_marker
from pcrl_gym.episodes.episode import Episode
from pcrl_gym.episodes.units import Span, merge_spans
from pcrl_gym.scoring.ratio import drop_rate

MAX_LOGIT = 20.0
"""Keep logit of units that are certain to be kept, such as protected ones."""


@dataclass(frozen=True)
class Compression(TokenCounts):
    """A compressed text.

    Units and spans are character ranges `(start, end)` of `original`. The units partition it, and
    so do the kept and dropped spans together.

    Attributes:
        original: The text before compression. With `instruction=`, the prompt with its template.
        text: The text after compression: the kept spans, joined.
        units: Range of each unit, in order and non-empty.
        keep_probabilities: Probability in [0, 1] that the policy keeps each unit, or the unit's
            word if it drops whole words; 1.0 if the unit is protected.
        droppable: Whether each unit may be dropped; False if it is protected.
        kept: Whether each unit was kept.
        original_tokens: Tokens of `original`, without special tokens around the text, as counted by
            the policy's tokenizer or `count_with=`.
        compressed_tokens: Tokens of `text`.
        template_tokens: Tokens of the template's own text in `original`; 0 without `instruction=`.
        in_domain: Whether the text resembles the policy's training prompts, judged by its words
            (see `Compressor`). If False, the dropped units may be arbitrary. None if the policy
            stores nothing about its training prompts.
        certificate: The certificate that covers this call, see `Compressor.calibrate`. None if
            nothing is certified: if the call specifies how much to drop or what to keep, and for
            messages and contexts, whose answers depend on more than one text.
        episode: The text split into units, for `pcrl_gym.rendering`. It is excluded from
            comparisons and `to_dict()`. None if unknown.

    Example:
        >>> done = Compression(
        ...     original="Sort b a please",
        ...     text="Sort b a",
        ...     units=((0, 4), (4, 6), (6, 8), (8, 15)),
        ...     keep_probabilities=(0.9, 1.0, 0.8, 0.1),
        ...     droppable=(True, False, True, True),
        ...     kept=(True, True, True, False),
        ...     original_tokens=4,
        ...     compressed_tokens=3,
        ... )
        >>> done.kept_spans, done.dropped_spans
        (((0, 8),), ((8, 15),))
        >>> done.compression_ratio, round(done.drop_rate, 3)
        (0.25, 0.333)
        >>> done.dropped, done.text_with("[...]")
        (((8, ' please'),), 'Sort b a[...]')
        >>> done.summary()
        '25% fewer tokens (1.3x)'
    """

    original: str
    text: str
    units: tuple[Span, ...]
    keep_probabilities: tuple[float, ...]
    droppable: tuple[bool, ...]
    kept: tuple[bool, ...]
    original_tokens: int
    compressed_tokens: int
    template_tokens: int = 0
    in_domain: bool | None = None
    certificate: Certificate | None = None
    episode: Episode | None = field(default=None, repr=False, compare=False)

    def __str__(self) -> str:
        return self.text

    @cached_property
    def kept_spans(self) -> tuple[Span, ...]:
        """Ranges that were kept, with adjacent ones merged."""
        return self._spans(kept=True)

    @cached_property
    def dropped_spans(self) -> tuple[Span, ...]:
        """Ranges that were dropped, with adjacent ones merged."""
        return self._spans(kept=False)

    def _spans(self, *, kept: bool) -> tuple[Span, ...]:
        chosen = (s for s, keep in zip(self.units, self.kept, strict=True) if keep == kept)
        return tuple(merge_spans(chosen))

    @cached_property
    def dropped(self) -> tuple[tuple[int, str], ...]:
        """Start in `original` and text of each dropped range.

        With `text`, they restore the original: `restore(done.text, done.dropped) == done.original`.
        """
        return tuple((start, self.original[start:end]) for start, end in self.dropped_spans)

    def text_with(self, marker: str) -> str:
        """Return the original with a marker in place of each dropped range."""
        return with_marker(self.original, self.dropped_spans, marker)

    @property
    def keep_logits(self) -> NDArray[np.float64]:
        """Log-odds of `keep_probabilities`, float64 (units,), from `-MAX_LOGIT` to `MAX_LOGIT`."""
        chances = np.array(self.keep_probabilities)
        with np.errstate(divide="ignore"):
            logits: NDArray[np.float64] = np.log(chances) - np.log1p(-chances)
        return logits.clip(-MAX_LOGIT, MAX_LOGIT)

    @property
    def drop_rate(self) -> float:
        """Share of the droppable units that was dropped, in [0, 1]; 0.0 if there are none."""
        return drop_rate(self.droppable, self.kept)

    def to_dict(self) -> dict[str, Any]:
        """Return the result as JSON-compatible data, with rates and spans (lists for tuples)."""
        certificate = self.certificate and self.certificate.to_dict()
        own = {name: _with_lists(getattr(self, name)) for name in _ENTRIES}
        return own | {"certificate": certificate}


_ENTRIES = (
    "text", "original", "original_tokens", "compressed_tokens", "template_tokens",
    "compression_ratio", "drop_rate", "in_domain", "kept_spans", "dropped_spans", "dropped",
    "units", "keep_probabilities", "droppable", "kept",
)  # fmt: skip


def _with_lists(value: Any) -> Any:
    return [_with_lists(item) for item in value] if isinstance(value, tuple) else value
