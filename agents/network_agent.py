"""Base class of all agents with a policy network: acting, saving, and starting training."""

from __future__ import annotations

import dataclasses
import json
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, TypeVar

import numpy as np
import torch
from gymnasium.vector import VectorEnv
from pydantic import Field, PositiveInt

from agents.base import Infos, Observations, check_share, drop_highest, keep_masks
from agents.budget import Budget
from agents.learning import Figures, Learner, run
from agents.seeding import isolated_random_state
from agents.word_masks import WordMasks
from pcrl_gym.compressor.network import (
    KeepNetwork,
    check_fits,
    check_logits,
    pretrained_encoder,
    small_encoder,
)
from pcrl_gym.compressor.selection import dropped_units, group_means
from pcrl_gym.episodes.tokenizers import load_tokenizer
from pcrl_gym.generators.pretrained import choose_device
from pcrl_gym.generators.torch_state import initial_settings, own_state
from pcrl_gym.spec_strings import check_fields, check_settings
from pcrl_gym.storage.atomic import write_file

SettingsT = TypeVar("SettingsT", bound="NetworkAgent")

Share = Annotated[float, Field(ge=0, le=1)]
"""A number from 0 to 1."""


@dataclass(frozen=True)
class NetworkConfig:
    """Settings of the policy network.

    Attributes:
        encoder: "small" for an untrained encoder (`hidden_size`, `num_layers`), or an argument of
            `compressor.network.pretrained_encoder`. Its token IDs must be those of the
            environment's policy tokenizer. "auto" selects "micro-seq2seq" if the policy tokenizer
            is micro's, else "small".
        start: Folder of a trained agent, such as `best` of a training run, or of an exported
            policy, whose network is the starting point of training. The other network settings do
            not apply then. None starts from a new head on the encoder.
        freeze_encoder: Whether to train only the head.
        head_size: Width of the keep head's hidden layer; None uses the width of the encoder.
        hidden_size: Width of the small encoder.
        num_layers: Layers of the small encoder.
        initial_keep: Probability that the untrained policy keeps a unit.
        whole_words: Whether words, numbers, and names are kept or dropped as a whole, by the mean
            logit of their units; see `pcrl_gym.episodes.groups`.

    Raises:
        ValueError: If a value has the wrong type or is out of range, or both `encoder` and `start`
            are set.
    """

    encoder: str = "auto"
    start: str | None = None
    freeze_encoder: bool = False
    head_size: PositiveInt | None = None
    hidden_size: PositiveInt = 64
    num_layers: PositiveInt = 2
    initial_keep: Share = 0.9
    whole_words: bool = False

    def __post_init__(self) -> None:
        check_fields(self, type(self).__name__)
        if self.start is not None and self.encoder != "auto":
            raise ValueError(
                f"start={self.start!r} already includes an encoder: set encoder=auto, got "
                f"encoder={self.encoder!r}"
            )


