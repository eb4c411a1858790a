"""What the demo page shows: agents, the generator, and one prompt compressed and answered."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from pcrl_gym.compressor.compressor import Compressor
from pcrl_gym.errors import PromptTooLongError
from pcrl_gym.generators.loading import load_generator
from pcrl_gym.prompts.prompt import Prompt
from pcrl_gym.rendering.frame import Frame
from pcrl_gym.scoring.rewards import ThresholdReward
from pcrl_gym.scoring.scorer import Scorer

if TYPE_CHECKING:
    from pcrl_gym.demo.query import Query
    from pcrl_gym.episodes.episode import Episode
    from pcrl_gym.generators.base import Generator


class DemoAgent(Protocol):
    """An agent as the page offers it."""

    @property
    def name(self) -> str:
        """What the page calls it."""

    @property
    def takes_rate(self) -> bool:
        """Whether visitors may choose how many units it drops."""

    def episode(self, prompt: Prompt) -> Episode:
        """Cut a prompt into the units that the agent decides about."""
        ...

    def keep(self, episode: Episode, rate: float | None) -> NDArray[np.bool_]:
        """Return the keep mask of an episode, as `Episode.kept` takes it.

        `rate` is the share of the droppable units to drop, in [0, 1]; None: as the agent decides.
        """
        ...


class PolicyAgent:
    """A trained policy on the page."""

    takes_rate = True

    def __init__(self, name: str, compressor: Compressor) -> None:
        self.name = name
        self._compressor = compressor

    @classmethod
    def load(cls, model: str | Path, *, device: str = "auto") -> PolicyAgent:
        """Return a saved compressor as an agent; see `Compressor.from_pretrained`."""
        # Visitors are not shown where a folder is on the server.
        name = Path(model).resolve().name if Path(model).is_dir() else str(model)
        return cls(f"policy {name}", Compressor.from_pretrained(model, device=device))

    def episode(self, prompt: Prompt) -> Episode:
        """Cut a prompt into units; see `DemoAgent.episode`."""
        return self._compressor.builder([prompt])[0]

    def keep(self, episode: Episode, rate: float | None) -> NDArray[np.bool_]:
        """Return the policy's keep mask; see `DemoAgent.keep`."""
        prompt = episode.prompt
        done = self._compressor(instruction=prompt.instruction, input=prompt.input, rate=rate)
        return np.array(done.kept, dtype=np.bool_)


class Demo:
    """Compresses prompts and has a generator answer them, before and after.

    Nothing is remembered from prompt to prompt. Calls must not overlap.

    Args:
        agents: What visitors choose from, at least one; the first is the default.
        generator: The model that answers, as `make_task` takes it.
        device: Where a generator that is loaded here runs.

    Raises:
        ValueError: If there is no agent, or two have the same name; as `load_generator` raises.
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
                "the demo needs at least one agent, and no two of the same name, got "
                f"{[agent.name for agent in agents]}"
            )
        self.generator = load_generator(generator, device=device)

    def agent(self, name: str) -> DemoAgent:
        """Return the agent of a name; the first one for an empty name.

        Raises:
            ValueError: If there is none; the message is for the visitor.
        """
        name = name or next(iter(self.agents))
        if name not in self.agents:
            raise ValueError(
                f"There is no agent {name!r:.80}; choose one of: {', '.join(self.agents)}"
            )
        return self.agents[name]

    def __call__(self, query: Query) -> Frame:
        """Return a prompt with what was kept, both full answers and the threshold reward's terms.

        Raises:
            ValueError: If there is no such agent.
            PromptTooLongError: If the prompt does not fit the generator's context.
            GeneratorError: If the generator fails.
        """
        agent = self.agent(query.agent)
        episode = agent.episode(Prompt("demo", query.instruction, query.input))
        # A new scorer: an old one would keep the answers to all prompts that it ever saw.
        scorer = Scorer(self.generator, ThresholdReward())
        limit = scorer.max_original_tokens
        if limit is not None and scorer.longer_than(limit, [episode.text])[0]:
            raise PromptTooLongError(
                f"This prompt is too long for the generator {self.generator.name!r}, which takes "
                f"{limit} tokens, the template's included: shorten it"
            )
        mask = agent.keep(episode, query.rate if agent.takes_rate else None)
        scores = scorer([episode], [mask])
        return Frame(episode, episode.kept(mask), scores.info(0), float(scores.reward[0]))
