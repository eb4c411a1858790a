"""RLlib's PPO for two iterations, on the new API stack with a custom module, on the CPU.

Run it with `python examples/clients/rllib_ppo.py`; it needs `pip install 'pcrl-gym[rllib]'`.
RLlib has no distribution for keep masks, so this file defines one. Its environment runners expect
next-step autoreset, which `VectorAutoreset` provides. No process is left running.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from typing import Any

# Read when Ray is imported: no usage reports, and a home folder to throw away, since Ray keeps its
# token and RLlib its results in there. Leave HOME out to have results in `~/ray_results`.
os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
os.environ["HOME"] = tempfile.mkdtemp(prefix="ray-")

import gymnasium as gym
import ray
import torch
from ray.rllib.algorithms.ppo import PPOConfig
from ray.rllib.core.columns import Columns
from ray.rllib.core.distribution.torch.torch_distribution import TorchDistribution
from ray.rllib.core.rl_module import RLModuleSpec
from ray.rllib.core.rl_module.apis import ValueFunctionAPI
from ray.rllib.core.rl_module.torch import TorchRLModule
from torch import Tensor
from torch.distributions import Bernoulli, Independent

from pcrl_gym.compressor.network import KeepNetwork, small_encoder
from pcrl_gym.envs.wrappers import VectorAutoreset

CERTAIN = 1e8  # logit of what has to stay


class KeepMasks(TorchDistribution):
    """Independent coins, one per unit: what RLlib lacks for MultiBinary actions."""

    def _get_torch_distribution(self, logits: Tensor) -> Independent:
        return Independent(Bernoulli(logits=logits), 1)

    @staticmethod
    def required_input_dim(space: gym.Space, **kwargs: Any) -> int:
        """Return the number of logits: one per unit."""
        return space.n

    def to_deterministic(self) -> KeepMasks:
        """Return the distribution that draws the likeliest mask."""
        likeliest = self._dist.base_dist.logits > 0
        return KeepMasks(torch.where(likeliest, CERTAIN, -CERTAIN))


class KeepModule(TorchRLModule, ValueFunctionAPI):
    """A keep logit per unit and a value per prompt."""

    def setup(self) -> None:
        """Make the network."""
        vocabulary_size = int(self.observation_space["input_ids"].high.max()) + 1
        self.network = KeepNetwork(small_encoder(vocabulary_size, hidden_size=64, num_layers=2))
        self.action_dist_cls = KeepMasks

    def _forward(self, batch: dict[str, Any], **kwargs: Any) -> dict[str, Tensor]:
        observation = batch[Columns.OBS]
        logits, _ = self.network(**observation)
        # Units without a choice are certain: they add 0 to log-probability and entropy.
        logits = logits.masked_fill(observation["droppable"] == 0, CERTAIN)
        return {Columns.ACTION_DIST_INPUTS: logits}

    def compute_values(self, batch: dict[str, Any], embeddings: Any = None) -> Tensor:
        """Return values (batch,)."""
        return self.network(**batch[Columns.OBS])[1]


def make_envs(context: dict[str, Any]) -> gym.vector.VectorEnv:
    """Make the vector environment of one environment runner."""
    envs = gym.make_vec("pcrl_gym:PromptCompression-v0", num_envs=context["num_envs"])
    return VectorAutoreset(envs)


def main() -> None:
    """Train for two iterations."""
    ray.init(num_cpus=1, include_dashboard=False, _temp_dir=os.environ["HOME"])
    ray.tune.register_env("prompt-compression", make_envs)
    config = (
        PPOConfig()
        .environment("prompt-compression")
        .env_runners(
            num_env_runners=0,  # in this process; more are processes of their own
            num_envs_per_env_runner=32,
            gym_env_vectorize_mode="vector_entry_point",
        )
        .rl_module(rl_module_spec=RLModuleSpec(module_class=KeepModule))
        .training(
            train_batch_size_per_learner=128,
            minibatch_size=64,
            num_epochs=2,
            lr=1e-3,
            gamma=1.0,
            use_kl_loss=False,
            entropy_coeff=1e-3,
        )
        .debugging(seed=0)
    )
    algorithm = config.build_algo()
    for _ in range(2):
        result = algorithm.train()
        runners = result["env_runners"]
        print(
            f"iteration {result['training_iteration']}: mean return of "
            f"{runners['num_episodes']:.0f} episodes {runners['episode_return_mean']:6.3f}"
        )
    algorithm.stop()


if __name__ == "__main__":
    try:
        main()
    finally:
        ray.shutdown()
        shutil.rmtree(os.environ["HOME"])
