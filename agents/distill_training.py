"""Learner that distills the costs of words or another policy."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from gymnasium.vector import VectorEnv
from numpy.typing import NDArray

from agents.adamw_learner import AdamWLearner, prompts_of_update
from agents.costs import Groups
from agents.integrated_gradients import attributions
from agents.learner_configs import DistillConfig
from agents.learning import Figures, check_finite
from agents.leave_one_out import losses
from agents.network_agent import tensors
from agents.policy import keep_logits
from agents.word_masks import grouped_logits
from pcrl_gym.compressor.compressor import Compressor
from pcrl_gym.compressor.network import KeepNetwork, check_logits

if TYPE_CHECKING:
    from pcrl_gym.episodes.episode import Episode

TEACHERS = {"leave_one_out": losses, "integrated_gradients": attributions}
"""Functions that measure the costs to learn, by the name of the agent that uses them; any other
teacher is a policy."""


def target_logits(costs: NDArray[np.float64], tolerance: float) -> NDArray[np.float64]:
    """Return the target keep logits for costs of any shape.

    Formula: `asinh(cost / tolerance) - asinh(1)`: linear near 0, logarithmic for large costs, and 0
    at the tolerance, so cheaper groups are more likely dropped than kept.

    Example:
        >>> target_logits(np.array([0.0, 0.02, 2.0]), tolerance=0.02).round(2)
        array([-0.88,  0.  ,  4.42])
    """
    logits: NDArray[np.float64] = np.arcsinh(costs / tolerance) - np.arcsinh(1.0)
    return logits


class DistillLearner(AdamWLearner):
    """Trains a network by regression on the costs of words; see `agents.learning.Learner`."""

    _config: DistillConfig

    def __init__(
        self, env: VectorEnv, network: KeepNetwork, config: DistillConfig, seed: int
    ) -> None:
        super().__init__(env, network, config, seed, "distill measures the costs of units")
        self._policy = (
            None
            if config.teacher in TEACHERS
            else Compressor.from_pretrained(config.teacher, device=str(self._device))
        )
        self._known: dict[str, NDArray[np.float64]] = {}  # keep logits of the policy, by prompt
        # Independent of the training seed, so that all seeds share the measured costs.
        count = len(self._task.episodes)
        self._prompts = np.random.default_rng(0).permutation(count)[: config.prompts]

    def update(self, used: float) -> Figures:
        """Measure the costs of the next prompts, unless cached, and take one gradient step."""
        config, task = self._config, self._task
        count = min(config.batch_size, len(self._prompts))
        places = prompts_of_update(self._seed, self.updates, count, len(self._prompts))
        episodes = task.episodes.take([int(self._prompts[place]) for place in places])
        observations, infos = task.begin(episodes)
        logits, _ = self.network(*tensors(observations, self._device))
        groups, found, valid = grouped_logits(
            observations, infos, check_logits(logits), config.whole_words
        )
        target = torch.as_tensor(self._targets(episodes, groups), dtype=torch.float32)
        target, pooled = target.to(self._device), found[torch.from_numpy(valid)]
        # Not the library's mean, which is NaN if no prompt of the batch has anything to drop.
        total = torch.nn.functional.smooth_l1_loss(pooled, target, reduction="sum")
        error = total / max(len(target), 1)
        self._descend(error, used)
        figures = {
            "episodes": float(len(target)),
            "loss": float(error.detach()),
            "correlation": _correlation(pooled.detach().cpu().numpy(), target.cpu().numpy()),
        }
        check_finite(figures, self.network)
        return figures

    def _targets(self, episodes: list[Episode], groups: Groups) -> NDArray[np.float64]:
        """Return the target keep logits of the words of all prompts, (words,)."""
        if self._policy is None:
            costs = TEACHERS[self._config.teacher](self._task.scorer, episodes, groups)
            return target_logits(np.concatenate(costs), self._config.tolerance)
        new = [i for i, episode in enumerate(episodes) if episode.prompt.id not in self._known]
        taught = keep_logits(self._policy, *([both[i] for i in new] for both in (episodes, groups)))
        self._known |= {episodes[i].prompt.id: own for i, own in zip(new, taught, strict=True)}
        return np.concatenate([self._known[episode.prompt.id] for episode in episodes])


def _correlation(found: NDArray[np.float32], target: NDArray[np.float32]) -> float:
    """Return the correlation of predicted and measured costs, or 0 if either is constant."""
    varies = len(target) > 1 and bool(found.std()) and bool(target.std())
    return float(np.corrcoef(found, target)[0, 1]) if varies else 0.0
