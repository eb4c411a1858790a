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


def training_budget(
    agent: str,
    cls: type,
    minutes: float | None = None,
    episodes: int | Mapping[str, int] | None = None,
    *,
    quick: bool = False,
) -> BudgetConfig:
    """Return what one agent, by name and class, gets per seed.

    Episodes, for all agents or by name, give the same agents again, but one of an agent may take
    several times as long as one of another. How much is learned in minutes depends on the machine;
    of both, the first that is used up counts. Without either, the episodes are those of
    `agents.base.optional`; `quick` takes fewer, to try things out.

    Raises:
        ValueError: If a number is not positive, the agent gets nothing, or `quick` comes with
            another budget.

    Example:
        >>> str(training_budget("mine", object)), str(training_budget("mine", object, quick=True))
        ('16384 episodes', '4096 episodes')
    """
    from agents.runs.config import BudgetConfig

    own = episodes.get(agent) if isinstance(episodes, Mapping) else episodes
    if minutes is None and episodes is None:
        own = optional(cls, "quick_episodes" if quick else "default_episodes")
    elif quick:
        raise ValueError("--quick is a training budget: leave it out, or episodes and minutes")
    if own is None and minutes is None:
        raise ValueError(
            f"There is no training budget for {agent}: give episodes for each agent that learns, "
            "or minutes"
        )
    stored = {"checkpoint_every": CHECKPOINT_EVERY, "loggers": ("jsonl",)}
    return BudgetConfig(episodes=own, minutes=minutes, evaluate_split=None, **stored)


def parse_episodes(text: str) -> int | dict[str, int]:
    """Read a number of episodes, or one by agent.

    Raises:
        ValueError: If the text is something else.

    Example:
        >>> parse_episodes("8000"), parse_episodes("ppo=6144,scst=32000")
        (8000, {'ppo': 6144, 'scst': 32000})
    """
    given = parse_spec(f"episodes:{text}")[1] if "=" in text else text
    return check_value(given, int | dict[str, int], "episodes, like 8000 or ppo=6144,scst=32000")
