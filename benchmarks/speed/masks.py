"""Keep masks to measure with: all, random ones, and those of a trained policy."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from agents import Agent
    from pcrl_gym.envs.task import Task
    from pcrl_gym.episodes.episode import Episode

MASKS = ("keep-all", "random-5", "random-15", "random-30", "random-60", "policy")
_SEED = 0


def find_policy(folder: str | None, episodes: int, device: str) -> tuple[Agent | None, str]:
    """Return the PPO agent whose masks are wanted, and where it comes from.

    It is loaded from `folder` or, if that is None, trained on micro for some episodes; there is
    none if these are 0.

    Raises:
        ValueError: If the folder holds no saved PPO agent.
    """
    from agents.ppo import PPOAgent
    from pcrl_gym.envs.vector_env import PromptCompressionVectorEnv

    if folder is not None:
        return PPOAgent.load(folder, device), f"PPO from {folder}"
    if not episodes:
        return None, ""
    print(f"Training a policy on micro for {episodes} episodes ...", file=sys.stderr, flush=True)
    agent = PPOAgent(seed=_SEED, device=device)
    task = {"device": device, "early_stopping": True}
    agent.train(lambda count: PromptCompressionVectorEnv(count, **task), episodes=episodes)
    return agent, f"PPO trained for {episodes} episodes in this run"


def keep_masks(
    task: Task, episodes: Sequence[Episode], names: Sequence[str], agent: Agent | None
) -> dict[str, list[np.ndarray[Any, Any]]]:
    """Return keep masks by name, one per episode; those of a policy only if there is one.

    Random masks depend on the percentage and the number of episodes alone.
    """
    found: dict[str, list[np.ndarray[Any, Any]]] = {}
    for name in names:
        if name == "keep-all":
            found[name] = [np.ones(len(episode), np.bool_) for episode in episodes]
        elif name != "policy":
            percent = int(name.removeprefix("random-"))
            rng = np.random.default_rng([_SEED, percent])
            found[name] = [rng.random(len(episode)) >= percent / 100 for episode in episodes]
        elif agent is not None:
            found[name] = list(agent.act(*task.begin(episodes)))
    return found
