"""Infos of sub-environments as one info in Gymnasium's vector format."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence


def stack_infos(infos: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Stack infos with the same keys, one per sub-environment.

    The same result as calling `VectorEnv._add_info` for each, in one pass over the keys: numbers
    become an array (num_envs,), arrays gain a first axis, dictionaries are stacked recursively, and
    everything else, `final_obs` included, goes into an object array. `_key` is the bool mask
    (num_envs,) of the sub-environments that have `key`: all of them.

    >>> stack_infos([{"ratio": 0.5}, {"ratio": 0.25}])
    {'ratio': array([0.5 , 0.25]), '_ratio': array([ True,  True])}
    """
    stacked: dict[str, Any] = {}
    for key in infos[0]:
        stacked[key] = _stack(key, [info[key] for info in infos])
        stacked[f"_{key}"] = np.ones(len(infos), np.bool_)
    return stacked


def _stack(key: str, values: list[Any]) -> Any:
    first = values[0]
    if key != "final_obs":
        if isinstance(first, dict):
            return stack_infos(values)
        if isinstance(first, (bool, int, float, np.number)):
            return np.array(values, dtype=type(first))
        if isinstance(first, np.ndarray):
            return np.stack(values)
    objects = np.empty(len(values), dtype=object)
    # Value by value: numpy would take sequences of one length for a second axis.
    for i, value in enumerate(values):
        objects[i] = value
    return objects
