"""Agents of a benchmark run: lookup, naming, construction, and training budgets."""

from __future__ import annotations

import dataclasses
import inspect
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agents import AGENTS, Agent, agent_class, make_agent
from agents.base import is_trainable, optional, parse_agent
from pcrl_gym.errors import did_you_mean
from pcrl_gym.spec_strings import check_value, parse_spec

if TYPE_CHECKING:
    from agents.runs.config import BudgetConfig
    from agents.runs.folder import TrainingFolder

CHECKPOINT_EVERY = 5  # updates, the most that an interruption loses


@dataclass(frozen=True, slots=True)
class Entry:
    """One agent to evaluate."""

    name: str  # in the leaderboard
    spec: str  # as requested, see `agents.make_agent`
    cls: type[Agent]
    # Whether its constructor takes `seed`. Others are evaluated once, as copies of one run are no
    # evidence. So are oracles, which are slow, and a ceiling needs no interval.
    seeded: bool
    trainable: bool  # has `train`, `save` and `load`, so it is trained first
    oracle: bool  # sees the generator's answers
    rate: float | None = None  # share of the droppable units to drop; None: agent decides
    # Training runs from elsewhere, by seed.
    policies: Mapping[int, TrainingFolder] = field(default_factory=dict)
    # Language model that ranks units, "" for the run's generator; None for agents without one.
    ranks_by: str | None = None

    @property
    def trained_here(self) -> bool:
        """Whether the benchmark has to train it."""
        return self.trainable and not self.policies

    @property
    def takes_rate(self) -> bool:
        """Whether the share of the units to drop can be set."""
        return "rate" in inspect.signature(self.cls).parameters

    def at_rate(self, rate: float) -> Entry:
        """Return the agent that drops a share of the units, with the rate in its name."""
        return dataclasses.replace(self, name=f"{self.name}-rate{rate:g}", rate=rate)

    def seeds(self, count: int) -> range:
        """Return the seeds to evaluate: `count` of them, or one for a deterministic agent."""
        return range(count if self.seeded else 1)

    def build(self, seed: int) -> Agent:
        """Build an untrained agent."""
        return make_agent(self.spec, seed=seed, **self._options)

    def load(self, folder: Path) -> Agent:
        """Load a trained agent."""
        cls: Any = self.cls
        return cls.load(folder, **self._options)

    @property
    def _options(self) -> dict[str, float]:
        return {} if self.rate is None else {"rate": self.rate}


def find_agents(specs: Sequence[str]) -> list[Entry]:
    """Find agents and check that they can be built.

    `specs` are names in `agents.AGENTS` or `module:Class`, also with settings: "random:rate=0.2" is
    named "random-rate0.2". A class is named by its `name` attribute, else by its class name.
    """
    if not specs:
        raise ValueError(f"Expected at least one agent: {', '.join(AGENTS)}, or module:Class")
    entries = [_find(spec) for spec in specs]
    [(name, count)] = Counter(entry.name for entry in entries).most_common(1)
    if count > 1:
        raise ValueError(
            f"Two agents are named {name!r}: give each class a unique `name`, and each model a "
            "folder that differs in the last two parts of its path"
        )
    return entries


def _find(spec: str) -> Entry:
    base, settings = parse_agent(spec)
    cls = agent_class(base)
    name = base if base in AGENTS else getattr(cls, "name", None)
    if not isinstance(name, str):  # a property, or set by the constructor
        name = cls.__name__
    labels = (_label(key, value) for key, value in settings.items() if key != "requirements")
    name = "-".join([name, *labels])
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name):
        raise ValueError(f"An agent's name must consist of letters, digits and '._-', got {name!r}")
    try:
        make_agent(spec, seed=0)  # fails early if settings are wrong
    except TypeError as error:
        hint = "pass arguments as settings, or give them defaults"
        raise ValueError(f"Agent {spec} cannot be built: {error}; {hint}") from error
    oracle = bool(optional(cls, "oracle"))
    return Entry(
        name=name,
        spec=spec,
        cls=cls,
        seeded="seed" in inspect.signature(cls).parameters and not oracle,
        trainable=is_trainable(cls),
        oracle=oracle,
        ranks_by=settings.get("model", "") if optional(cls, "ranker") else None,
    )


def _label(key: str, value: object) -> str:
    """Return a setting in an agent's name, e.g. the last two parts of a folder's path."""
    if key == "target":
        return str(value).rpartition(":")[2]
    text = f"{key}{value}" if not isinstance(value, str) else "-".join(Path(value).parts[-2:])
    return re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip("-")


def training_budgets(
    agents: Mapping[str, type],
    minutes: float | None = None,
    episodes: int | Mapping[str, int] | None = None,
    *,
    quick: bool = False,
) -> dict[str, BudgetConfig]:
    """Return the training budgets per seed of agents, which are given as classes by name.

    Of minutes and episodes, the first that is used up counts. Episodes are for all agents or by
    name; without a budget, those of `agents.base.optional`.
    """
    from agents.runs.config import BudgetConfig

    if minutes is None and episodes is None:
        key = "quick_episodes" if quick else "default_episodes"
        episodes = {name: optional(cls, key) for name, cls in agents.items()}
    elif quick:
        raise ValueError("--quick is a training budget: remove it, or remove episodes and minutes")
    if not isinstance(episodes, Mapping):  # "": check the number even if no agent is trained
        episodes = dict.fromkeys(["", *agents], episodes)
    elif unknown := [name for name in episodes if name not in agents]:
        hint = did_you_mean(unknown[0], agents) if agents else "; it trains no agents"
        raise ValueError(f"Episodes are set for {unknown[0]!r}, which the run does not train{hint}")
    if minutes is None and (without := [name for name in agents if episodes.get(name) is None]):
        who = ", ".join(without)
        raise ValueError(
            f"There is no training budget for {who}: set episodes for each agent, or minutes"
        )
    stored = {"checkpoint_every": CHECKPOINT_EVERY, "loggers": ("jsonl",), "evaluate_split": None}
    budgets = {
        name: BudgetConfig(episodes=episodes.get(name), minutes=minutes, **stored)
        for name in {**episodes, **agents}
    }
    return {name: budgets[name] for name in agents}


def parse_episodes(text: str) -> int | dict[str, int]:
    """Parse a number of episodes, or one per agent: "8000", "ppo=6144,scst=32000"."""
    given = parse_spec(f"episodes:{text}")[1] if "=" in text else text
    return check_value(given, int | dict[str, int], "episodes, like 8000 or ppo=6144,scst=32000")
