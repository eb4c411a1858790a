"""Base class of agents that query the generator: a ceiling, not a competitor."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agents.base import Infos

if TYPE_CHECKING:
    from pcrl_gym.envs.task import Task
    from pcrl_gym.episodes.episode import Episode


class OracleAgent:
    """Base class of agents that need the task's generator (see `attach`); tables mark them.

    Other agents see only prompts. These query the generator for the effect of a mask on its
    answers, which no user could do before paying for the whole prompt.
    """

    name: str
    oracle = True
    _task: Task | None = None
    _episodes: dict[tuple[str, str], Episode]

    def attach(self, task: Task) -> None:
        """Attach the task whose prompts are compressed."""
        self._task = task
        self._episodes = {}

    @property
    def task(self) -> Task:
        """The attached task; raises RuntimeError if there is none."""
        if self._task is None:
            raise RuntimeError(f"{self.name} queries the generator: call attach(task) before act")
        return self._task

    def episodes(self, infos: Infos) -> list[Episode]:
        """Return the task's episodes for infos; raise ValueError for a prompt of another task."""
        task = self.task
        if not self._episodes:
            self._episodes = {(e.prompt.id, e.text): e for e in task.episodes[:]}
        keys = [(str(info["prompt_id"]), str(info["prompt"])) for info in infos]
        for key in keys:
            if key not in self._episodes:
                raise ValueError(f"prompt {key[0]!r} is not in the attached task")
        return [self._episodes[key] for key in keys]
