"""Agents for the tests of the benchmark, found as `bench_agents:Class`."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from agents.scst import SCSTAgent


class DropLast:
    """Drops the last droppable unit."""

    def act(self, observations: Any, infos: Any) -> np.ndarray:
        keep = observations["attention_mask"].copy()
        for row, droppable in enumerate(observations["droppable"]):
            if droppable.any():
                keep[row, droppable.nonzero()[0][-1]] = 0
        return keep


class Forgetful:
    """Keeps units by a generator that goes on from call to call; stops the program on request."""

    name = "forgetful"
    calls_left: ClassVar[int | None] = None

    def __init__(self, seed: int) -> None:
        self._rng = np.random.default_rng(seed)

    def act(self, observations: Any, infos: Any) -> np.ndarray:
        if Forgetful.calls_left is not None:
            if Forgetful.calls_left == 0:
                raise KeyboardInterrupt
            Forgetful.calls_left -= 1
        return self._rng.integers(0, 2, observations["droppable"].shape)


class Learner(DropLast):
    """Learns how often it was trained, from the environment it is given."""

    name = "learner"
    trained: ClassVar[list[tuple[int, float]]] = []

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed
        self.knows = 0

    def act(self, observations: Any, infos: Any) -> np.ndarray:
        if not self.knows:
            raise RuntimeError("not trained")
        return super().act(observations, infos)

    def train(self, make_env: Any, *, episodes=None, seconds=None, progress=True):
        env = make_env(2)
        env.reset(seed=self.seed)
        _, rewards, *_ = env.step(env.action_space.sample())
        env.close()
        self.knows = len(rewards)
        Learner.trained.append((self.seed, seconds))
        return [{"reward": float(rewards.mean())}]

    def save(self, folder: Path) -> None:
        (Path(folder) / "knows").write_text(f"{self.seed} {self.knows}")

    @classmethod
    def load(cls, folder: Path) -> Learner:
        seed, knows = (Path(folder) / "knows").read_text().split()
        agent = cls(int(seed))
        agent.knows = int(knows)
        return agent


class Small(SCSTAgent):
    """Learns from 8 masks per update, with settings that only its constructor knows."""

    name = "small"
    defaults: ClassVar[dict[str, Any]] = {
        "encoder": "small", "hidden_size": 8, "num_layers": 1, "batch_size": 4, "samples": 2,
    }  # fmt: skip

    def __init__(self, seed: int = 0, device: str = "cpu", **settings: Any) -> None:
        super().__init__(seed, device, **(self.defaults | settings))


class WrongShape:
    name = "wrong-shape"

    def act(self, observations: Any, infos: Any) -> np.ndarray:
        return observations["droppable"][:, :-1]


class NeedsMore:
    name = "needs-more"

    def __init__(self, rate: float) -> None:
        self.rate = rate

    def act(self, observations: Any, infos: Any) -> np.ndarray:
        return observations["attention_mask"]


class KeepToo(DropLast):
    name = "keep_all"


class Oracle(DropLast):
    """Wants the task of the very prompts that it compresses."""

    name = "oracle"
    oracle = True

    def attach(self, task: Any) -> None:
        self._known = {episode.prompt.id for episode in task.episodes}

    def act(self, observations: Any, infos: Any) -> np.ndarray:
        assert {info["prompt_id"] for info in infos} <= self._known
        return super().act(observations, infos)


class Deadly(DropLast):
    """Kills its process, as the system does for lack of memory."""

    def act(self, observations: Any, infos: Any) -> np.ndarray:
        os.kill(os.getpid(), signal.SIGKILL)
        return super().act(observations, infos)


class Endless(DropLast):
    """Says that it is at work, and never ends."""

    def act(self, observations: Any, infos: Any) -> np.ndarray:
        print("at work", flush=True)
        signal.pause()
        return super().act(observations, infos)
