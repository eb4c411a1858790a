"""Compress a prompt with an agent and answer it with the generator, for the demo page."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from pcrl_gym.compressor.arguments import Protect
from pcrl_gym.compressor.compressor import Compressor
from pcrl_gym.demo.query import EXAMPLES, REAL_EXAMPLES
from pcrl_gym.errors import PromptTooLongError
from pcrl_gym.generators.loading import load_generator
from pcrl_gym.micro import MICRO
from pcrl_gym.prompts.prompt import Prompt
from pcrl_gym.rendering.frame import Frame
from pcrl_gym.scoring.rewards import ThresholdReward
from pcrl_gym.scoring.scorer import Scorer

if TYPE_CHECKING:
    from pcrl_gym.demo.query import Query
    from pcrl_gym.episodes.episode import Episode
    from pcrl_gym.generators.base import Generator


class DemoAgent(Protocol):
    """Interface of the agents on the page."""

    @property
    def name(self) -> str:
        """Name of the agent on the page."""

    @property
    def takes_rate(self) -> bool:
        """Whether visitors can choose how many units it drops."""

    def episode(self, prompt: Prompt) -> Episode:
        """Split a prompt into the units that the agent keeps or drops."""
        ...

    def keep(self, episode: Episode, rate: float | None) -> tuple[NDArray[np.bool_], bool | None]:
        """Return the keep mask of an episode, as for `Episode.kept`.

        It comes with whether the prompt is like those of the agent's training (None if unknown).
        `rate` is the share of the droppable units to drop, in [0, 1]. If None, the agent decides.
        """
        ...


class PolicyAgent:
    """A trained policy on the page."""

    takes_rate = True

    def __init__(
        self, name: str, compressor: Compressor, *, protect: Protect | None = None
    ) -> None:
        self.name = name
        self._compressor = compressor
        self._protect = protect

    @classmethod
    def load(cls, model: str | Path, *, device: str = "auto") -> PolicyAgent:
        """Return a saved compressor as an agent; see `Compressor.from_pretrained`."""
        # Do not show visitors where a folder is on the server.
        name = Path(model).resolve().name if Path(model).is_dir() else str(model)
        return cls(f"policy {name}", Compressor.from_pretrained(model, device=device))

    def protecting(self) -> PolicyAgent:
        """Return the policy as an agent that never drops words such as "not" and "only"."""
        name = f"{self.name}, constraints protected"
        return PolicyAgent(name, self._compressor, protect="constraints")

    def episode(self, prompt: Prompt) -> Episode:
        """Split a prompt into units; see `DemoAgent.episode`."""
        return self._compressor.builder([prompt])[0]

    def keep(self, episode: Episode, rate: float | None) -> tuple[NDArray[np.bool_], bool | None]:
        """Return the policy's keep mask and `Compression.in_domain`; see `DemoAgent.keep`."""
        prompt = episode.prompt
        done = self._compressor(
            instruction=prompt.instruction, input=prompt.input, rate=rate, protect=self._protect
        )
        return np.array(done.kept, dtype=np.bool_), done.in_domain


class Demo:
    """Compresses prompts, and lets a generator answer the originals and the compressed ones.

    No state is kept between prompts. Calls must not overlap.

    Args:
        agents: The agents to choose from, at least one. The first is the default.
        generator: The model that answers, as in `make_task`.
        device: Device for a generator that is loaded here.

    Raises:
        ValueError: If there is no agent, two have the same name, or `load_generator` raises it.
    """

    def __init__(
        self,
        agents: Sequence[DemoAgent],
        generator: str | Path | Generator = "micro",
        *,
        device: str = "auto",
    ) -> None:
        self.agents = {agent.name: agent for agent in agents}
        if not agents or len(self.agents) < len(agents):
            raise ValueError(
                "the demo needs at least one agent, and their names must be unique, got "
                f"{[agent.name for agent in agents]}"
            )
        self.generator = load_generator(generator, device=device)
        self.examples = EXAMPLES if self.generator.name in MICRO else REAL_EXAMPLES

    def agent(self, name: str) -> DemoAgent:
        """Return the agent with a name, or the first one if the name is empty.

        Raises:
            ValueError: If there is no such agent. The message is shown to the visitor.
        """
        name = name or next(iter(self.agents))
        if name not in self.agents:
            raise ValueError(
                f"There is no agent {name!r:.80}; choose one of: {', '.join(self.agents)}"
            )
        return self.agents[name]

    def __call__(self, query: Query) -> dict[str, tuple[Frame, bool | None]]:
        """Compress and answer a prompt with the one or two agents of a query.

        Returns:
            Per name of an agent, a frame with the keep mask, both full answers, and the threshold
            reward's terms, and whether the prompt is like those of the agent's training (None if
            unknown).

        Raises:
            ValueError: If there is no such agent.
            PromptTooLongError: If the prompt does not fit the generator's context.
            GeneratorError: If the generator fails.
        """
        # A new scorer, as an old one would remember the answers to all earlier prompts.
        scorer = Scorer(self.generator, ThresholdReward())
        first = self.agent(query.agent)
        chosen = dict.fromkeys([first.name, self.agent(query.other or first.name).name])
        return {name: self._shown(self.agents[name], query, scorer) for name in chosen}

    def _shown(self, agent: DemoAgent, query: Query, scorer: Scorer) -> tuple[Frame, bool | None]:
        episode = agent.episode(Prompt("demo", query.instruction, query.input))
        limit = scorer.max_original_tokens
        if limit is not None and scorer.longer_than(limit, [episode.text])[0]:
            raise PromptTooLongError(
                f"This prompt is too long for the generator {self.generator.name!r}, which takes "
                f"at most {limit} tokens, including those of the template: shorten it"
            )
        mask, in_domain = agent.keep(episode, query.rate if agent.takes_rate else None)
        scores = scorer([episode], [mask])
        frame = Frame(episode, episode.kept(mask), scores.info(0), float(scores.reward[0]))
        return frame, in_domain
