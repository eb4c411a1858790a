"""Distillation of leave-one-out costs as a learner."""

from __future__ import annotations

import numpy as np
import torch
from gymnasium.vector import VectorEnv
from numpy.typing import NDArray

from agents.learner_configs import DistillConfig
from agents.learning import Figures, Learner, check_finite, check_logits, task_of
from agents.leave_one_out import group_costs
from agents.network_agent import tensors
from agents.scst_training import prompts_of_update
from pcrl_gym.compressor.network import KeepNetwork
from pcrl_gym.compressor.selection import single_units
from pcrl_gym.episodes.episode import Episode
from pcrl_gym.episodes.groups import word_groups


def target_logits(losses: NDArray[np.float64], tolerance: float) -> NDArray[np.float64]:
    """Return the keep logits to learn from likelihood losses, of any shape.

    Formula: `asinh(loss / tolerance) - asinh(1)`: linear near 0, logarithmic in large losses, and 0
    where the loss is the tolerance, so that cheaper groups are likelier dropped than kept.

    Example:
        >>> target_logits(np.array([0.0, 0.02, 2.0]), tolerance=0.02).round(2)
        array([-0.88,  0.  ,  4.42])
    """
    logits: NDArray[np.float64] = np.arcsinh(losses / tolerance) - np.arcsinh(1.0)
    return logits


class DistillLearner(Learner):
    """Trains a network by regression on leave-one-out costs; see `agents.learning.Learner`."""

    def __init__(
        self, env: VectorEnv, network: KeepNetwork, config: DistillConfig, seed: int
    ) -> None:
        self._task = task_of(env, "distill measures the costs of units")
        self.network = network
        self.updates = 0
        self._env = env
        self._config = config
        self._seed = seed
        self._device = next(network.parameters()).device
        trained = [p for p in network.parameters() if p.requires_grad]
        self._optimizer = torch.optim.AdamW(trained, config.lr, weight_decay=config.weight_decay)
        # Not by the seed: all trainings on so many prompts share what was measured.
        count = len(self._task.episodes)
        self._prompts = np.random.default_rng(0).permutation(count)[: config.prompts]

    def update(self, used: float) -> Figures:
        """Measure the costs of the next prompts, unless known, and take one gradient step."""
        config, task = self._config, self._task
        count = min(config.batch_size, len(self._prompts))
        places = prompts_of_update(self._seed, self.updates, count, len(self._prompts))
        episodes = task.episodes.take([int(self._prompts[place]) for place in places])
        groups = [_groups(e, task.max_units, config.whole_words) for e in episodes]
        losses = group_costs(task.scorer, episodes, groups)
        observations, _ = task.begin(episodes)
        logits, _ = self.network(*tensors(observations, self._device))
        pooled = group_means(check_logits(logits), groups)
        wanted = [target_logits(own, config.tolerance) for own in losses]
        target = torch.as_tensor(np.concatenate(wanted), dtype=torch.float32).to(self._device)
        error = torch.nn.functional.smooth_l1_loss(pooled, target)
        for group in self._optimizer.param_groups:
            group["lr"] = config.lr * (1 - (1 - config.final_lr) * used)
        self._optimizer.zero_grad()
        error.backward()
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), config.max_grad_norm)
        self._optimizer.step()
        self.updates += 1
        figures = {
            "episodes": float(len(target)),
            "loss": float(error.detach()),
            "correlation": _correlation(pooled.detach().cpu().numpy(), target.cpu().numpy()),
        }
        check_finite(figures, self.network)
        return figures


def group_means(logits: torch.Tensor, groups: list[NDArray[np.int64]]) -> torch.Tensor:
    """Return the mean logit of each group, of all prompts in a row.

    Args:
        logits: Float (batch, max_units).
        groups: Per prompt the number of each unit's group, at most (max_units,); -1 for none.
    """
    offset, rows, columns, numbers = 0, [], [], []
    for row, own in enumerate(groups):
        places = np.flatnonzero(own >= 0)
        rows += [row] * len(places)
        columns += places.tolist()
        numbers += (own[places] + offset).tolist()
        offset += int(own.max(initial=-1)) + 1
    index = torch.tensor(numbers, dtype=torch.int64, device=logits.device)
    sums = logits.new_zeros(offset).index_add(0, index, logits[rows, columns])
    return sums / torch.bincount(index, minlength=offset)


def _groups(episode: Episode, window: int, whole_words: bool) -> NDArray[np.int64]:
    """Return the groups whose units are all in the window."""
    if whole_words:
        groups = word_groups(episode.text, episode.spans, episode.droppable)
        groups[np.isin(groups, groups[window:])] = -1
        return groups[:window]
    return single_units(episode.droppable[:window])


def _correlation(found: NDArray[np.float32], target: NDArray[np.float32]) -> float:
    """Return the correlation of predicted and measured costs; 0 where either does not vary."""
    varies = len(target) > 1 and bool(found.std()) and bool(target.std())
    return float(np.corrcoef(found, target)[0, 1]) if varies else 0.0
