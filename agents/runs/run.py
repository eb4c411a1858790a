"""Training run in a folder: started, resumed, evaluated, and stored."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gymnasium.vector import VectorEnv
from tqdm.auto import tqdm

from agents import learning
from agents.base import agent_class, make_agent
from agents.budget import Budget
from agents.learning import Figures, Learner
from agents.network_agent import NetworkAgent
from agents.runs.config import RunConfig
from agents.runs.curve import draw
from agents.runs.drawing import check_drawing
from agents.runs.export import check_exportable
from agents.runs.folder import TrainingFolder, check_folder
from agents.runs.loggers import Log, check_loggers, open_loggers
from agents.runs.material import Material, load_material
from pcrl_gym.errors import PcrlError, TrainingDivergedError

_NOTHING_LEFT = "the budget is used up, so there is nothing left to train"
_NO_UPDATE = "the budget of {} ran out before the first update: increase it"


class TrainingError(PcrlError, RuntimeError):
    """A run ended before its budget; what it stored is intact and named in the message."""


def train(
    config: RunConfig,
    path: str | Path,
    *,
    material: Material | None = None,
    agent: Any = None,
    progress: bool = True,
) -> TrainingFolder:
    """Start or resume a run, and train until its budget is used up.

    With a budget of updates or episodes, a run ends with the same weights however often it was
    interrupted, if the agent's `train` is that of `agents.network_agent.NetworkAgent`. An agent
    with its own `train` is trained in memory, in one piece, and then stored as `last`, so it starts
    over after an interruption.

    Args:
        config: Configuration of the run.
        path: Folder of the run, new or with the same configuration.
        material: Training material; None loads it as configured.
        agent: Agent to train, with the configuration's seed and settings; None builds it.
        progress: Whether to show a progress bar and evaluations on stderr.

    Raises:
        RunFolderError: If the folder holds another run or something else, or is in use.
        TrainingError: If metrics are no longer finite, the disk is full, or the budget was over
            before the first update.
        MissingExtraError: If a library is not installed.
        ValueError: If prompts, generator, or agent cannot be loaded as configured, or the trained
            policy could not be exported.
        GeneratorError: If the generator fails.
    """
    check_folder(path, config)
    check_loggers(config.run.loggers)
    check_drawing()
    agent = agent or build_agent(config)
    resumable = type(agent).train is NetworkAgent.train
    if not resumable and config.run.updates is not None:
        raise ValueError(
            f"run.updates: {config.name} has its own training method, which takes episodes or "
            "minutes: set one of these"
        )
    material = material or load_material(config)
    try:
        with TrainingFolder.open(path, config, material.identity) as folder:
            session = _Session(config, folder, material, agent, progress)
            session.run() if resumable else session.run_whole()
            return folder
    except OSError as error:
        raise TrainingError(
            f"cannot write to {path}: {error}. {_stored(TrainingFolder(path))} Free some "
            "space or fix the problem, then run the same command again to resume"
        ) from error


def build_agent(config: RunConfig) -> Any:
    """Return the agent of a configuration, untrained."""
    if isinstance(config.agent, Mapping):
        return make_agent(config.name, seed=config.seed, **config.agent)
    cls: Any = agent_class(config.name)
    return cls(seed=config.seed, device=config.task.device, config=config.agent)


class _Session:
    """One process's part of a run."""

    def __init__(
        self, config: RunConfig, folder: TrainingFolder, material: Material, agent: Any, shown: bool
    ) -> None:
        self._config, self._folder, self._material = config, folder, material
        self._agent, self._progress, run = agent, shown, config.run
        seconds = None if run.minutes is None else 60.0 * run.minutes
        self._limits: Any = {"episodes": run.episodes, "seconds": seconds}
        self._budget = Budget(**self._limits, updates=run.updates)
        self._to_loggers: Log
        self._rows: list[dict[str, Any]] = []
        self._stored_at = 0
        self._evaluated_at = 0

    def run(self) -> None:
        learner: Learner = self._agent.start(self._make_env)
        try:
            self._resume(learner)
            with open_loggers(self._folder, self._config, learner.updates) as self._to_loggers:
                self._budget.restart()
                self._learn(learner)
        finally:
            learner.close()

    def run_whole(self) -> None:
        if self._folder.last.is_dir():
            self._say(f"{self._folder.path}: {_NOTHING_LEFT}")
            return
        run = self._config.run
        self._folder.forget_rows_after(0)
        self._budget.restart()
        history = self._agent.train(
            self._material.make_env, **self._limits, progress=self._progress
        )
        if not history:
            raise TrainingError(_NO_UPDATE.format(run))
        episodes = int(history[-1].get("episodes", run.episodes or 0))
        self._budget.resume(len(history), episodes, self._budget.progress["seconds"])
        with self._budget.paused(), open_loggers(self._folder, self._config, 0) as self._to_loggers:
            for number, figures in enumerate(history, start=1):
                self._log("update", {"updates": number, **figures})
            self._evaluate()
            draw(self._rows, self._folder.curve)
            self._folder.save_last(self._agent, self._budget.progress)

    def _make_env(self, num_envs: int) -> VectorEnv:
        env = self._material.make_env(num_envs)
        try:
            check_exportable(env)
        except BaseException:
            env.close()
            raise
        return env

    def _resume(self, learner: Learner) -> None:
        self._folder.load_checkpoint(learner, self._budget)
        self._budget.restart()  # loading models is not part of training
        self._stored_at = learner.updates
        self._rows = self._folder.forget_rows_after(learner.updates)
        evaluated = [row["updates"] for row in self._rows if row["kind"] == "evaluation"]
        self._evaluated_at = max(evaluated, default=0)
        if learner.updates:
            over, more = self._budget.used >= 1.0, f"resuming after update {learner.updates}"
            self._say(f"{self._folder.path}: {_NOTHING_LEFT if over else more}")

    def _learn(self, learner: Learner) -> None:
        run = self._config.run

        def after_update(figures: Figures) -> None:
            with self._budget.paused():
                self._log("update", figures)
                if learner.updates % run.evaluate_every == 0:
                    self._evaluate()
                if learner.updates % run.checkpoint_every == 0:
                    self._store(learner)

        try:
            shown = {"name": self._config.name, "progress": self._progress}
            learning.run(learner, self._budget, **shown, after_update=after_update)
        except TrainingDivergedError as error:
            raise TrainingError(self._diverged(error)) from error
        if not learner.updates:
            raise TrainingError(_NO_UPDATE.format(run))
        with self._budget.paused():
            if self._evaluated_at != learner.updates:
                self._evaluate()
            if self._stored_at != learner.updates:
                self._store(learner)
            draw(self._rows, self._folder.curve)

    def _log(self, kind: str, figures: Figures) -> None:
        row = {"kind": kind, **figures}
        self._rows.append(row)
        self._to_loggers(row)

    def _evaluate(self) -> None:
        if self._material.evaluate is None:
            return
        figures = self._budget.progress | self._material.evaluate(self._agent)
        self._log("evaluation", figures)
        self._evaluated_at = int(figures["updates"])
        best = self._folder.save_best(self._agent, figures)
        shown = ", ".join(f"{label} {value}" for label, value in learning.shown(figures).items())
        self._say(f"update {figures['updates']}: evaluation {shown}{' (best)' if best else ''}")
        draw(self._rows, self._folder.curve)

    def _store(self, learner: Learner) -> None:
        self._folder.save_last(self._agent, self._budget.progress, learner.state())
        self._stored_at = learner.updates
        learner.network.forget()  # a resumed run remembers nothing either

    def _say(self, text: str) -> None:
        if self._progress:
            tqdm.write(text, file=sys.stderr)

    def _diverged(self, error: TrainingDivergedError) -> str:
        agent = vars(self._config.agent)
        given = [f"{name}={agent[name]:g}" for name in ("lr", "max_grad_norm") if name in agent]
        now = f" Now {', '.join(given)}; lower them in a new run." if given else ""
        return (
            f"training diverged in update {self._budget.updates_done + 1}: {error}{now} "
            f"{_stored(self._folder)}"
        )


def _stored(folder: TrainingFolder) -> str:
    """Describe where the latest checkpoint is."""
    if not folder.last.is_dir():
        return "No checkpoint has been stored yet."
    return f"The latest checkpoint, {folder.last}, is intact."
