"""Proximal policy optimisation on keep masks, with sb3-contrib's MaskablePPO.

Episodes of one step have no future, so discounting plays no role: the advantage of a mask is its
reward less the value predicted for the prompt. What needs care is exploration. The joint entropy of
some dozens of coins falls to zero within a few updates unless it is held up; here the entropy
coefficient is steered so that it follows a line.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gymnasium.vector import VectorEnv

from agents.base import Infos, Observations
from agents.budget import Budget
from pcrl_gym.network import KeepNetwork, pretrained_encoder, small_encoder
from agents.seeding import isolated_random_state
from pcrl_gym.errors import MissingExtraError

SETTINGS_FILE = "ppo.json"


@dataclass(frozen=True)
class PPOConfig:
    """Settings of `PPOAgent`.

    A pretrained `encoder` wants a smaller `learning_rate` than the untrained one that the defaults
    are for.

    Attributes:
        encoder: "small" for an untrained one (`hidden_size`, `num_layers`), or what
            `pretrained_encoder` takes; its token ids must be those of the environment's policy
            tokenizer.
        hidden_size: Width of the small encoder.
        num_layers: Layers of the small encoder.
        initial_keep: Probability with which the untrained policy keeps a unit.
        num_envs: Parallel environments, that is prompts scored in one batch.
        n_steps: Steps of all environments between two updates.
        batch_size: Prompts per gradient step.
        n_epochs: Passes over the collected prompts per update.
        learning_rate: Adam's step size at the start; it falls linearly to a tenth.
        clip_range: How far the probability of a mask may move in one update before its gradient is
            cut off.
        value_coefficient: Weight of the value loss.
        max_grad_norm: Gradients are scaled down to this norm.
        final_entropy: Target of the joint entropy at the end of training, as a share of that of the
            first roll-out; the target falls linearly from 1.
        entropy_coefficient: Weight of the entropy at the start, before it is steered.

    Raises:
        ValueError: If a number of environments, steps or prompts is not positive, or the last
            batch of an update would hold one prompt.
    """

    encoder: str = "small"
    hidden_size: int = 64
    num_layers: int = 2
    initial_keep: float = 0.9
    num_envs: int = 256
    n_steps: int = 1
    batch_size: int = 128
    n_epochs: int = 2
    learning_rate: float = 3e-3
    clip_range: float = 0.2
    value_coefficient: float = 0.5
    max_grad_norm: float = 0.5
    final_entropy: float = 0.1
    entropy_coefficient: float = 1e-3

    def __post_init__(self) -> None:
        for name in ("num_envs", "n_steps", "batch_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)!r}")
        if (self.num_envs * self.n_steps - 1) % self.batch_size == 0:
            raise ValueError(
                f"num_envs={self.num_envs} times n_steps={self.n_steps} leaves a batch of one "
                f"prompt with batch_size={self.batch_size}; advantages are divided by the standard "
                "deviation over their batch, so choose another batch_size or num_envs"
            )


class PPOAgent:
    """Learns keep masks by PPO and then keeps the units that are likelier kept than dropped.

    Training under a budget of episodes gives the same weights for the same seed on the same
    machine. Under a budget of seconds the schedules follow the clock, so the numbers depend on the
    machine's speed. No global state of torch, NumPy or Python is left changed.

    Args:
        seed: Seed of weights, masks, batches and the order of prompts.
        device: "auto" (a GPU if there is one), or a torch device.
        config: Settings; single ones may be given by name in `**settings` instead.
        **settings: Fields of `PPOConfig` that differ from `config`.

    Raises:
        ValueError: If a setting does not exist, or as in `PPOConfig`.

    Example:
        >>> agent = PPOAgent(seed=1, num_layers=3)
        >>> agent.train(
        ...     lambda n: gym.make_vec("pcrl_gym:PromptCompression-v0", num_envs=n), seconds=240
        ... )  # doctest: +SKIP
        >>> agent.save("runs/ppo")  # doctest: +SKIP
    """

    name = "ppo"

    def __init__(
        self,
        seed: int = 0,
        device: str = "auto",
        config: PPOConfig | None = None,
        **settings: Any,
    ) -> None:
        known = [field.name for field in dataclasses.fields(PPOConfig)]
        unknown = [name for name in settings if name not in known]
        if unknown:
            raise ValueError(f"unknown PPO setting {', '.join(unknown)}; known: {', '.join(known)}")
        self.seed = seed
        self.device = torch.device(
            ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device
        )
        self.config = dataclasses.replace(config or PPOConfig(), **settings)
        self.network: KeepNetwork | None = None

    def act(self, observations: Observations, infos: Infos) -> np.ndarray:
        """Return the likeliest keep masks; see `agents.base.Agent.act`.

        Raises:
            RuntimeError: If the agent has been neither trained nor loaded.
        """
        if self.network is None:
            raise RuntimeError(
                "the PPO agent knows nothing yet: call train() or PPOAgent.load(folder)"
            )
        ids, attended, droppable = (
            torch.as_tensor(observations[key], device=self.device)
            for key in ("input_ids", "attention_mask", "droppable")
        )
        with torch.inference_mode():
            logits, _ = self.network(ids, attended, droppable)
        keep = attended.bool() & ((logits > 0) | ~droppable.bool())
        return keep.cpu().numpy().astype(np.int8)

    def train(
        self,
        make_env: Callable[[int], VectorEnv],
        *,
        episodes: int | None = None,
        seconds: float | None = None,
        progress: bool = True,
    ) -> list[dict[str, float]]:
        """Learn until the budget is used up; see `agents.base.TrainableAgent.train`.

        An agent that has been trained or loaded before goes on from its weights.

        Returns:
            Per update: episodes and seconds so far, means of reward and, where infos have them, of
            similarity, compression_ratio and drop_rate over the roll-out, entropy (joint, nats per
            prompt) and entropy_coefficient.

        Raises:
            ValueError: If there is no budget, or the encoder does not know all token ids.
            MissingExtraError: If Stable-Baselines3 or sb3-contrib is not installed.
        """
        budget = Budget(episodes, seconds)
        try:
            from agents.ppo_training import build_model, run_updates
        except ModuleNotFoundError as error:
            raise MissingExtraError("training PPO needs: pip install -e '.[agents]'") from error
        env = make_env(self.config.num_envs)
        budget.restart()
        try:
            with isolated_random_state():
                torch.manual_seed(self.seed)
                self.network = self.network or self._new_network(env)
                model = build_model(env, self.network, self.config, self.seed, self.device, budget)
                return run_updates(model, budget, self.config, progress)
        finally:
            env.close()
            if self.network is not None:
                self.network.eval()

    def save(self, folder: str | Path) -> None:
        """Write the network and the settings as safetensors and JSON; the folder is made if needed.

        Raises:
            RuntimeError: If there is nothing to save yet.
        """
        if self.network is None:
            raise RuntimeError("the PPO agent has no weights to save yet: call train() first")
        folder = Path(folder)
        self.network.save_pretrained(folder)
        settings = {
            "agent": self.name,
            "seed": self.seed,
            "config": dataclasses.asdict(self.config),
        }
        (folder / SETTINGS_FILE).write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, folder: str | Path, device: str = "auto") -> PPOAgent:
        """Return the agent that `save` wrote.

        Args:
            folder: Where it was saved.
            device: "auto" (a GPU if there is one), or a torch device.

        Raises:
            ValueError: If the folder holds no saved PPO agent.
        """
        path = Path(folder) / SETTINGS_FILE
        if not path.is_file():
            raise ValueError(f"{folder} holds no saved PPO agent: {SETTINGS_FILE} is missing")
        settings = json.loads(path.read_text(encoding="utf-8"))
        agent = cls(seed=settings["seed"], device=device, **settings["config"])
        with isolated_random_state():  # weights are drawn before they are loaded
            agent.network = KeepNetwork.from_pretrained(folder).to(agent.device)
        return agent

    def _new_network(self, env: VectorEnv) -> KeepNetwork:
        config = self.config
        largest_id = int(env.single_observation_space["input_ids"].high.max())
        if config.encoder == "small":
            encoder = small_encoder(largest_id + 1, config.hidden_size, config.num_layers)
        else:
            encoder = pretrained_encoder(config.encoder)
        network = KeepNetwork(encoder, config.initial_keep)
        if network.vocabulary_size <= largest_id:
            raise ValueError(
                f"encoder {config.encoder!r} knows {network.vocabulary_size} token ids, but the "
                f"environment's policy tokenizer has {largest_id + 1}: make the environment "
                "with the encoder's tokenizer"
            )
        return network
