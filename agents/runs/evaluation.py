"""How good an agent is on prompts that it does not learn from, measured while it learns."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from agents.learning import Figures
from agents.seeding import isolated_random_state
from pcrl_gym.envs.spaces import parse_keep_mask

if TYPE_CHECKING:
    from agents.base import Agent
    from pcrl_gym.envs.task import Task

_BATCH = 64


def evaluate(agent: Agent, task: Task) -> Figures:
    """Let an agent compress every prompt of a task, and score what is left.

    The random state of the process is left as it was.

    Args:
        agent: The agent.
        task: Prompts and scorer.

    Returns:
        Means over the prompts: reward, compression_ratio, drop_rate, and, if the reward asks for
        answers, similarity and survived.

    Raises:
        ValueError: If the agent returns something else than keep masks.
        GeneratorError: If the generator fails.
    """
    parts: dict[str, list[np.ndarray]] = {}
    with isolated_random_state():
        for start in range(0, len(task.episodes), _BATCH):
            batch = task.episodes[start : start + _BATCH]
            action = agent.act(*task.begin(batch))
            masks = parse_keep_mask(action, (len(batch), task.max_units))
            scores = task.scorer(batch, list(masks))
            answered = ("similarity", "survived") if scores.answered else ()
            for key in ("reward", "compression_ratio", "drop_rate", *answered):
                parts.setdefault(key, []).append(getattr(scores, key))
    return {key: float(np.concatenate(arrays).mean()) for key, arrays in parts.items()}
