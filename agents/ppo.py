"""Proximal policy optimisation on keep masks, with sb3-contrib's MaskablePPO.

Episodes of one step have no future, so discounting plays no role: the advantage of a mask is its
reward less the value predicted for the prompt. What needs care is exploration. The joint entropy of
some dozens of coins falls to zero within a few updates unless it is held up; here the entropy
coefficient is steered so that it follows a line.
"""

from __future__ import annotations

from dataclasses import dataclass

from gymnasium.vector import VectorEnv

from agents.learning import Learner
from agents.network_agent import NetworkAgent, NetworkConfig
from pcrl_gym.compressor.network import KeepNetwork
from pcrl_gym.errors import MissingExtraError


@dataclass(frozen=True)
class PPOConfig(NetworkConfig):
    """Settings of `PPOAgent`, besides those of its network.

    Attributes:
        num_envs: Parallel environments, that is prompts scored in one batch.
        n_steps: Steps of all environments between two updates.
        batch_size: Prompts per gradient step.
        n_epochs: Passes over the collected prompts per update.
        lr: Adam's step size at the start; it falls linearly to a tenth.
        clip_range: How far the probability of a mask may move in one update before its gradient is
            cut off.
        value_coefficient: Weight of the value loss.
        max_grad_norm: Gradients are scaled down to this norm.
        final_entropy: Target of the joint entropy at the end of training, as a share of that of the
            first roll-out; the target falls linearly from 1. None: the coefficient is not steered.
        entropy_coefficient: Weight of the entropy at the start, before it is steered.

    Raises:
        ValueError: If a number of environments, steps or prompts is not positive, or the last
            batch of an update would hold one prompt.
    """

    num_envs: int = 256
    n_steps: int = 1
    batch_size: int = 128
    n_epochs: int = 2
    lr: float = 1e-3
    clip_range: float = 0.2
    value_coefficient: float = 0.5
    max_grad_norm: float = 0.5
    final_entropy: float | None = 0.1
    entropy_coefficient: float = 1e-3

    def __post_init__(self) -> None:
        super().__post_init__()
        if (self.num_envs * self.n_steps - 1) % self.batch_size == 0:
            raise ValueError(
                f"num_envs={self.num_envs} times n_steps={self.n_steps} leaves a batch of one "
                f"prompt with batch_size={self.batch_size}; advantages are divided by the standard "
                "deviation over their batch, so choose another batch_size or num_envs"
            )


class PPOAgent(NetworkAgent):
    """Learns keep masks by PPO; see `NetworkAgent` for arguments, budgets and determinism.

    Example:
        >>> agent = PPOAgent(seed=1, num_layers=3)
        >>> agent.train(
        ...     lambda n: gym.make_vec(
        ...         "pcrl_gym:PromptCompression-v0", num_envs=n, early_stopping=True
        ...     ),
        ...     episodes=32_768,
        ... )  # doctest: +SKIP
    """

    name = "ppo"
    config_class = PPOConfig

    @property
    def _num_envs(self) -> int:
        return self.config.num_envs

    def _learner(self, env: VectorEnv, network: KeepNetwork) -> Learner:
        try:
            from agents.ppo_training import PPOLearner
        except ModuleNotFoundError as error:
            raise MissingExtraError("training PPO needs: pip install -e '.[agents]'") from error
        return PPOLearner(env, network, self.config, self.seed)
