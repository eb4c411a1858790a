"""How long the agents that learn are trained before they are evaluated."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from agents.base import optional

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
    """Return what one agent gets per seed, without an evaluation on the way.

    Args:
        agent: Its name in the table.
        cls: Its class.
        minutes: Wall-clock minutes. How much is learned in them depends on the machine; with
            episodes, too, the first that is used up ends the training.
        episodes: Episodes, for all agents or by name. They give the same agents again. An episode
            of one agent may take several times as long as one of another, so equal numbers are not
            equal times. Without episodes and minutes they are the agent's own, see
            `agents.base.optional`.
        quick: Whether these are the ones to try things out.

    Raises:
        ValueError: If a number is not positive, the agent gets nothing, or `quick` comes with
            another budget.

    Example:
        >>> str(training_budget("mine", object)), str(training_budget("mine", object, quick=True))
        ('16384 episodes', '4096 episodes')
    """
    from agents.runs.config import BudgetConfig

    given = minutes is not None or episodes is not None
    if quick and given:
        raise ValueError("quick is a training budget: leave it out, or episodes and minutes")
    own = episodes.get(agent) if isinstance(episodes, Mapping) else episodes
    if not given:
        own = optional(cls, "quick_episodes" if quick else "default_episodes")
    if own is None and minutes is None:
        raise ValueError(
            f"There is no training budget for {agent}: give episodes for each agent that learns, "
            "or minutes"
        )
    return BudgetConfig(
        episodes=own,
        minutes=minutes,
        checkpoint_every=CHECKPOINT_EVERY,
        evaluate_split=None,
        loggers=("jsonl",),
    )


def parse_episodes(text: str) -> int | dict[str, int]:
    """Read a number of episodes, or one by agent.

    Raises:
        ValueError: If the text is something else.

    Example:
        >>> parse_episodes("8000"), parse_episodes("ppo=6144,scst=32000")
        (8000, {'ppo': 6144, 'scst': 32000})
    """
    try:
        if "=" not in text:
            return int(text)
        pairs = [part.split("=") for part in text.split(",")]
        if len({name for name, _ in pairs}) < len(pairs):
            raise ValueError("an agent stands in it twice")
        return {name.strip(): int(number) for name, number in pairs}
    except ValueError as error:
        raise ValueError(
            f"Expected episodes like 8000 or ppo=6144,scst=32000, got {text!r} ({error})"
        ) from error
