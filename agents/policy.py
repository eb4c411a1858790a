"""Agent that compresses the user's text with an exported policy (`pcrl_gym.Compressor`)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from agents.base import Infos, Observations, keep_masks
from agents.costs import Groups, count_groups, group_spans
from pcrl_gym.compressor.arguments import Amount, Protect, check_protect
from pcrl_gym.compressor.backends import Backend, check_backend
from pcrl_gym.compressor.compressor import Compressor
from pcrl_gym.compressor.selection import character_means

if TYPE_CHECKING:
    from pcrl_gym.episodes.episode import Episode


def keep_logits(
    compressor: Compressor, episodes: Sequence[Episode], groups: Groups
) -> list[NDArray[np.float64]]:
    """Return a compressor's keep logit for each group of units, regardless of its own units.

    Args:
        compressor: Applied to the text from the first group to the last one, see `PolicyAgent`.
        episodes: The prompts.
        groups: Group index of each unit, per prompt; see `agents.costs.Groups`.

    Returns:
        Per prompt float64 (groups,): the mean of `Compression.keep_logits` over a group's
        characters.
    """
    spans = [group_spans(e, own) for e, own in zip(episodes, groups, strict=True)]
    found = [np.zeros(count_groups(own)) for own in groups]
    rows = [row for row, own in enumerate(spans) if own]
    texts = [episodes[row].text[spans[row][0][0] : spans[row][-1][1]] for row in rows]
    for row, one in zip(rows, compressor(texts), strict=True):
        own = np.array(spans[row]) - spans[row][0][0]
        found[row] = character_means(one.keep_logits, one.units, own, len(one.original))
    return found


class PolicyAgent:
    """Drops what a compressor drops, regardless of its tokenizer, units, and template.

    The compressor gets the text from the prompt's first droppable unit to its last one, as in
    production use. A unit of the task is dropped if the compressor drops all of its characters, so
    a task with larger units drops less than requested.

    Args:
        model: "instruct", "micro", a folder or a Hugging Face ID; see `Compressor.from_pretrained`.
        rate: Share of the compressor's droppable units to drop, 0 to 1. None uses the rate of its
            certificate or, without one, lets it decide.
        device: "auto" (a GPU if there is one), or a torch device.
        tolerance: Accepted likelihood loss in nats per token, instead of a rate; see
            `Compressor.__call__`. Prompts that lose less are then compressed more.
        protect: "constraints" keeps words such as "not" and "at most"; None protects nothing more.
        backend: "auto", "torch", "onnx" or "int8"; see `Compressor.from_pretrained`.

    Raises:
        ValueError: If an option is invalid, if both a rate and a tolerance are given, or, from
            `act`, if the compressor does not exist or supports no tolerance.

    Example:
        >>> PolicyAgent(model="micro", rate=0.3).name
        'policy'
    """

    name = "policy"

    def __init__(
        self,
        model: str = "instruct",
        rate: float | None = None,
        device: str = "auto",
        *,
        tolerance: float | None = None,
        protect: Protect | None = None,
        backend: Backend = "auto",
    ) -> None:
        check_protect(protect)
        check_backend(backend, device)
        self.model = model
        self.rate = rate
        self.device = device
        self.backend: Backend = backend
        self._options = {**asdict(Amount(rate=rate, tolerance=tolerance)), "protect": protect}

    @cached_property
    def _compressor(self) -> Compressor:
        return Compressor.from_pretrained(self.model, device=self.device, backend=self.backend)

    def act(self, observations: Observations, infos: Infos) -> np.ndarray:
        """Return the compressor's masks; see `agents.base.Agent.act`."""
        droppable = observations["droppable"].astype(np.bool_)
        drop = np.zeros_like(droppable)
        rows = [row for row, free in enumerate(droppable) if free.any()]
        ranges = [
            (int(spans[0][0]), int(spans[-1][1]))
            for spans in (np.asarray(infos[row]["spans"])[droppable[row]] for row in rows)
        ]
        texts = [infos[row]["prompt"][slice(*own)] for row, own in zip(rows, ranges, strict=True)]
        done = self._compressor(texts, **self._options)
        for row, (start, _), one in zip(rows, ranges, done, strict=True):
            text = infos[row]["prompt"]
            kept = np.ones(len(text), np.int64)
            for first, last in one.dropped_spans:
                kept[start + first : start + last] = 0
            before = np.concatenate([[0], np.cumsum(kept)])
            spans = np.asarray(infos[row]["spans"])
            drop[row] = before[spans[:, 1]] == before[spans[:, 0]]
        return keep_masks(observations, drop)
