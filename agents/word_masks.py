"""Whole words: map a policy's unit logits to word logits, and word masks to unit masks."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from agents.base import Infos, Observations
from pcrl_gym.compressor.selection import single_units
from pcrl_gym.episodes.groups import word_groups


class WordMasks:
    """The words of a batch of prompts; see `pcrl_gym.episodes.groups`.

    Args:
        observations: See `agents.base.Agent.act`.
        infos: See `agents.base.Agent.act`.

    Attributes:
        groups: Word index of each unit, per prompt: int64 (n_units,); -1 for units without a word.
        allowed: Bool (batch, 2 * most words), as for `MaskedBernoulli.apply_masking`: words may be
            kept or dropped, padding only allows 0.
    """

    def __init__(self, observations: Observations, infos: Infos) -> None:
        droppable = observations["droppable"].astype(np.bool_)
        self.groups = [
            word_groups(info["prompt"], spans, free[: len(spans)])
            for info, free in zip(infos, droppable, strict=True)
            for spans in [_inside(info)]
        ]
        counts = np.array([own.max(initial=-1) + 1 for own in self.groups])
        self._most = int(counts.max(initial=0))
        exists = np.arange(self._most) < counts[:, None]
        self.allowed = np.stack([np.ones_like(exists), exists], axis=-1).reshape(len(counts), -1)
        # Units without a word share one index after all words.
        self._index = np.full(droppable.shape, self._most)
        for row, own in zip(self._index, self.groups, strict=True):
            row[: len(own)][own >= 0] = own[own >= 0]

    def pooled(self, logits: Tensor) -> Tensor:
        """Return the mean logit of each word, float (batch, most words); 0 for padding."""
        index = torch.from_numpy(self._index).to(logits.device)
        empty = logits.new_zeros(len(logits), self._most + 1)
        sums = empty.scatter_add(1, index, logits)
        counts = empty.scatter_add(1, index, torch.ones_like(logits))
        return (sums / counts.clamp(min=1))[:, : self._most]

    def spread(self, masks: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Return keep masks of units, (..., batch, max_units), from keep masks of words.

        Units without a word are kept.
        """
        kept = np.concatenate(
            [masks, np.ones_like(masks[..., :1], shape=(*masks.shape[:-1], 1))], -1
        )
        index = np.broadcast_to(self._index, (*masks.shape[:-2], *self._index.shape))
        return np.take_along_axis(kept, index, axis=-1)


def grouped_logits(
    observations: Observations, infos: Infos, logits: Tensor, whole_words: bool
) -> tuple[list[NDArray[np.int64]], Tensor, NDArray[np.bool_]]:
    """Return the groups a policy decides on, whole words or single units, and their logits.

    Returns:
        Word index of each unit, per prompt (see `WordMasks`); the keep logits, float (batch, n);
        and which of them belong to words that may be dropped, bool (batch, n).
    """
    if whole_words:
        words = WordMasks(observations, infos)
        return words.groups, words.pooled(logits), words.allowed[:, 1::2]
    droppable = observations["droppable"].astype(np.bool_)
    return [single_units(free) for free in droppable], logits, droppable


def _inside(info: dict[str, object]) -> list[tuple[int, int]]:
    """Return the spans of the units in the window, without padding."""
    spans = np.asarray(info["spans"])
    return [(start, end) for start, end in spans.tolist() if start < end]
