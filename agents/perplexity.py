"""LLMLingua's token-level step: drop predictable units by segment, given the kept text.

Follows Jiang et al. 2023, "LLMLingua: Compressing Prompts for Accelerated Inference of Large
Language Models" (arXiv 2310.05736), algorithm 2. Its other steps (budget controller over
demonstrations, alignment of the small model) do not apply here, as a prompt is a single
instruction.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agents.base import Infos, Observations, check_share, drop_highest, keep_masks
from agents.surprisal import SurprisalRanker

DEFAULT_RATE = 0.45
"""The rate with the highest reward on prompts of micro's train split."""


class PerplexityAgent(SurprisalRanker):
    """Drops predictable units segment by segment, given the compressed earlier segments.

    Self-information scores every unit given the whole original prompt before it. Here, a unit that
    only repeats dropped text is unexpected and is kept.

    Args:
        rate: Exact share of each prompt's droppable units to drop, 0 to 1, rounded down. After each
            segment, the same share of the units so far is dropped.
        segment_units: Units per segment, at least 1.
        model: Causal language model; None uses the run's generator, see `SurprisalRanker`.
        device: See `SurprisalRanker`.

    Raises:
        ValueError: If a setting is out of range, or, from `act`, if the model cannot be loaded.
    """

    name = "perplexity"

    def __init__(
        self,
        rate: float = DEFAULT_RATE,
        segment_units: int = 16,
        model: str | None = None,
        device: str = "auto",
    ) -> None:
        if segment_units < 1:
            raise ValueError(f"segment_units must be at least 1, got {segment_units!r}")
        super().__init__(model, device)
        self.rate = check_share("rate", rate)
        self.segment_units = segment_units

    def act(self, observations: Observations, infos: Infos) -> np.ndarray:
        """Return masks that drop the most predictable units; see `agents.base.Agent.act`."""
        droppable = observations["droppable"].astype(bool)
        drop = np.zeros_like(droppable)
        for start in range(0, droppable.shape[1], self.segment_units):
            segment = slice(start, start + self.segment_units)
            rows = np.flatnonzero(droppable[:, segment].any(1))
            if not len(rows):
                continue
            texts, spans = zip(
                *(_view(infos[row], drop[row], segment) for row in rows), strict=True
            )
            for row, nats in zip(rows, self.surprisal(texts, spans), strict=True):
                free = droppable[row, segment]
                # Rounded down over all units so far, so that the share of the whole is exact.
                wanted = math.floor(self.rate * droppable[row, : segment.stop].sum() + 1e-9)
                share = (wanted - drop[row].sum()) / free.sum()
                drop[row, segment] = drop_highest(-nats[None], free[None], float(share))[0]
        return keep_masks(observations, drop)


def _view(info: Any, dropped: NDArray[np.bool_], segment: slice) -> tuple[str, NDArray[np.int64]]:
    """Return the kept text up to the end of a segment, and the spans of its units."""
    spans = np.asarray(info["spans"], dtype=np.int64)[: len(dropped)]
    before, own = spans[: segment.start], spans[segment]
    kept = "".join(
        info["prompt"][a:b]
        for (a, b), gone in zip(before, dropped[: segment.start], strict=True)
        if not gone
    )
    first, last = int(own[0, 0]), int(own[-1, 1])
    return kept + info["prompt"][first:last], own - first + len(kept)
