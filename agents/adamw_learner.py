"""Base class of learners that choose prompts of a task and take one AdamW step per update."""

from __future__ import annotations

import numpy as np
import torch
from gymnasium.vector import VectorEnv
from torch import Tensor

from agents.learner_configs import AdamWConfig
from agents.learning import Learner
from pcrl_gym.compressor.network import KeepNetwork
from pcrl_gym.envs.task import Task


def prompts_of_update(seed: int, update: int, batch_size: int, n_prompts: int) -> list[int]:
    """Return the indices of the prompts that an update learns from.

    Each pass visits every prompt once, in a new seeded order.

    Example:
        >>> [sorted(prompts_of_update(0, update, 2, 6)) for update in range(3)]
        [[2, 3], [4, 5], [0, 1]]
    """
    first = update * batch_size
    picked = []
    for place in range(first, first + batch_size):
        walk, offset = divmod(place, n_prompts)
        if not picked or offset == 0:
            order = np.random.default_rng([seed, walk]).permutation(n_prompts)
        picked.append(int(order[offset]))
    return picked


class AdamWLearner(Learner):
    """Trains a network by AdamW on the prompts of a task; see `agents.learning.Learner`.

    Args:
        env: Vector environment of `PromptCompression-v0`.
        network: Network to train in place.
        config: Settings; subclasses narrow the type.
        seed: Seed of the training.
        why: Why the learner needs the task, for the error message.

    Raises:
        ValueError: If the environment has no task.
    """

    _config: AdamWConfig

    def __init__(
        self, env: VectorEnv, network: KeepNetwork, config: AdamWConfig, seed: int, why: str
    ) -> None:
        task = getattr(env.unwrapped, "task", None)
        if not isinstance(task, Task):
            raise ValueError(
                f"{why}, so it needs a vector environment of PromptCompression-v0, got {env}"
            )
        self.network = network
        self.updates = 0
        self._env = env
        self._task = task
        self._config = config
        self._seed = seed
        self._device = next(network.parameters()).device
        trained = [p for p in network.parameters() if p.requires_grad]
        self._optimizer = torch.optim.AdamW(trained, config.lr, weight_decay=config.weight_decay)

    def _descend(self, loss: Tensor, used: float) -> None:
        """Take one step on a loss after the share `used` of the budget, and count the update."""
        config = self._config
        for group in self._optimizer.param_groups:
            group["lr"] = config.lr * (1 - (1 - config.final_lr) * used)
        self._optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), config.max_grad_norm)
        self._optimizer.step()
        self.updates += 1
