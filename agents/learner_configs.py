"""Settings of the agents that learn, besides those of their network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pydantic import NonNegativeFloat, PositiveFloat, PositiveInt

from agents.network_agent import NetworkConfig, Share


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
        ValueError: If a number is out of range, the last batch of an update would hold one prompt,
            or whole words are asked for.
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
            raise ValueError("ppo draws a coin per unit: leave whole_words out, or train scst")
        if (self.num_envs * self.n_steps - 1) % self.batch_size == 0:
            raise ValueError(
                f"num_envs={self.num_envs} times n_steps={self.n_steps} leaves a batch of one "
                f"prompt with batch_size={self.batch_size}; advantages are divided by the standard "
                "deviation over their batch, so choose another batch_size or num_envs"
            )


@dataclass(frozen=True)
class SCSTConfig(NetworkConfig):
    """Settings of `SCSTAgent`, besides those of its network.

    Attributes:
        batch_size: Prompts per update.
        samples: Masks that are drawn per prompt, k.
        baseline: What a mask's reward is compared with: "greedy", the reward of the likeliest mask,
            or "leave_one_out", the mean reward of the prompt's other samples (k of at least 2).
        lr: Step size of AdamW at the start; with `final_lr` it falls linearly.
        final_lr: Step size at the end as a share of `lr`.
        weight_decay: AdamW's weight decay.
        max_grad_norm: Gradients are scaled down to this norm.
        entropy_coefficient: Weight of the joint entropy (nats per prompt), at the start if steered.
        final_entropy: Where the entropy is steered to, as a share of the first; None: not steered.

    Raises:
        ValueError: If a number is out of range.
    """

    batch_size: PositiveInt = 32
    samples: PositiveInt = 8
    baseline: Literal["greedy", "leave_one_out"] = "leave_one_out"
    lr: PositiveFloat = 1e-3
    final_lr: Share = 0.1
    weight_decay: NonNegativeFloat = 1e-6
    max_grad_norm: PositiveFloat = 0.5
    entropy_coefficient: NonNegativeFloat = 1e-3
    final_entropy: Share | None = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.baseline == "leave_one_out" and self.samples < 2:
            raise ValueError("baseline 'leave_one_out' needs samples >= 2, got 1")


@dataclass(frozen=True)
class DiffMaskConfig(NetworkConfig):
    """Settings of `DiffMaskAgent`, besides those of its network.

    Attributes:
        batch_size: Prompts per update.
        budgeted: Share of the prompts for which the share of words to drop is given, so that the
            order of the words is learned; for the others it is learned how many to drop.
        max_rate: Up to what share is drawn for them.
        ratio_weight: What dropping all words is worth for the others, in nats per token of the
            original answer.
        temperature: Of the relaxed masks; the lower, the nearer to 0 and 1 they are.
        lr: Step size of AdamW at the start; with `final_lr` it falls linearly.
        final_lr: Step size at the end as a share of `lr`.
        weight_decay: AdamW's weight decay.
        max_grad_norm: Gradients are scaled down to this norm.

    Raises:
        ValueError: If a number is out of range.
    """

    whole_words: bool = True
    batch_size: PositiveInt = 32
    budgeted: Share = 0.5
    max_rate: Share = 0.6
    ratio_weight: NonNegativeFloat = 0.5
    temperature: PositiveFloat = 0.5
    lr: PositiveFloat = 1e-3
    final_lr: Share = 0.1
    weight_decay: NonNegativeFloat = 1e-2
    max_grad_norm: PositiveFloat = 1.0


@dataclass(frozen=True)
class DistillConfig(NetworkConfig):
    """Settings of `DistillAgent`, besides those of its network.

    Attributes:
        teacher: What measures the costs of words: "leave_one_out", the likelihood loss of dropping
            each alone, or "integrated_gradients", which orders words much like it on another scale;
            for prompts of 40 words it takes a fifth of the time. Anything else is an exported
            policy, usually a larger one, whose keep logits are learned as they are, without asking
            the generator: see `Compressor.from_pretrained`.
        prompts: Number of prompts that are learned from; None: all. The seed does not change which
            ones.
        tolerance: Cost, in nats per token, above which a word is likelier kept.
        batch_size: Prompts per update.
        lr: Step size of AdamW at the start; with `final_lr` it falls linearly.
        final_lr: Step size at the end as a share of `lr`.
        weight_decay: AdamW's weight decay.
        max_grad_norm: Gradients are scaled down to this norm.

    Raises:
        ValueError: If a number is out of range.
    """

    initial_keep: Share = 0.5
    whole_words: bool = True
    teacher: str = "leave_one_out"
    prompts: PositiveInt | None = None
    tolerance: PositiveFloat = 0.02
    batch_size: PositiveInt = 32
    lr: PositiveFloat = 1e-3
    final_lr: Share = 0.1
    weight_decay: NonNegativeFloat = 1e-2
    max_grad_norm: PositiveFloat = 1.0
