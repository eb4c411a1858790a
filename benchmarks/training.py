"""The training of an agent in a benchmark, which goes on after an interruption where it can."""

from __future__ import annotations

import dataclasses
import json
import shutil
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from gymnasium.vector import VectorEnv

from agents.network_agent import NetworkAgent
from agents.runs.config import BudgetConfig, RunConfig, TaskConfig
from agents.runs.material import Material
from agents.runs.run import RunError
from agents.runs.run import train as train_in_run
from benchmarks.budget import TrainingBudget
from benchmarks.policies import find_policies
from benchmarks.records import RunFolder
from benchmarks.roster import Entry
from benchmarks.suites import Suite

CHECKPOINT_EVERY = 5
"""Updates between checkpoints, the most that an interruption costs."""


class TrainingError(RuntimeError):
    """An agent learned nothing, or diverged; it must not stand in a table as if it had learned."""


def train(
    entry: Entry,
    seed: int,
    folder: RunFolder,
    *,
    suite: Suite,
    budget: TrainingBudget,
    device: str,
    make_env: Callable[[int], VectorEnv],
    identity: Mapping[str, Any],
) -> None:
    """Train an agent and store it in a result folder, with its figures as `training.json`.

    An agent whose `train` is that of `agents.network_agent.NetworkAgent` is trained in a run of its
    own, see `agents.runs`, and goes on from the run's newest checkpoint: with a budget of episodes
    it ends with the same weights as without an interruption. Others train in memory, from the
    start.

    Args:
        entry: the agent.
        seed: its seed.
        folder: the result folder.
        suite: what the agent is trained for.
        budget: for how long.
        device: where the generator runs.
        make_env: number of parallel environments -> vector environment over the training prompts.
        identity: what tells these prompts and this generator from others of the same name.

    Raises:
        TrainingError: there was no update, or figures are no longer finite.
        ValueError: an interrupted training had other settings of the agent, or another device.
        MissingExtraError: a library that the agent learns with is not installed.
        GeneratorError: the generator failed.
    """
    amount = budget.tell(entry.name)
    print(f"{entry.name}, seed {seed}: training for {amount}", file=sys.stderr)
    agent: Any = entry.build(seed)
    episodes, minutes = budget.episodes_of(entry.name), budget.minutes
    run = folder.training(entry.name, seed)
    if type(agent).train is NetworkAgent.train:
        limits = BudgetConfig(
            episodes=episodes,
            minutes=minutes,
            checkpoint_every=CHECKPOINT_EVERY,
            evaluate_split=None,
            loggers=("jsonl",),
        )
        config = RunConfig(entry.spec, seed, agent.config, task_config(suite, device), limits)
        material = Material(make_env, None, identity)
        try:
            done = train_in_run(config, run, material=material, agent=agent)
        except RunError as error:
            raise TrainingError(f"{entry.name}, seed {seed}: {error}") from error
        history = [{k: v for k, v in row.items() if k != "kind"} for row in done.rows()]

        def save(target: Path) -> None:
            find_policies([run])[0].copy_to(target)
            shutil.copy(done.curve, target)

    else:
        seconds = None if minutes is None else 60.0 * minutes
        history = agent.train(make_env, episodes=episodes, seconds=seconds, progress=True)
        if not history:
            raise TrainingError(
                f"{entry.name}, seed {seed}: {amount} were over before the first update, so "
                "nothing was learned. Give more with --train-minutes or --train-episodes."
            )
        save = agent.save
    with folder.write_trained_agent(entry.name, seed) as target:
        save(target)
        (target / "training.json").write_text(json.dumps(history) + "\n", encoding="utf-8")
    if run.exists():
        shutil.rmtree(run)


def task_config(suite: Suite, device: str) -> TaskConfig:
    """The task of a training run on the split `train`, by the rules of a suite."""
    rules = {field.name for field in dataclasses.fields(Suite)}
    shared = rules & {field.name for field in dataclasses.fields(TaskConfig)}
    return TaskConfig(device=device, **{name: getattr(suite, name) for name in shared})
