"""A small agent that learns without a language model, and runs of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch

from agents.learning import (
    Figures,
    TrainingDivergedError,
    load_optimizer_tensors,
    optimizer_tensors,
)
from agents.network_agent import NetworkAgent, NetworkConfig, tensors
from agents.runs.config import RunConfig
from agents.runs.config_file import load_config
from agents.runs.folder import TrainingFolder
from agents.runs.material import Material
from agents.runs.run import train
from agents.seeding import update_seed
from keyword_env import KeywordVectorEnv, rewards_of


@dataclass(frozen=True)
class TinyConfig(NetworkConfig):
    hidden_size: int = 8
    num_layers: int = 1
    lr: float = 1e-2
    diverges_after: int | None = None


class TinyLearner:
    """REINFORCE with a schedule, so that a resumed run notices a wrong share of the budget."""

    def __init__(self, env, network, config: TinyConfig, seed: int) -> None:
        self.network, self.updates = network, 0
        self._env, self._config, self._seed = env, config, seed
        self._optimizer = torch.optim.Adam(network.parameters(), config.lr)

    def update(self, used: float) -> Figures:
        if self.updates == self._config.diverges_after:
            raise TrainingDivergedError("loss: no longer a finite number.")
        seed = update_seed(self._seed, self.updates)
        observations, _ = self._env.reset(seed=seed)
        logits, _ = self.network(*tensors(observations, torch.device("cpu")))
        coin = torch.distributions.Bernoulli(logits=logits)
        draws = np.random.default_rng(seed).random(logits.shape)
        masks = torch.as_tensor(draws) < coin.probs.detach()
        rewards = self._env.step(masks.numpy().astype(np.int8))[1]
        advantage = torch.as_tensor(rewards - rewards.mean(), dtype=torch.float32)
        for group in self._optimizer.param_groups:
            group["lr"] = self._config.lr * (1 - used)
        self._optimizer.zero_grad()
        (-(coin.log_prob(masks.float()).sum(1) * advantage).mean()).backward()
        self._optimizer.step()
        self.updates += 1
        return {
            "episodes": float(len(rewards)),
            "reward": float(rewards.mean()),
            "entropy": float(coin.entropy().detach().sum(1).mean()),
        }

    def state(self) -> dict[str, torch.Tensor]:
        return {"updates": torch.tensor(self.updates), **optimizer_tensors(self._optimizer)}

    def load_state(self, state: dict[str, torch.Tensor]) -> None:
        self.updates = int(state["updates"])
        load_optimizer_tensors(self._optimizer, state)

    def close(self) -> None:
        self._env.close()


class TinyAgent(NetworkAgent):
    name: ClassVar[str] = "tiny"
    config_class = TinyConfig

    @property
    def _num_envs(self) -> int:
        return 8

    def _learner(self, env, network) -> TinyLearner:
        return TinyLearner(env, network, self.config, self.seed)


TINY = "run_agents:TinyAgent"


def config(*settings: str, **changes: Any) -> RunConfig:
    """Return a short run of the small agent; later settings are stronger."""
    short = {
        "run.updates": 5,
        "run.checkpoint_every": 2,
        "run.evaluate_every": 2,
        "run.loggers": "[jsonl]",
        "task.device": "cpu",
    } | changes
    return load_config(TINY, None, [*(f"{k}={v}" for k, v in short.items()), *settings], seed=3)


def material(**changes: Any) -> Material:
    options = {
        "make_env": KeywordVectorEnv,
        "evaluate": lambda agent: {"reward": rewards_of(agent, episodes=50)},
        "identity": {"prompts": "keywords", "generator": "none"},
    }
    return Material(**(options | changes))


def run(path: Path, *settings: str, **changes: Any) -> TrainingFolder:
    return train(config(*settings), path, material=material(**changes), progress=False)


def weights(folder: Path) -> bytes:
    return (folder / "network.safetensors").read_bytes()


def figures(folder: TrainingFolder) -> list[dict[str, Any]]:
    """All rows, without what the clock says."""
    return [{k: v for k, v in row.items() if k != "seconds"} for row in folder.rows()]
