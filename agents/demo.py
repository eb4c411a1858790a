"""Agents of this package on the demo page."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from agents.base import agent_class, is_trainable, make_agent, optional, parse_agent
from agents.surprisal import MICRO_PROMPTS, SurprisalRanker, ranks_units
from pcrl_gym.envs.task import Task
from pcrl_gym.episodes.episode import Episode, EpisodeBuilder
from pcrl_gym.episodes.lazy_episodes import LazyEpisodes
from pcrl_gym.episodes.tokenizers import load_tokenizer
from pcrl_gym.generators.base import Generator
from pcrl_gym.micro import MICRO
from pcrl_gym.prompts.prompt import Prompt
from pcrl_gym.prompts.template import AlpacaTemplate
from pcrl_gym.scoring.rewards import ThresholdReward
from pcrl_gym.scoring.scorer import Scorer

DEFAULT = ("stopwords", "self_information", "perplexity", "random", "truncation", "search")
"""Agents that need no training; the second and third only if they can rank units, see below."""


class EnvironmentAgent:
    """Adapter that lets an environment agent compress prompts on the demo page.

    The agent acts on the tokens of the environment's default task with the given generator.
    """

    def __init__(self, spec: str, generator: Generator) -> None:
        self.takes_rate = "rate" in inspect.signature(agent_class(parse_agent(spec)[0])).parameters
        self._spec = spec
        self._rate: float | None = None
        self._agent = make_agent(spec, seed=0)
        if is_trainable(type(self._agent)):
            raise ValueError(
                f"agent {spec!r} has to be trained: make a policy of the run with `python -m "
                "agents export RUN FOLDER`, and give it as --model FOLDER"
            )
        mark = " (sees the answers)" if optional(self._agent, "oracle") else ""
        self.name = self._agent.name + mark
        tokenizer = load_tokenizer("micro" if generator.tokenizer is None else generator.tokenizer)
        self._task = Task(
            episodes=LazyEpisodes([], EpisodeBuilder(tokenizer, AlpacaTemplate())),
            scorer=Scorer(generator, ThresholdReward()),
            tokenizer=tokenizer,
            max_units=128,
            max_steps=1,
            skipped_prompts=(),
        )
        optional(self._agent, "attach")(self._task)

    def episode(self, prompt: Prompt) -> Episode:
        """Tokenize a prompt; see `pcrl_gym.demo.compressing.DemoAgent.episode`."""
        return self._task.episodes.builder([prompt])[0]

    def keep(self, episode: Episode, rate: float | None) -> tuple[NDArray[np.bool_], bool | None]:
        """Return the keep mask, and None, as nobody knows what these agents were made for.

        See `pcrl_gym.demo.compressing.DemoAgent.keep`.
        """
        if rate != self._rate:
            settings = {} if rate is None else {"rate": rate}
            self._agent, self._rate = make_agent(self._spec, seed=0, **settings), rate
        episodes = LazyEpisodes([episode.prompt], self._task.episodes.builder)
        task = replace(self._task, episodes=episodes)
        optional(self._agent, "attach")(task)
        mask = self._agent.act(*task.begin([episode]))[0]
        return np.asarray(mask, dtype=np.bool_), None


def demo_agents(specs: Sequence[str] | None, generator: Generator) -> list[EnvironmentAgent]:
    """Return agents for the page; None selects those of `DEFAULT`.

    For micro's generators, which only model answers, units are ranked by a model of micro's
    prompts, otherwise by the generator if it can.
    """
    if specs is not None:
        return [EnvironmentAgent(spec, generator) for spec in specs]
    agents = []
    for spec in DEFAULT:
        if issubclass(agent_class(spec), SurprisalRanker):
            if generator.name in MICRO:
                spec += f":model={MICRO_PROMPTS}"
            elif not ranks_units(generator):
                continue
        agents.append(EnvironmentAgent(spec, generator))
    return agents
