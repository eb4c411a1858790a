"""The forms of observations, keep masks and action masks, as pure functions."""

from __future__ import annotations

import warnings
from typing import Any, TypeAlias

import numpy as np
from gymnasium.spaces import Box
from gymnasium.spaces.utils import flatdim, flatten_space
from numpy.typing import ArrayLike, NDArray

Observation: TypeAlias = "dict[str, NDArray[Any]]"

FREE, FORCED_KEEP, PADDING = 2, 1, 0


class TokenIds(Box):
    """Token ids, int64 (max_units,): a `Box` that warns where it is flattened.

    Stable-Baselines3's `MultiInputPolicy` and Gymnasium's `FlattenObservation` hand the ids to a
    network as if they were quantities, from which nothing can be learned.

    Args:
        vocabulary_size: Number of ids.
        max_units: Length.

    >>> TokenIds(1536, 128)
    Box(0, 1535, (128,), int64)
    """

    def __init__(self, vocabulary_size: int, max_units: int) -> None:
        super().__init__(0, vocabulary_size - 1, (max_units,), np.int64)


@flatdim.register
def _flatdim_token_ids(space: TokenIds) -> int:
    _warn_flattened()
    return int(np.prod(space.shape))


@flatten_space.register
def _flatten_token_ids(space: TokenIds) -> Box:
    _warn_flattened()
    return Box(space.low, space.high, space.shape, np.int64)


def _warn_flattened() -> None:
    warnings.warn(
        "Token ids are flattened into plain numbers, from which a policy learns nothing: embed "
        "them instead, as `pcrl_gym.sb3.KeepPolicy` does for Stable-Baselines3",
        stacklevel=4,
    )


def action_mask(observation: Observation) -> NDArray[np.int8]:
    """Return the mask in Gymnasium's form, as `MultiBinary.sample(mask=...)` takes it.

    It is int8, shaped as `observation["droppable"]`: 2 free, 1 forced keep, 0 padding.

    >>> obs = {"attention_mask": np.array([1, 1, 0]), "droppable": np.array([0, 1, 0])}
    >>> action_mask(obs)
    array([1, 2, 0], dtype=int8)
    """
    present, droppable = observation["attention_mask"], observation["droppable"]
    return np.where(droppable == 1, FREE, np.where(present == 1, FORCED_KEEP, PADDING)).astype(
        np.int8
    )


def flat_action_masks(observation: Observation) -> NDArray[np.bool_]:
    """Return the mask of sb3-contrib for `MultiBinary`: is 0 allowed, is 1 allowed, per unit.

    It is bool (..., 2 * max_units). Protected units allow 1 alone, padding allows 0 alone, so that
    every unit allows something: sb3-contrib turns a unit without a choice into a coin toss.

    >>> obs = {"attention_mask": np.array([1, 1, 0]), "droppable": np.array([0, 1, 0])}
    >>> flat_action_masks(obs)
    array([False,  True,  True,  True,  True, False])
    """
    mask = action_mask(observation)
    both = np.stack([mask != FORCED_KEEP, mask != PADDING], axis=-1)
    return both.reshape(*mask.shape[:-1], -1)


def parse_keep_mask(action: ArrayLike, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Check zeros and ones of any numeric or boolean type and return bools (a copy), True = keep.

    Raises:
        ValueError: If the shape is another one or a value is neither 0 nor 1.

    >>> parse_keep_mask([1, 0, 1], (3,))
    array([ True, False,  True])
    """
    mask = np.asarray(action)
    if mask.shape != shape:
        raise ValueError(
            f"expected an action of shape {shape}, one bit per unit of the window (1 = keep), "
            f"got shape {mask.shape}"
        )
    keep: NDArray[np.bool_] = mask == 1
    if not np.all(keep | (mask == 0)):
        raise ValueError(
            "expected an action of zeros and ones (1 = keep, 0 = drop), got "
            f"{np.unique(mask[~keep & (mask != 0)])[:5]}; threshold probabilities before acting"
        )
    return keep
