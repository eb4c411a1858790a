"""How long the agents that learn are trained before they are evaluated."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from pcrl_gym.errors import PcrlError

# Standard and quick. Standard budgets take about equal times: an episode of PPO takes five times as
# long as one of SCST, as it is learned from in several epochs. Trained for half of its episodes,
# PPO still keeps every unit, so its quick budget is no smaller.
_EPISODES = {"ppo": (6144, 6144), "scst": (32768, 8192)}
_EPISODES_OF_OTHERS = (16384, 4096)


class TrainingError(PcrlError, RuntimeError):
    """An agent learned nothing, or diverged; it must not stand in a table as if it had learned."""


def default_episodes(agents: Iterable[str], *, quick: bool = False) -> dict[str, int]:
    """Return the episodes by agent where no budget is given; `quick` is to try things out.

    Example:
        >>> default_episodes(["ppo", "mine"], quick=True)
        {'ppo': 6144, 'mine': 4096}
    """
    return {agent: _EPISODES.get(agent, _EPISODES_OF_OTHERS)[quick] for agent in agents}


@dataclass(frozen=True, slots=True)
class TrainingBudget:
    """Training per trainable agent and seed; the first limit used up ends it.

    Attributes:
        minutes: Wall-clock minutes; None: no limit. How much is learned in them depends on the
            machine.
        episodes: Episodes, for all agents or by agent name; None: no limit. They give the same
            agents again. An episode of one agent may take several times as long as one of another,
            so equal numbers are not equal times.

    Raises:
        ValueError: If a number is not positive.

    Example:
        >>> budget = TrainingBudget(episodes={"scst": 32000})
        >>> budget.describe("scst")
        '32000 episodes'
    """

    minutes: float | None = None
    episodes: int | Mapping[str, int] | None = None

    def __post_init__(self) -> None:
        if self.minutes is not None and not (math.isfinite(self.minutes) and self.minutes > 0.0):
            raise ValueError(f"Training needs a positive number of minutes, got {self.minutes}")
        given = self.episodes.values() if isinstance(self.episodes, Mapping) else [self.episodes]
        for episodes in given:
            if episodes is not None and episodes < 1:
                raise ValueError(f"Training needs at least one episode, got {episodes}")

    def episodes_of(self, agent: str) -> int | None:
        """Return the episodes of one agent; None: no limit."""
        if isinstance(self.episodes, Mapping):
            return self.episodes.get(agent)
        return self.episodes

    def check(self, agents: Iterable[str]) -> None:
        """Raise a `ValueError` that names the agents without a limit."""
        if self.minutes is not None:
            return
        if without := [agent for agent in agents if self.episodes_of(agent) is None]:
            raise ValueError(
                f"There is no training budget for {', '.join(without)}: give episodes for each "
                "agent that learns, or minutes"
            )

    def describe(self, agent: str) -> str:
        """Return what one agent gets, in words."""
        episodes, minutes = self.episodes_of(agent), self.minutes
        limits = [] if episodes is None else [f"{episodes} episodes"]
        return " or ".join(limits if minutes is None else [*limits, f"{float(minutes)} minutes"])


def parse_episodes(text: str) -> int | dict[str, int]:
    """Read a number of episodes, or one by agent.

    Raises:
        ValueError: If the text is something else.

    Example:
        >>> parse_episodes("8000")
        8000
        >>> parse_episodes("ppo=6144,scst=32000")
        {'ppo': 6144, 'scst': 32000}
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
