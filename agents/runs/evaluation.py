"""What an agent earns on the prompts of a task: the one loop that lets it act and scores it."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from agents.base import optional
from pcrl_gym.envs.spaces import parse_keep_mask
from pcrl_gym.errors import PcrlError

if TYPE_CHECKING:
    from agents.base import Agent
    from pcrl_gym.envs.task import Task
    from pcrl_gym.episodes.episode import Episode
    from pcrl_gym.scoring.scorer import Scores

# Fixed, not an option: an agent may draw for a whole batch at once, so another size is another run.
BATCH = 64


class AgentError(PcrlError, RuntimeError):
    """An agent returned something else than keep masks."""


ScoredBatch = tuple["Sequence[Episode]", NDArray[np.bool_], "Scores", float]


def scored_batches(agent: Agent, task: Task) -> Iterator[ScoredBatch]:
    """Let an agent, attached to the task, compress every prompt of it, in order, and score them.

    Yields per batch its episodes, keep masks (len(episodes), max_units), what these earned, and the
    milliseconds that `act` alone took per prompt.
    """
    optional(agent, "attach")(task)
    for start in range(0, len(task.episodes), BATCH):
        batch = task.episodes[start : start + BATCH]
        observations, infos = task.begin(batch)
        began = time.perf_counter()
        action = agent.act(observations, infos)
        milliseconds = 1000.0 * (time.perf_counter() - began) / len(batch)
        try:
            masks = parse_keep_mask(action, (len(batch), task.max_units))
        except ValueError as error:
            name = getattr(agent, "name", type(agent).__name__)
            raise AgentError(f"Agent {name}: {error}") from error
        yield batch, masks, task.scorer(batch, list(masks)), milliseconds


def mean_scores(agent: Agent, task: Task) -> dict[str, float]:
    """Return the mean figures on the prompts of a task, for an agent that is still learning.

    The random state of the process is left as it was.
    """
    from agents.seeding import isolated_random_state  # it needs torch

    with isolated_random_state():
        parts = [scores for _, _, scores, _ in scored_batches(agent, task)]
    answered = ("similarity", "survived") if parts[0].answered else ()
    return {
        key: float(np.concatenate([getattr(scores, key) for scores in parts]).mean())
        for key in ("reward", "compression_ratio", "drop_rate", *answered)
    }
