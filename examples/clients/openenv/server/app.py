"""The OpenEnv server: `uvicorn --app-dir examples/clients/openenv server.app:app --port 8000`.

Environment variables define the task. PCRL_DATASET, PCRL_SPLIT, PCRL_GENERATOR, PCRL_REWARD and
PCRL_TEMPLATE take the same values as in `gym.make`. PCRL_SESSIONS is the maximum number of
concurrent sessions.
"""

from __future__ import annotations

import argparse
import os
import threading
import time
import uuid
from collections import deque
from concurrent.futures import Future
from typing import Any

import numpy as np
import uvicorn
from openenv.core.env_server.http_server import create_app
from openenv.core.env_server.interfaces import Environment
from openenv.core.env_server.types import ConcurrencyConfig, EnvironmentMetadata, State
from prompt_compression_env import MAX_CHARACTERS, CompressionAction, CompressionObservation

from pcrl_gym import make_task
from pcrl_gym.envs.task import Task
from pcrl_gym.episodes.episode import Episode

IDLE_SECONDS = 600
STEPS_PER_SECOND = 20  # of one session
_FIGURES = ("compressed_prompt", "output", "compressed_output", "compression_ratio", "survived")


class BatchScorer:
    """Scores the texts of all sessions, those that wait together in one batch."""

    def __init__(self, task: Task) -> None:
        self._score = task.scorer.score_texts
        self._waiting: deque[tuple[Episode, str, Future[dict[str, Any]]]] = deque()
        self._lock = threading.Lock()

    def __call__(self, episode: Episode, text: str) -> dict[str, Any]:
        """Return the reward of a text and its terms by name."""
        future: Future[dict[str, Any]] = Future()
        self._waiting.append((episode, text, future))
        with self._lock:  # whoever gets it scores what the others wait for, too
            batch = [self._waiting.popleft() for _ in range(len(self._waiting))]
            for part in (batch, *([one] for one in batch)):
                part = [one for one in part if not one[2].done()]
                if not part:
                    continue
                try:
                    scores = self._score([one[0] for one in part], [one[1] for one in part])
                except Exception as error:
                    if len(part) == 1:  # else each is tried alone
                        part[0][2].set_exception(error)
                    continue
                for i, (_, _, one) in enumerate(part):
                    one.set_result({"reward": float(scores.reward[i]), **scores.info(i)})
        return future.result()


class CompressionServer(Environment[CompressionAction, CompressionObservation, State]):
    """One session: prompts of the split, each compressed in one step."""

    SUPPORTS_CONCURRENT_SESSIONS = True  # sessions share nothing but the scorer

    def __init__(self, task: Task, score: BatchScorer) -> None:
        super().__init__()
        self._task, self._score = task, score
        self._rng = np.random.default_rng()
        self._state = State()
        self._episode: Episode | None = None
        self._steps: deque[float] = deque(maxlen=STEPS_PER_SECOND)

    def reset(
        self,
        seed: int | None = None,
        episode_id: str | None = None,
        index: int | None = None,
        **_: Any,
    ) -> CompressionObservation:
        """Begin with the prompt of an index, or a random one."""
        if seed is not None:
            self._rng = np.random.default_rng(seed)
        size = len(self._task.episodes)
        if index is None:
            index = int(self._rng.integers(size))
        if not 0 <= index < size:
            raise ValueError(f"expected index in [0, {size}), got {index}")
        self._episode = self._task.episodes[index]
        self._state = State(episode_id=episode_id or str(uuid.uuid4()))
        return self._observation(self._episode)

    def step(
        self, action: CompressionAction, timeout_s: float | None = None, **_: Any
    ) -> CompressionObservation:
        """Score the shorter prompt; the episode is over."""
        episode = self._episode
        if episode is None:
            raise RuntimeError("There is no episode: call reset before step")
        now = time.monotonic()
        if len(self._steps) == STEPS_PER_SECOND and now - self._steps[0] < 1:
            raise RuntimeError(f"More than {STEPS_PER_SECOND} steps in a second: slow down")
        self._steps.append(now)
        text = action.text
        if text is None:
            kept = episode.kept(np.array(action.keep, np.int8))
            units = zip(episode.spans[episode.body], kept[episode.body], strict=True)
            text = "".join(episode.text[a:b] for (a, b), keep in units if keep)
        terms = self._score(episode, text)
        self._episode = None
        self._state.step_count += 1
        figures = {key: terms[key] for key in _FIGURES if key in terms}
        return self._observation(episode, reward=terms["reward"], done=True, **figures)

    @property
    def state(self) -> State:
        """Id of the episode, and whether its step was taken."""
        return self._state

    def get_metadata(self) -> EnvironmentMetadata:
        """Return name and description."""
        return EnvironmentMetadata(
            name="prompt_compression",
            description="Shorten a prompt so that a frozen language model answers the same.",
        )

    @staticmethod
    def _observation(episode: Episode, **after: Any) -> CompressionObservation:
        return CompressionObservation(
            prompt_id=episode.prompt.id,
            prompt=str(episode.body_text),
            units=[str(episode.text[start:end]) for start, end in episode.spans],
            droppable=episode.droppable.tolist(),
            **after,
        )


_names = ("dataset", "split", "generator", "reward", "template")
task = make_task(**{n: os.environ[v] for n in _names if (v := f"PCRL_{n.upper()}") in os.environ})
score = BatchScorer(task)
app = create_app(
    lambda: CompressionServer(task, score),
    CompressionAction,
    CompressionObservation,
    env_name="prompt_compression",
    concurrency_config=ConcurrencyConfig(
        max_concurrent_envs=int(os.environ.get("PCRL_SESSIONS", "64")), session_timeout=IDLE_SECONDS
    ),
)


def main() -> None:
    """Serve until interrupted."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--host", default="0.0.0.0")
    parser.add_argument("--port", type=int, default=8000)
    options = vars(parser.parse_args())
    uvicorn.run(app, **options, ws_max_size=8 * MAX_CHARACTERS, timeout_graceful_shutdown=5)


if __name__ == "__main__":
    main()
