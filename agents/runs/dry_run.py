"""Preview of a training run: speed and distribution of rewards."""

from __future__ import annotations

import dataclasses
import time
from contextlib import closing
from typing import Any

import numpy as np

from agents.runs.config import RunConfig
from agents.runs.export import check_exportable
from agents.runs.material import load_material
from agents.runs.run import build_agent
from pcrl_gym.prompts.datasets import pick_evenly

PROMPTS = 64
RATES = (0.05, 0.1, 0.3)


def dry_run(config: RunConfig) -> str:
    """Score random masks like those at the start of training, and report the results.

    Args:
        config: Configuration of the run; nothing is written.

    Returns:
        One line per result: rewards per second on this machine, with original answers cached; the
        share of rewards above the reward's penalty, or their range for rewards without one, at each
        of `RATES`; the masks within the budget and how long they take; what an export needs.

    Raises:
        ValueError: If this cannot be trained or exported, see `agents.runs.run.train`.
        GeneratorError: If the generator fails.
    """
    build_agent(config)
    own = dataclasses.replace(config.run, evaluate_split=None)
    material = load_material(dataclasses.replace(config, run=own))
    rng, lines = np.random.default_rng(config.seed), []
    env: Any = material.make_env(1)
    with closing(env):
        check_exportable(env)
        task = env.task
        episodes = task.episodes.take(pick_evenly(len(task.episodes), PROMPTS))
        task.scorer(episodes, [np.ones(len(episode), np.bool_) for episode in episodes])
        began = time.perf_counter()
        for rate in RATES:
            masks = [rng.random(len(episode)) >= rate for episode in episodes]
            rewards = task.scorer(episodes, masks).reward
            least = getattr(task.scorer.reward, "penalty", None)
            low, high = np.quantile(rewards, [0.1, 0.9])
            what = f"80% of {len(rewards)} rewards are between {low:.3f} and {high:.3f}"
            if least is not None:
                share = np.mean(rewards > least)
                what = f"{share:.0%} of {len(rewards)} rewards are above {least:g}"
            lines.append(f"random masks that drop {rate:.0%}: {what}, mean {rewards.mean():.3f}")
        speed = len(RATES) * len(episodes) / (time.perf_counter() - began)
    return "\n".join(
        [
            f"generator: {task.scorer.generator.name}, {len(task.episodes)} prompts, "
            f"{len(task.skipped_prompts)} left out as too long",
            f"rewards per second: {speed:.1f}",
            *lines,
            f"budget: {config.run}{_duration(config, speed)}",
            f"export: needs the training folder and the tokenizer {config.task.tokenizer!r}, "
            "but not the generator",
            "",
        ]
    )


def _duration(config: RunConfig, speed: float) -> str:
    """Return how long the masks of a budget take, excluding the policy itself."""
    episodes, minutes = config.run.episodes, config.run.minutes
    if episodes is not None:
        return f"; {episodes} masks take at least {episodes / speed / 60:.1f} minutes"
    if minutes is not None:
        return f"; at most {minutes * 60 * speed:.0f} masks"
    return ""
