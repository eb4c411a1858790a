"""The training of an agent in a benchmark, which resumes after an interruption where it can."""

from __future__ import annotations

import dataclasses
import json
import shutil
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gymnasium.vector import VectorEnv

from agents.network_agent import NetworkAgent
from benchmarks.budget import TrainingBudget, TrainingError
from benchmarks.records import RunFolder
from benchmarks.roster import Entry
from benchmarks.suites import Suite

if TYPE_CHECKING:
    from agents.runs.config import RunConfig

CHECKPOINT_EVERY = 5
"""Updates between checkpoints, the most that an interruption costs."""


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
    own, see `agents.runs`, and resumes from the run's newest checkpoint: with a budget of episodes
    it ends with the same weights as without an interruption. Others train in memory and begin
    anew.

    Args:
        entry: The agent.
        seed: Its seed.
        folder: The result folder.
        suite: What the agent is trained for.
        budget: For how long.
        device: Where the generator runs.
        make_env: See `agents.runs.material.Material`.
        identity: See `agents.runs.material.Material`.

    Raises:
        TrainingError: If there was no update, figures are no longer finite, or the disk is full.
        ValueError: If an interrupted training had other settings of the agent, or another device.
        ImportError: If a library that the agent learns with is not installed.
        GeneratorError: If the generator failed.
    """
    amount = budget.describe(entry.name)
    print(f"{entry.name}, seed {seed}: training for {amount}", file=sys.stderr)
    agent: Any = entry.build(seed)
    run = folder.training(entry.name, seed)
    if type(agent).train is NetworkAgent.train:
        config = _run_config(entry, seed, agent.config, suite, budget, device)
        history, save = _train_in_run(agent, config, run, make_env, identity)
    else:
        seconds = None if budget.minutes is None else 60.0 * budget.minutes
        episodes = budget.episodes_of(entry.name)
        history = agent.train(make_env, episodes=episodes, seconds=seconds, progress=True)
        save = agent.save
    if not history:
        raise TrainingError(
            f"{entry.name}, seed {seed}: {amount} were over before the first update, so "
            "nothing was learned. Give more with --train-minutes or --train-episodes"
        )
    with folder.write_trained_agent(entry.name, seed) as target:
        save(target)
        (target / "training.json").write_text(json.dumps(history) + "\n", encoding="utf-8")
    if run.exists():
        shutil.rmtree(run)


def _train_in_run(
    agent: Any,
    config: RunConfig,
    path: Path,
    make_env: Callable[[int], VectorEnv],
    identity: Mapping[str, Any],
) -> tuple[list[dict[str, float]], Callable[[Path], None]]:
    """Return the figures of the updates, and what stores the agent."""
    from agents.runs.material import Material
    from agents.runs.run import RunError
    from agents.runs.run import train as train_in_run
    from benchmarks.policy import find_policies

    try:
        run = train_in_run(config, path, material=Material(make_env, None, identity), agent=agent)
    except RunError as error:
        raise TrainingError(f"{config.name}, seed {config.seed}: {error}") from error

    def save(target: Path) -> None:
        find_policies([path])[0].copy_to(target)
        shutil.copy(run.curve, target)

    return [{k: v for k, v in row.items() if k != "kind"} for row in run.rows()], save


def _run_config(
    entry: Entry, seed: int, settings: Any, suite: Suite, budget: TrainingBudget, device: str
) -> RunConfig:
    from agents.runs.config import BudgetConfig, RunConfig, TaskConfig

    fields = {field.name for field in dataclasses.fields(TaskConfig)}
    rules = fields & {field.name for field in dataclasses.fields(Suite)}
    return RunConfig(
        name=entry.spec,
        seed=seed,
        agent=settings,
        task=TaskConfig(device=device, **{name: getattr(suite, name) for name in rules}),
        run=BudgetConfig(
            episodes=budget.episodes_of(entry.name),
            minutes=budget.minutes,
            checkpoint_every=CHECKPOINT_EVERY,
            evaluate_split=None,
            loggers=("jsonl",),
        ),
    )
