"""Which units a call keeps: by a rate, a budget of tokens, or what they are expected to cost."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pcrl_gym.compressor.expected_loss import LossModel, within_tolerance
from pcrl_gym.compressor.selection import drop_ranks, dropped_units

if TYPE_CHECKING:
    from pcrl_gym.compressor.arguments import Call
    from pcrl_gym.episodes.episode import Episode

MARGIN = 8
"""A text with this many tokens too many ends the search for longer ones that fit."""


def kept_units(
    episodes: Sequence[Episode],
    logits: Sequence[NDArray[np.float64]],
    groups: Sequence[NDArray[np.int64]],
    call: Call,
    loss_model: LossModel | None = None,
) -> list[NDArray[np.bool_]]:
    """Return which units of each text a call keeps, bool (n_units,).

    For `logits` and `groups` see `fit_budget`; the loss model says what units cost.

    Raises:
        ValueError: If what may not be dropped has more tokens than the call allows, or it gives a
            tolerance and there is no loss model.
    """
    tolerance, target = call.amount.tolerance, call.amount.target_tokens
    if tolerance is not None:
        if loss_model is None:
            raise ValueError(
                f"tolerance={tolerance}: this policy does not store what dropping words costs. "
                "Use what `calibrate` returns, or give a rate"
            )
        return [
            ~within_tolerance(values, own, loss_model.costs(values, own >= 0), tolerance)
            for values, own in zip(logits, groups, strict=True)
        ]
    if target is None:
        rates = call.rates or [call.amount.rate] * len(episodes)
        return [
            ~dropped_units(values, own >= 0, call.default_rate if rate is None else rate, own)
            for values, own, rate in zip(logits, groups, rates, strict=True)
        ]
    if call.others is not None:
        return fit_budget(episodes, logits, groups, call.count, target, call.others)
    return [
        fit_budget([episode], [values], [own], call.count, target)[0]
        for episode, values, own in zip(episodes, logits, groups, strict=True)
    ]


def fit_budget(
    episodes: Sequence[Episode],
    logits: Sequence[NDArray[np.float64]],
    groups: Sequence[NDArray[np.int64]],
    count: Callable[[Sequence[str]], Sequence[int]],
    target: int,
    others: int = 0,
) -> list[NDArray[np.bool_]]:
    """Return keep masks with which some texts have at most `target` tokens together.

    Groups of units are dropped one by one, whichever of all texts the policy would keep least (see
    `drop_ranks`), and the result is the first that fits. What is left is tokenized anew, so that
    dropping a group may save none of its tokens, or more than them; every result is counted as the
    text that it is.

    Args:
        episodes: The texts, with their units.
        logits: Keep logits of each text, float64 (n_units,), equal within a group.
        groups: Number of the group of each unit, int64 (n_units,), from 0 in each text; -1 where a
            unit is protected.
        count: Returns the tokens of some texts.
        target: Most tokens of all texts together.
        others: Tokens that are among these but not of these texts.

    Returns:
        For each text bool (n_units,), True where a unit is kept.

    Raises:
        ValueError: If the texts have more tokens even if all is dropped that may be.
    """
    borders = np.cumsum([len(episode) for episode in episodes], dtype=np.int64)[:-1]
    offsets = np.cumsum([0, *(own.max(initial=-1) + 1 for own in groups)])
    numbers = [
        np.where(own < 0, -1, own + offset) for own, offset in zip(groups, offsets, strict=False)
    ]
    none = np.zeros(0, np.int64)  # there may be no text
    ranks = drop_ranks(np.concatenate([none, *logits]), np.concatenate([none, *numbers]))

    def kept(dropped: int) -> list[NDArray[np.bool_]]:
        masks = np.split((ranks < 0) | (ranks >= dropped), borders)
        return masks[: len(episodes)]

    def tokens(dropped: int) -> int:
        pairs = zip(episodes, kept(dropped), strict=True)
        return others + sum(count([episode.compress(mask) for episode, mask in pairs]))

    if tokens(0) <= target:
        return kept(0)
    too_few, enough = 0, int(offsets[-1])
    least = tokens(enough)
    if least > target:
        raise ValueError(
            f"target_tokens={target} is too few: what may not be dropped has {least} tokens alone"
        )
    while enough - too_few > 1:
        middle = (too_few + enough) // 2
        if tokens(middle) <= target:
            enough = middle
        else:
            too_few = middle
    # Counts go up and down a little, so that a longer text may fit although `too_few` does not.
    for dropped in range(too_few - 1, 0, -1):
        had = tokens(dropped)
        if had <= target:
            enough = dropped
        elif had > target + MARGIN:
            break
    return kept(enough)
