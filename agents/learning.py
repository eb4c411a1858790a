"""Training loop shared by all learners, which runs until the budget is used up."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable

import torch
from gymnasium.vector import VectorEnv
from torch import Tensor

from agents.budget import Budget
from agents.entropy import EntropySteering
from pcrl_gym.compressor.network import KeepNetwork
from pcrl_gym.errors import TrainingDivergedError
from pcrl_gym.progress import progress_bar

Figures = dict[str, float]


class Learner(ABC):
    """One training in progress.

    An update depends only on the network, `state()`, the seed, and the number of updates done. A
    learner that takes over the network and state of another one thus continues exactly as that one
    would have.
    """

    network: KeepNetwork  # trained in place
    updates: int  # done so far
    _env: VectorEnv
    _steering: EntropySteering | None = None  # for learners with entropy steering
    _optimizer: torch.optim.Optimizer

    @abstractmethod
    def update(self, used: float) -> Figures:
        """Learn from the next prompts; schedules depend on the share `used` of the budget."""

    def state(self) -> dict[str, Tensor]:
        """Return the training state besides the network: optimizer, steering, counter."""
        return {
            "updates": torch.tensor(self.updates),
            **(self._steering.state() if self._steering else {}),
            **optimizer_tensors(self._optimizer),
        }

    def load_state(self, state: dict[str, Tensor]) -> None:
        """Restore the state returned by `state`."""
        self.updates = int(state["updates"])
        if self._steering:
            self._steering.load_state(state)
        load_optimizer_tensors(self._optimizer, state)

    def close(self) -> None:
        """Close the environment."""
        self._env.close()


def run(
    learner: Learner,
    budget: Budget,
    *,
    name: str,
    progress: bool = True,
    after_update: Callable[[Figures], None] | None = None,
) -> list[Figures]:
    """Update a learner until the budget is used up, and return the metrics of each update.

    These are `updates`, `episodes`, and `seconds` so far, and the result of `Learner.update`. They
    are passed to `after_update`, which may store, log, or evaluate.
    """
    history: list[Figures] = []
    options = {"unit": "%", "leave": None, "bar_format": _BAR}  # cleared if nested in another bar
    with progress_bar(total=100, desc=f"train {name}", disable=not progress, **options) as bar:
        while budget.used < 1.0:
            figures = learner.update(budget.used)
            budget.add(int(figures["episodes"]))
            history.append(figures | budget.progress)
            episodes = str(int(history[-1]["episodes"]))
            bar.set_postfix({"episodes": episodes, **shown(history[-1])}, refresh=False)
            bar.update(100 * budget.used - bar.n)
            if after_update is not None:
                after_update(history[-1])
    return history


def check_finite(figures: Figures, network: KeepNetwork) -> None:
    """Raise `TrainingDivergedError` if a metric or a trained weight is not finite."""
    broken = [name for name, value in figures.items() if not math.isfinite(value)]
    trained = (p for p in network.parameters() if p.requires_grad)
    if not broken and not all(bool(torch.isfinite(p).all()) for p in trained):
        broken = ["weights"]
    if broken:
        raise TrainingDivergedError(
            f"{', '.join(broken)}: no longer a finite number. Lower lr or max_grad_norm, and check "
            "the rewards"
        )


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Return the state of an optimizer as a flat mapping of tensors."""
    return {
        f"optimizer.{index}.{key}": torch.as_tensor(value)
        for index, values in optimizer.state_dict()["state"].items()
        for key, value in values.items()
    }


def load_optimizer_tensors(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    """Restore the state returned by `optimizer_tensors`; other keys are ignored."""
    state: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        if name.startswith("optimizer."):
            _, index, key = name.split(".", 2)
            state.setdefault(int(index), {})[key] = tensor
    groups = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": state, "param_groups": groups})


_BAR = "{desc}: {percentage:3.0f}%|{bar}| {elapsed}<{remaining}{postfix}"
_SHOWN = {
    "reward": "reward", "compression_ratio": "ratio", "survived": "survived", "entropy": "entropy",
    "correlation": "correlation",
}  # fmt: skip


def shown(figures: Figures) -> dict[str, str]:
    """Return the metrics to show during training, by their short names."""
    return {label: f"{figures[key]:.3f}" for key, label in _SHOWN.items() if key in figures}
