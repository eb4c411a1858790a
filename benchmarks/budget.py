"""How long the agents that learn are trained before they are evaluated."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from agents.base import optional
from pcrl_gym.spec_strings import check_value, parse_spec

if TYPE_CHECKING:
    from agents.runs.config import BudgetConfig

CHECKPOINT_EVERY = 5
"""Updates between checkpoints, the most that an interruption costs."""


def training_budgets(
    agents: Mapping[str, type],
    minutes: float | None = None,
    episodes: int | Mapping[str, int] | None = None,
    *,
    quick: bool = False,
) -> dict[str, BudgetConfig]:
    """Return what agents, classes by name, get per seed.

    Episodes, for all agents or by name, give the same agents again, but one of an agent may take
    several times as long as one of another. How much is learned in minutes depends on the machine;
    of both, the first that is used up counts. Without either, the episodes are those of
    `agents.base.optional`; `quick` takes fewer, to try things out.
    """
    from agents.runs.config import BudgetConfig

    if minutes is None and episodes is None:
        key = "quick_episodes" if quick else "default_episodes"
        episodes = {name: optional(cls, key) for name, cls in agents.items()}
    elif quick:
        raise ValueError("--quick is a training budget: leave it out, or episodes and minutes")
    if not isinstance(episodes, Mapping):  # "": a wrong number is one where nobody is trained, too
        episodes = dict.fromkeys(["", *agents], episodes)
    if minutes is None and (without := [name for name in agents if episodes.get(name) is None]):
        raise ValueError(
            f"There is no training budget for {', '.join(without)}: give episodes for each agent "
            "that learns, or minutes"
        )
    stored = {"checkpoint_every": CHECKPOINT_EVERY, "loggers": ("jsonl",), "evaluate_split": None}
    budgets = {
        name: BudgetConfig(episodes=episodes.get(name), minutes=minutes, **stored)
        for name in {**episodes, **agents}
    }
    return {name: budgets[name] for name in agents}


def parse_episodes(text: str) -> int | dict[str, int]:
    """Read a number of episodes, or one by agent: "8000", "ppo=6144,scst=32000"."""
    given = parse_spec(f"episodes:{text}")[1] if "=" in text else text
    return check_value(given, int | dict[str, int], "episodes, like 8000 or ppo=6144,scst=32000")
