"""Agents of this package on the demo's page."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from agents.base import TrainableAgent, agent_class, make_agent
from pcrl_gym.episode import Episode, EpisodeBuilder
from pcrl_gym.generators.base import Generator
from pcrl_gym.lazy_episodes import LazyEpisodes
from pcrl_gym.prompt import Prompt
from pcrl_gym.spaces import stack_observations
from pcrl_gym.task import make_task
from pcrl_gym.template import AlpacaTemplate

DEFAULT = ("stopwords", "self_information", "perplexity", "random", "truncation", "search")
"""Agents that need no training."""


class EnvironmentAgent:
    """An agent that sees the observations of an environment, as the page offers it.

    It decides about the tokens of the environment's default task with the given generator.

    Args:
        spec: A name of `agents.base.AGENTS` or `module:Class`.
        generator: What answers on the page; `search` asks it too.

    Raises:
        ValueError: If there is no such agent, or it has to be trained first.
    """

    def __init__(self, spec: str, generator: Generator) -> None:
        self.takes_rate = "rate" in inspect.signature(agent_class(spec)).parameters
        self._spec = spec
        self._rate: float | None = None
        self._agent = make_agent(spec, seed=0)
        if isinstance(self._agent, TrainableAgent):
            raise ValueError(
                f"agent {spec!r} has to be trained: make a policy of the run with `python -m "
                "agents export RUN FOLDER`, and give it as --model FOLDER"
            )
        self._asks = bool(getattr(self._agent, "oracle", False))
        self.name = f"{self._agent.name} (sees the answers)" if self._asks else self._agent.name
        self._task = make_task(dataset=[Prompt("none", "None yet.")], generator=generator)
        self._builder = EpisodeBuilder(self._task.tokenizer, AlpacaTemplate())

    def episode(self, prompt: Prompt) -> Episode:
        """Cut a prompt into tokens; see `pcrl_gym.demo.compressing.DemoAgent.episode`."""
        return self._builder([prompt])[0]

    def keep(self, episode: Episode, rate: float | None) -> NDArray[np.bool_]:
        """Return the agent's keep mask; see `pcrl_gym.demo.compressing.DemoAgent.keep`."""
        if rate != self._rate:
            settings = {} if rate is None else {"rate": rate}
            self._agent, self._rate = make_agent(self._spec, seed=0, **settings), rate
        episodes = LazyEpisodes([episode.prompt], self._builder)
        task = dataclasses.replace(self._task, episodes=episodes)
        if self._asks:
            self._agent.attach(task)
        observation = task.observe(episode, np.ones(len(episode), np.bool_))
        info = task.info(episode, observation)
        mask = self._agent.act(stack_observations([observation]), [info])[0]
        return np.asarray(mask, dtype=np.bool_)


def demo_agents(specs: Sequence[str], generator: Generator) -> list[EnvironmentAgent]:
    """Return agents for the page; see `EnvironmentAgent`."""
    return [EnvironmentAgent(spec, generator) for spec in specs]
