"""Agent protocols, and lookup of agents by name."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from gymnasium.vector import VectorEnv

from pcrl_gym.compressor.selection import drop_highest as drop_highest
from pcrl_gym.errors import did_you_mean
from pcrl_gym.spec_strings import check_names, check_settings, find_object, parse_spec

Observations = Mapping[str, np.ndarray]
Infos = Sequence[Mapping[str, Any]]

AGENTS = {
    "random": "agents.random_agent:RandomAgent",
    "keep_all": "agents.keep_all:KeepAllAgent",
    "truncation": "agents.truncation:TruncationAgent",
    "stopwords": "agents.stopwords:StopWordAgent",
    "self_information": "agents.self_information:SelfInformationAgent",
    "perplexity": "agents.perplexity:PerplexityAgent",
    "policy": "agents.policy:PolicyAgent",
    "compressor": "agents.text_compressor:TextCompressorAgent",
    "recorded": "agents.recorded:RecordedAgent",
    "token_classifier": "agents.token_classifier:TokenClassifierAgent",
    "rewriting": "agents.rewriting:RewritingAgent",
    "leave_one_out": "agents.leave_one_out:LeaveOneOutAgent",
    "surrogate": "agents.surrogate:SurrogateAgent",
    "integrated_gradients": "agents.integrated_gradients:IntegratedGradientsAgent",
    "search": "agents.search:SearchAgent",
    "ppo": "agents.ppo:PPOAgent",
    "scst": "agents.scst:SCSTAgent",
    "diffmask": "agents.diffmask:DiffMaskAgent",
    "distill": "agents.distill:DistillAgent",
}
"""Agents of this package by name, as `module:Class`."""


@runtime_checkable
class Agent(Protocol):
    """Policy that decides which units of a prompt to keep.

    An agent may only read what is passed to `act`. In particular, it never queries the generator
    for answers, except through the attributes listed in `optional`.
    """

    name: str

    def act(self, observations: Observations, infos: Infos) -> np.ndarray:
        """Return keep masks for a batch of prompts.

        Args:
            observations: The environment's observations stacked along a first axis: `input_ids`
                int64, `attention_mask` int8 and `droppable` int8, each of shape (batch, max_units).
            infos: One mapping per prompt, as returned by `reset`, with at least `prompt` (rendered
                text), `spans` ((max_units, 2), character offsets of the units, padded with the
                length of the text), `instruction`, `input`, `prompt_id`.

        Returns:
            int8 array of shape (batch, max_units); 1 keeps the unit, 0 drops it.
        """
        ...


@runtime_checkable
class Rewriter(Protocol):
    """Agent that returns texts instead of keep masks; see `Scorer.score_texts`."""

    name: str

    def rewrite(self, texts: Sequence[str]) -> Sequence[str | None]:
        """Return a shorter text for each user text, or None where rewriting failed."""
        ...


@runtime_checkable
class TrainableAgent(Agent, Protocol):
    """Agent that learns from the environment and can be saved."""

    def train(
        self,
        make_env: Callable[[int], VectorEnv],
        *,
        episodes: int | None = None,
        seconds: float | None = None,
        progress: bool = True,
    ) -> list[dict[str, float]]:
        """Learn until the budget of episodes or of wall-clock seconds is used up.

        Args:
            make_env: Called once with the number of parallel environments the agent wants; returns
                a vector environment over the training prompts, which the agent closes.
            episodes: Budget in finished episodes.
            seconds: Budget in wall-clock seconds. At least one of the two budgets must be given;
                with both, training ends when the first is used up.
            progress: Whether to show a progress bar on stderr.

        Returns:
            Metrics of each update, oldest first. The learning curve shows those that contain
            `episodes`, the number of episodes so far.
        """
        ...

    def save(self, folder: str | Path) -> None:
        """Write everything `load` needs into a folder (safetensors and JSON, never a pickle)."""
        ...

    @classmethod
    def load(cls, folder: str | Path) -> TrainableAgent:
        """Return the agent stored in a folder by `save`."""
        ...


_OPTIONAL: Mapping[str, Any] = {
    "attach": lambda task: None,
    "oracle": False,
    "ranker": False,
    "rate": None,
    "config_class": None,
    "default_episodes": 16_384,
    "quick_episodes": 4_096,
}


def optional(agent: Any, name: str) -> Any:
    """Return an optional attribute of an agent or its class, or the default of that attribute.

    - `attach(task)` is called before `act` with the `pcrl_gym.Task` whose prompts are compressed,
      so that agents can rank units by the generator's probabilities or search with its answers.
    - `oracle`: whether it queries the generator for answers; tables mark it (default: false).
    - `ranker`: whether it ranks units by a language model, either its setting `model` or the
      generator itself (default: false).
    - `rate`: share of the droppable units to drop (default: None, the agent decides).
    - `config_class`: dataclass of the training settings, which the agent accepts and stores as
      `config` (default: None, the constructor's arguments are the settings).
    - `default_episodes`, `quick_episodes`: training budgets if none is given, for comparisons and
      for quick trials (default: 16,384 and 4,096).

    Raises:
        KeyError: If `name` is not one of these.

    Example:
        >>> optional(object(), "default_episodes"), optional(agent_class("search"), "oracle")
        (16384, True)
    """
    return getattr(agent, name, _OPTIONAL[name])


def is_trainable(cls: type) -> bool:
    """Return whether a class or object has the methods of `TrainableAgent`."""
    return all(callable(getattr(cls, name, None)) for name in ("train", "save", "load"))


def keep_masks(observations: Observations, drop: np.ndarray) -> np.ndarray:
    """Return keep masks that drop the given units where they are droppable.

    Args:
        observations: See `Agent.act`.
        drop: Bool array (batch, max_units), true where the agent wants to drop a unit.

    Returns:
        int8 array (batch, max_units): 1 for every kept unit, 0 for dropped units and for padding.

    Example:
        >>> observation = {
        ...     "attention_mask": np.array([[1, 1, 1, 0]]),
        ...     "droppable": np.array([[0, 1, 1, 0]]),
        ... }
        >>> keep_masks(observation, np.array([[True, True, False, False]]))
        array([[1, 0, 1, 0]], dtype=int8)
    """
    dropped = drop & observations["droppable"].astype(bool)
    return (observations["attention_mask"].astype(bool) & ~dropped).astype(np.int8)


def check_share(name: str, value: float) -> float:
    """Return the value if it lies in 0 to 1, else raise `ValueError` naming the argument."""
    if not 0.0 <= value <= 1.0:
        raise ValueError(f"{name} must be a share between 0 and 1, got {value!r}")
    return float(value)


def parse_agent(spec: str) -> tuple[str, dict[str, Any]]:
    """Split an agent spec into name and settings; see `pcrl_gym.spec_strings.parse_spec`.

    Example:
        >>> parse_agent("random:rate=0.2"), parse_agent("my_module:MyAgent")
        (('random', {'rate': 0.2}), ('my_module:MyAgent', {}))
    """
    return parse_spec(spec) if "=" in spec else (spec, {})


def agent_class(spec: str) -> type[Agent]:
    """Return the agent class for a name in `AGENTS` or for `module:Class`.

    Raises:
        ValueError: If there is no such name, module or class, or the class is not an agent.
    """
    module_name, colon, class_name = AGENTS.get(spec, spec).partition(":")
    if not colon or not module_name or not class_name:
        hint = did_you_mean(spec, list(AGENTS))
        raise ValueError(f"unknown agent {spec!r}{hint} (or module:Class)")
    cls = find_object(AGENTS.get(spec, spec), "agent")
    methods = ("act", "rewrite")
    if not isinstance(cls, type) or not any(callable(getattr(cls, m, None)) for m in methods):
        raise ValueError(
            f"agent {spec!r}: {module_name} has no class {class_name!r} with a method 'act' or "
            "'rewrite'"
        )
    return cls


def make_agent(spec: str, *, seed: int | None = None, **kwargs: Any) -> Agent:
    """Build an agent from a name or `module:Class`.

    Args:
        spec: A name in `AGENTS` or `module:Class`, optionally with settings: "random:rate=0.2".
        seed: Passed to the constructor if it takes a `seed`, otherwise ignored.
        **kwargs: Passed to the constructor.

    Raises:
        ValueError: If the agent cannot be found, its constructor has no such argument, or a setting
            has the wrong type.

    Example:
        >>> make_agent("random", seed=3, rate=0.2).name
        'random'
    """
    name, settings = parse_agent(spec)
    cls = agent_class(name)
    check_names(kwargs, cls, name)
    kwargs = check_settings(settings, cls, name) | kwargs
    if seed is not None and "seed" in inspect.signature(cls).parameters:
        kwargs["seed"] = seed
    return cls(**kwargs)