class NetworkAgent(ABC):
    """Keeps the units to which its network assigns a keep probability above one half.

    With a budget of updates or episodes, training gives the same weights for the same seed on the
    same machine. With a budget of seconds, the schedules follow the clock, so results depend on the
    machine's speed. The global state of torch, NumPy, and Python is left unchanged, and the
    caller's torch settings (autocast, default types, ...) have no effect.

    Args:
        seed: Seed for weights, masks, batches, and the order of prompts.
        device: "auto" (a GPU if there is one), or a torch device.
        config: Settings; individual ones may be passed by name in `**settings` instead.
        rate: Exact share of each prompt's droppable units to drop, 0 to 1, rounded down: those with
            the lowest keep probability. None lets the policy decide how many.
        **settings: Fields of `config_class` that override those of `config`.

    Raises:
        ValueError: If a setting does not exist or is out of range.

    Example:
        >>> agent = SCSTAgent(seed=1, samples=4, baseline="greedy")  # doctest: +SKIP
        >>> agent.train(
        ...     lambda n: gym.make_vec(
        ...         "pcrl_gym:PromptCompression-v0", num_envs=n, early_stopping=True
        ...     ),
        ...     episodes=32_768,
        ... )  # doctest: +SKIP
    """

    name: ClassVar[str]
    config_class: ClassVar[type[NetworkConfig]]

    def __init__(
        self,
        seed: int = 0,
        device: str = "auto",
        config: NetworkConfig | None = None,
        rate: float | None = None,
        **settings: Any,
    ) -> None:
        settings = check_settings(settings, self.config_class, self.name)
        if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
            raise ValueError(f"seed must be an integer >= 0, got {seed!r}")
        self.seed = seed
        self.rate = None if rate is None else check_share("rate", rate)
        self.device = torch.device(choose_device(device))
        self.config: Any = dataclasses.replace(config or self.config_class(), **settings)
        self.network: KeepNetwork | None = None

    def act(self, observations: Observations, infos: Infos) -> np.ndarray:
        """Return the most likely keep masks; see `agents.base.Agent.act`.

        Raises:
            RuntimeError: If the agent has been neither trained nor loaded.
        """
        if self.network is None:
            raise RuntimeError(
                f"the {self.name} agent is not trained yet: call train() or "
                f"{type(self).__name__}.load(folder)"
            )
        with own_state(self.network):
            logits, _ = self.network(*tensors(observations, self.device))
        scores = -check_logits(logits).cpu().numpy()
        if self.config.whole_words:
            drop = np.zeros(scores.shape, np.bool_)
            groups = WordMasks(observations, infos).groups
            for row, own, values in zip(drop, groups, -scores, strict=True):
                means = group_means(values[: len(own)].astype(np.float64), own)
                row[: len(own)] = dropped_units(means, own >= 0, self.rate, own)
            return keep_masks(observations, drop)
        if self.rate is None:
            return keep_masks(observations, scores >= 0)
        return keep_masks(observations, drop_highest(scores, observations["droppable"], self.rate))

    def train(
        self,
        make_env: Callable[[int], VectorEnv],
        *,
        episodes: int | None = None,
        seconds: float | None = None,
        progress: bool = True,
    ) -> list[Figures]:
        """Train the current weights until the budget is used up; see `agents.base.TrainableAgent`.

        Raises:
            ValueError: If there is no budget, or the encoder does not fit the environment.
            MissingExtraError: If a library required for training is not installed.
            TrainingDivergedError: If a metric is no longer finite.
        """
        budget = Budget(episodes, seconds)
        with initial_settings():
            learner = self.start(make_env)
            budget.restart()
            try:
                return run(learner, budget, name=self.name, progress=progress)
            finally:
                learner.close()
                learner.network.eval()

    def start(self, make_env: Callable[[int], VectorEnv]) -> Learner:
        """Return a learner that trains this agent's network in place and closes its environment."""
        env = make_env(getattr(self.config, "num_envs", 1))
        try:
            with isolated_random_state():
                torch.manual_seed(self.seed)
                self.network = (self.network or self._new_network(env)).to(self.device)
                return self._learner(env, self.network)
        except BaseException:
            env.close()
            raise

    @abstractmethod
    def _learner(self, env: VectorEnv, network: KeepNetwork) -> Learner:
        """Return the learner that trains the network in the environment."""

    def save(self, folder: str | Path) -> None:
        """Save the network and settings as safetensors and JSON, creating the folder if needed.

        Raises:
            RuntimeError: If there is nothing to save yet.
        """
        if self.network is None:
            raise RuntimeError(f"the {self.name} agent has nothing to save yet: call train() first")
        folder = Path(folder)
        self.network.save_pretrained(folder)
        config = dataclasses.asdict(self.config)
        settings = {"agent": self.name, "seed": self.seed, "config": config}
        write_file(folder / f"{self.name}.json", json.dumps(settings, indent=2) + "\n")

    @classmethod
    def load(
        cls: type[SettingsT], folder: str | Path, device: str = "auto", rate: float | None = None
    ) -> SettingsT:
        """Load an agent written by `save`; see the class for `device` and `rate`.

        Raises:
            ValueError: If the folder holds no saved agent of this kind.
        """
        path = Path(folder) / f"{cls.name}.json"
        if not path.is_file():
            raise ValueError(f"{folder} contains no saved {cls.name} agent: {path.name} is missing")
        settings = json.loads(path.read_text(encoding="utf-8"))
        agent = cls(seed=settings["seed"], device=device, rate=rate, **settings["config"])
        with isolated_random_state():  # weights are initialized before they are loaded
            agent.network = KeepNetwork.from_pretrained(folder).to(agent.device)
        return agent

    def _new_network(self, env: VectorEnv) -> KeepNetwork:
        config: NetworkConfig = self.config
        space = env.single_observation_space["input_ids"]
        name = config.encoder
        if config.start is not None:
            name = config.start
            network = KeepNetwork.from_pretrained(config.start)
            if network.freeze_encoder != config.freeze_encoder:
                raise ValueError(
                    f"the network in {config.start} was trained with freeze_encoder="
                    f"{network.freeze_encoder}: set the same value here"
                )
        else:
            if name == "auto":
                name = "micro-seq2seq" if _speaks_micro(env) else "small"
            network = KeepNetwork(
                small_encoder(int(space.high.max()) + 1, config.hidden_size, config.num_layers)
                if name == "small"
                else pretrained_encoder(name),
                config.initial_keep,
                head_size=config.head_size,
                freeze_encoder=config.freeze_encoder,
            )
        check_fits(network, space, name)
        return network


def tensors(observations: Observations, device: torch.device) -> tuple[torch.Tensor, ...]:
    """Return `input_ids`, `attention_mask` and `droppable` as tensors on a device."""
    keys = ("input_ids", "attention_mask", "droppable")
    return tuple(torch.as_tensor(observations[key], device=device) for key in keys)


def _speaks_micro(env: VectorEnv) -> bool:
    """Return whether the environment's policy tokenizer has the vocabulary of micro's."""
    task = getattr(env.unwrapped, "task", None)
    vocabulary = getattr(getattr(task, "tokenizer", None), "get_vocab", dict)()
    return vocabulary == load_tokenizer("micro").get_vocab()
