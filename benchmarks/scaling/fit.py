"""A small model of what the stages of an update take, fitted to what was measured."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from benchmarks.scaling.stages import Case

Feature = Callable[[Case], float]

FEATURES: dict[str, dict[str, Feature]] = {
    "tokenise": {
        "token read by a tokenizer": lambda case: (case.prompts + case.rewards) * case.length
    },
    "policy": {
        "update": lambda case: 1.0,
        "unit of a prompt": lambda case: case.prompts * case.length,
    },
    "generator": {
        "layer and pass": lambda case: case.layers * case.passes,
        "operation": lambda case: case.flops,
        "reward": lambda case: case.rewards,
    },
    "similarity": {"reward": lambda case: case.rewards},
    "loop": {"update": lambda case: 1.0, "reward": lambda case: case.rewards},
}
"""By stage, what its time is proportional to; the time is the sum of these."""


@dataclass(frozen=True)
class Fit:
    """A fitted model."""

    seconds: dict[str, dict[str, float]]  # per stage and piece of what it is proportional to

    def stage(self, stage: str, case: Case) -> float:
        """Return the seconds of a stage."""
        costs = self.seconds[stage]
        return sum(cost * FEATURES[stage][name](case) for name, cost in costs.items())

    def total(self, case: Case) -> float:
        """Return the seconds of an update."""
        return sum(self.stage(stage, case) for stage in FEATURES)


def fit(cases: Sequence[Case]) -> Fit:
    """Fit every stage so that relative errors are small in the mean square.

    Raises:
        ValueError: If there are no cases.
    """
    if not cases:
        raise ValueError("there is nothing to fit: measure some cases")
    found = {}
    for stage, features in FEATURES.items():
        pieces = np.array([[of(case) for of in features.values()] for case in cases], np.float64)
        seconds = np.array([case.seconds[stage] for case in cases])
        costs = nonnegative(pieces, seconds)
        found[stage] = dict(zip(features, costs.tolist(), strict=True))
    return Fit(found)


def nonnegative(
    pieces: npt.NDArray[np.float64], seconds: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Return costs per piece, none below zero, that explain times with the least relative error.

    Minimises the sum of `((pieces @ costs - seconds) / seconds) ** 2`. With so few columns the
    best of all subsets of them is found by trying each: on the best one least squares are positive.

    Args:
        pieces: (cases, columns), what was done.
        seconds: (cases,), what it took, each above 0.

    Returns:
        (columns,) costs.

    Example:
        >>> nonnegative(np.array([[1.0, 2.0], [1.0, 4.0], [1.0, 8.0]]), np.array([7.0, 13.0, 25.0]))
        array([1., 3.])
    """
    scaled = pieces / seconds[:, None]
    columns = range(pieces.shape[1])
    best, least = np.zeros(len(columns)), np.inf
    for size in range(1, len(columns) + 1):
        for subset in map(list, combinations(columns, size)):
            # Columns of one size, as operations are counted in billions and passes in dozens.
            norm = np.linalg.norm(scaled[:, subset], axis=0)
            solution = np.linalg.lstsq(scaled[:, subset] / norm, np.ones(len(seconds)))[0] / norm
            error = float(((scaled[:, subset] @ solution - 1) ** 2).sum())
            if (solution >= 0).all() and error < least:
                best, least = np.zeros(len(columns)), error
                best[subset] = solution
    return best


class Errors(NamedTuple):
    """How far predictions are from what was measured: absolute errors as shares of that."""

    mean: float
    worst: float


def errors(predicted: Sequence[float], measured: Sequence[float]) -> Errors:
    """Compare predictions with measurements, each above 0.

    Example:
        >>> errors([1.0, 3.0], [1.0, 2.0])
        Errors(mean=0.25, worst=0.5)
    """
    shares = np.abs(np.array(predicted) / np.array(measured) - 1)
    return Errors(float(shares.mean()), float(shares.max()))


def stage_errors(cases: Sequence[Case]) -> dict[str, Errors]:
    """Return errors of the fit on the cases that it was made from, by stage, and under "total"."""
    model = fit(cases)
    found = {stage: _stage_errors(model, stage, cases) for stage in FEATURES}
    return found | {"total": errors([model.total(c) for c in cases], [c.total for c in cases])}


def _stage_errors(model: Fit, stage: str, cases: Sequence[Case]) -> Errors:
    return errors([model.stage(stage, c) for c in cases], [c.seconds[stage] for c in cases])


def left_out_errors(cases: Sequence[Case]) -> dict[str, Errors]:
    """Return the errors of each model's generator stage, predicted from the other models."""
    found = {}
    for name in dict.fromkeys(case.model for case in cases):
        own = [case for case in cases if case.model == name]
        others = [case for case in cases if case.model != name]
        if others:
            found[name] = _stage_errors(fit(others), "generator", own)
    return found
