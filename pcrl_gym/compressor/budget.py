"""Select the units that a call keeps, by rate, token budget, or expected loss."""

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
"""Excess tokens at which the search for longer texts that fit ends."""


def kept_units(
    episodes: Sequence[Episode],
    logits: Sequence[NDArray[np.float64]],
    groups: Sequence[NDArray[np.int64]],
    call: Call,
    loss_model: LossModel | None = None,
) -> list[NDArray[np.bool_]]:
    """Return the keep mask of each text, bool (n_units,), for a call.

    For `logits` and `groups`, see `fit_budget`. The loss model gives the cost of units.

    Raises:
        ValueError: If the protected units exceed the token budget of the call, or it has a
            tolerance but there is no loss model.
    """
    tolerance, target = call.amount.tolerance, call.amount.target_tokens
    if tolerance is not None:
        if loss_model is None:
            raise ValueError(
                f"tolerance={tolerance} needs a calibrated policy, but this one has no loss model: "
                "use the compressor that `calibrate` returns, or set rate"
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
    """Return keep masks with which the texts have at most `target` tokens in total.

    Groups of units are dropped one by one across all texts, those that the policy would keep least
    first (see `drop_ranks`), and the first result that fits is returned. The remaining text is
    tokenized again, so dropping a group may save none of its tokens, or more than its own. Each
    result is therefore counted as a whole text.

    Args:
        episodes: The texts, with their units.
        logits: Keep logits of each text, float64 (n_units,), equal within a group.
        groups: Group number of each unit, int64 (n_units,), from 0 in each text; -1 if the unit is
            protected.
        count: Function that returns the token counts of texts.
        target: Maximum number of tokens of all texts together.
        others: Number of tokens outside these texts that count toward `target`.

    Returns:
        Keep mask of each text, bool (n_units,), True where a unit is kept.

    Raises:
        ValueError: If the texts exceed the target even with all droppable units dropped.
    """
    borders = np.cumsum([len(episode) for episode in episodes], dtype=np.int64)[:-1]
    offsets = np.cumsum([0, *(own.max(initial=-1) + 1 for own in groups)])
    numbers = [
        np.where(own < 0, -1, own + offset) for own, offset in zip(groups, offsets, strict=False)
    ]
    none = np.zeros(0, np.int64)  # there may be no texts
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
            f"target_tokens={target} is too low: the parts that cannot be dropped have {least} "
            "tokens"
        )
    while enough - too_few > 1:
        middle = (too_few + enough) // 2
        if tokens(middle) <= target:
            enough = middle
        else:
            too_few = middle
    # Counts are not monotonic, so a longer text may fit although `too_few` does not.
    for dropped in range(too_few - 1, 0, -1):
        had = tokens(dropped)
        if had <= target:
            enough = dropped
        elif had > target + MARGIN:
            break
    return kept(enough)
