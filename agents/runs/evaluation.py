"""Evaluation of an agent on the prompts of a task: the only loop that runs and scores it."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from agents.base import Rewriter, optional
from pcrl_gym.envs.spaces import parse_keep_mask
from pcrl_gym.errors import PcrlError

if TYPE_CHECKING:
    from agents.base import Agent
    from pcrl_gym.envs.task import Task
    from pcrl_gym.episodes.episode import Episode
    from pcrl_gym.scoring.scorer import Scores

# Not an option: agents may draw for a whole batch at once, so the size affects the results.
BATCH = 64


class AgentError(PcrlError, RuntimeError):
    """An agent returned something other than keep masks or texts."""


ScoredBatch = tuple["Sequence[Episode]", "Scores", float, list[bool] | None]


def scored_batches(agent: Agent | Rewriter, task: Task) -> Iterator[ScoredBatch]:
    """Attach an agent to a task, let it compress every prompt in order, and score the results.

    Yields for each batch its episodes, their scores, the milliseconds per prompt of the agent
    alone, and for a `Rewriter` the prompts on which it failed, whose originals are sent.
    """
    optional(agent, "attach")(task)
    for start in range(0, len(task.episodes), BATCH):
        batch = task.episodes[start : start + BATCH]
        try:
            if isinstance(agent, Rewriter):
                texts, failed, seconds = _rewritten(agent, batch)
            else:
                masks, seconds = _masks(agent, task, batch)
        except ValueError as error:
            name = getattr(agent, "name", type(agent).__name__)
            raise AgentError(f"Agent {name}: {error}") from error
        milliseconds = 1000.0 * seconds / len(batch)
        if isinstance(agent, Rewriter):
            yield batch, task.scorer.score_texts(batch, texts), milliseconds, failed
        else:
            yield batch, task.scorer(batch, list(masks)), milliseconds, None


def _masks(agent: Agent, task: Task, batch: Sequence[Episode]) -> tuple[NDArray[np.bool_], float]:
    """Return keep masks (len(batch), max_units), and the seconds they took."""
    observations, infos = task.begin(batch)
    began = time.perf_counter()
    action = agent.act(observations, infos)
    seconds = time.perf_counter() - began
    return parse_keep_mask(action, (len(batch), task.max_units)), seconds


def _rewritten(agent: Rewriter, batch: Sequence[Episode]) -> tuple[list[str], list[bool], float]:
    """Return the texts to send, where the agent failed, and the seconds it took."""
    texts = [episode.body_text for episode in batch]
    began = time.perf_counter()
    shorter = agent.rewrite(texts)
    seconds = time.perf_counter() - began
    if len(shorter) != len(texts):
        raise ValueError(f"expected {len(texts)} texts, got {len(shorter)}")
    failed = [new is None for new in shorter]
    sent = [own if new is None else new for own, new in zip(texts, shorter, strict=True)]
    return sent, failed, seconds


def mean_scores(agent: Agent, task: Task) -> dict[str, float]:
    """Return the mean metrics on the prompts of a task, for an agent in training.

    The random state of the process is left unchanged.
    """
    from agents.seeding import isolated_random_state  # it needs torch

    with isolated_random_state():
        parts = [scores for _, scores, _, _ in scored_batches(agent, task)]
    answered = ("similarity", "survived") if parts[0].answered else ()
    return {
        key: float(np.concatenate([getattr(scores, key) for scores in parts]).mean())
        for key in ("reward", "compression_ratio", "drop_rate", *answered)
    }
