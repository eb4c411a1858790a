"""Settings of the trainable agents, in addition to those of their network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pydantic import NonNegativeFloat, PositiveFloat, PositiveInt

from agents.network_agent import NetworkConfig, Share


@dataclass(frozen=True)
class PPOConfig(NetworkConfig):
    """Settings of `PPOAgent`, in addition to those of its network.

    Attributes:
        num_envs: Number of parallel environments, i.e. of prompts scored in one batch.
        n_steps: Steps of each environment between two updates.
        batch_size: Prompts per gradient step.
        n_epochs: Passes over the collected prompts per update.
        lr: Initial learning rate of Adam; it decays linearly to a tenth.
        clip_range: PPO clip range: how far the probability of a mask may change in one update
            before its gradient is clipped.
        value_coefficient: Weight of the value loss.
        max_grad_norm: Maximum norm for gradient clipping.
        final_entropy: Target joint entropy at the end of training, as a share of that of the first
            rollout; the target falls linearly from 1. None keeps the coefficient fixed.
        entropy_coefficient: Initial weight of the entropy bonus, before it is steered.

    Raises:
        ValueError: If a number is out of range, the last batch of an update would hold a single
            prompt, or `whole_words` is set.
    """

    num_envs: PositiveInt = 256
    n_steps: PositiveInt = 1
    batch_size: PositiveInt = 128
    n_epochs: PositiveInt = 2
    lr: PositiveFloat = 1e-3
    clip_range: PositiveFloat = 0.2
    value_coefficient: NonNegativeFloat = 0.5
    max_grad_norm: PositiveFloat = 0.5
    final_entropy: Share | None = 0.1
    entropy_coefficient: NonNegativeFloat = 1e-3

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.whole_words:
            raise ValueError("ppo samples each unit separately: remove whole_words, or train scst")
        if (self.num_envs * self.n_steps - 1) % self.batch_size == 0:
            raise ValueError(
                f"num_envs={self.num_envs} times n_steps={self.n_steps} leaves a batch of one "
                f"prompt with batch_size={self.batch_size}, but advantages are normalized per "
                "batch: choose another batch_size or num_envs"
            )


@dataclass(frozen=True)
class AdamWConfig(NetworkConfig):
    """Settings of agents that are trained with AdamW, in addition to those of their network.

    Attributes:
        lr: Initial learning rate of AdamW; it decays linearly, see `final_lr`.
        final_lr: Final learning rate as a share of `lr`.
        weight_decay: AdamW's weight decay.
        max_grad_norm: Maximum norm for gradient clipping.

    Raises:
        ValueError: If a number is out of range.
    """

    lr: PositiveFloat = 1e-3
    final_lr: Share = 0.1
    weight_decay: NonNegativeFloat = 1e-2
    max_grad_norm: PositiveFloat = 1.0


@dataclass(frozen=True)
class SCSTConfig(AdamWConfig):
    """Settings of `SCSTAgent`, in addition to those of its network and of AdamW.

    Attributes:
        batch_size: Prompts per update.
        samples: Number of masks sampled per prompt, k.
        baseline: Baseline for the reward of a mask: "greedy", the reward of the most likely mask,
            or "leave_one_out", the mean reward of the prompt's other samples (k of at least 2).
        entropy_coefficient: Weight of the joint entropy (nats per prompt), or its initial value.
        final_entropy: Target entropy at the end of training, as a share of the first entropy. None
            disables steering.

    Raises:
        ValueError: If a number is out of range.
    """

    batch_size: PositiveInt = 32
    samples: PositiveInt = 8
    baseline: Literal["greedy", "leave_one_out"] = "leave_one_out"
    weight_decay: NonNegativeFloat = 1e-6
    max_grad_norm: PositiveFloat = 0.5
    entropy_coefficient: NonNegativeFloat = 1e-3
    final_entropy: Share | None = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.baseline == "leave_one_out" and self.samples < 2:
            raise ValueError("baseline 'leave_one_out' needs samples >= 2, got 1")


@dataclass(frozen=True)
class DiffMaskConfig(AdamWConfig):
    """Settings of `DiffMaskAgent`, in addition to those of its network and of AdamW.

    Attributes:
        batch_size: Prompts per update.
        budgeted: Share of prompts with a prescribed drop rate, from which the ranking of words is
            learned. From the others, the policy learns how many words to drop.
        max_rate: Maximum drop rate that is drawn for the budgeted prompts.
        ratio_weight: Reward for dropping all words of the other prompts, in nats per token of the
            original answer.
        temperature: Temperature of the relaxed masks; lower values bring them closer to 0 and 1.

    Raises:
        ValueError: If a number is out of range.
    """

    whole_words: bool = True
    batch_size: PositiveInt = 32
    budgeted: Share = 0.5
    max_rate: Share = 0.6
    ratio_weight: NonNegativeFloat = 0.5
    temperature: PositiveFloat = 0.5


@dataclass(frozen=True)
class DistillConfig(AdamWConfig):
    """Settings of `DistillAgent`, in addition to those of its network and of AdamW.

    Attributes:
        teacher: Source of the word costs: "leave_one_out", the likelihood loss of dropping each
            word alone, or "integrated_gradients", which ranks words similarly on a different scale
            and takes a fifth of the time for prompts of 40 words. Anything else is an exported
            policy, usually a larger one, whose keep logits are learned directly, without querying
            the generator; see `Compressor.from_pretrained`.
        prompts: Number of training prompts; None uses all. The seed does not affect the selection.
        tolerance: Cost, in nats per token, above which a word is more likely kept than dropped.
        batch_size: Prompts per update.

    Raises:
        ValueError: If a number is out of range.
    """

    initial_keep: Share = 0.5
    whole_words: bool = True
    teacher: str = "leave_one_out"
    prompts: PositiveInt | None = None
    tolerance: PositiveFloat = 0.02
    batch_size: PositiveInt = 32
