"""Tianshou's PPO with one keep logit and one independent Bernoulli variable per unit.

Run it with `python examples/clients/tianshou_ppo.py`; it needs `pip install 'pcrl-gym[tianshou]'`.
"""

from __future__ import annotations

import argparse
from typing import Any

import gymnasium as gym
import torch
from tianshou.algorithm import PPO
from tianshou.algorithm.modelfree.reinforce import ProbabilisticActorPolicy
from tianshou.algorithm.optim import AdamOptimizerFactory
from tianshou.data import Collector, VectorReplayBuffer
from tianshou.env import DummyVectorEnv
from tianshou.trainer import OnPolicyTrainerParams
from torch import Tensor, nn
from torch.distributions import Bernoulli, Independent

from pcrl_gym.compressor.network import KeepNetwork, pretrained_encoder
from pcrl_gym.generators.loading import load_generator

NUM_ENVS = 64
CERTAIN = 1e8  # log-odds of units that cannot be dropped


class Head(nn.Module):
    """A network as Tianshou's actor (keep logits and a state) or critic (values)."""

    def __init__(self, network: KeepNetwork, actor: bool) -> None:
        super().__init__()
        self.network, self.actor = network, actor

    def forward(self, obs: Any, state: Any = None, info: Any = None) -> Any:
        """Rate observations (batch, max_units)."""
        keys = ("input_ids", "attention_mask", "droppable")
        ids, present, droppable = (torch.as_tensor(obs[key]) for key in keys)
        logits, values = self.network(ids.long(), present, droppable)
        if self.actor:
            return logits.masked_fill(~droppable.bool(), CERTAIN), state
        return values.unsqueeze(1)


def coins(logits: Tensor) -> Independent:
    """Return the distribution of keep masks: one independent coin per unit."""
    return Independent(Bernoulli(logits=logits, validate_args=False), 1)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--episodes", type=int, default=256)
    episodes = parser.parse_args().episodes
    generator = load_generator("micro")  # one for all environments
    # Tianshou refuses NaN also in infos, so answers are not left unfinished by `early_stopping`.
    task = {"id": "pcrl_gym:PromptCompression-v0", "generator": generator}
    envs = DummyVectorEnv([lambda: gym.make(**task) for _ in range(NUM_ENVS)])
    envs.seed(0)
    torch.manual_seed(0)
    network = KeepNetwork(pretrained_encoder("micro-seq2seq"))
    policy = ProbabilisticActorPolicy(
        actor=Head(network, actor=True),
        dist_fn=coins,
        action_space=envs.action_space[0],
        action_scaling=False,
        action_bound_method=None,
    )
    ppo = PPO(
        policy=policy,
        critic=Head(network, actor=False),
        optim=AdamOptimizerFactory(lr=1e-3),
        ent_coef=1e-3,
        gamma=1.0,
    )
    collector = Collector(ppo, envs, VectorReplayBuffer(4 * NUM_ENVS, NUM_ENVS))
    training = OnPolicyTrainerParams(
        training_collector=collector,
        max_epochs=1,
        epoch_num_steps=episodes,
        collection_step_num_env_steps=4 * NUM_ENVS,
        batch_size=128,
        update_step_num_repetitions=2,
        show_progress=False,
        verbose=False,
    )
    ppo.run_training(training)
    rewards = collector.collect(n_episode=2 * NUM_ENVS).returns
    print(f"reward after {episodes} episodes: {rewards.mean():.3f}")
