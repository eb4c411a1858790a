"""Self-critical sequence training on keep masks, the algorithm of PCRL.

Per prompt, k masks are drawn and scored together with the greedy one, and the gradient of the
log-probability of each drawn mask is weighted by how much more it earned (Rennie et al. 2017, arXiv
1612.00563; PCRL: arXiv 2308.08758). The masks of a prompt share one pass through the network.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from gymnasium.vector import VectorEnv

from agents.learning import Learner
from agents.network_agent import NetworkAgent, NetworkConfig
from pcrl_gym.compressor.network import KeepNetwork


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

    batch_size: int = 32
    samples: int = 8
    baseline: Literal["greedy", "leave_one_out"] = "leave_one_out"
    lr: float = 1e-3
    final_lr: float = 0.1
    weight_decay: float = 1e-6
    max_grad_norm: float = 0.5
    entropy_coefficient: float = 1e-3
    final_entropy: float | None = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.baseline not in ("greedy", "leave_one_out"):
            raise ValueError(f"baseline must be 'greedy' or 'leave_one_out', got {self.baseline!r}")
        least = 2 if self.baseline == "leave_one_out" else 1
        if self.samples < least:
            raise ValueError(
                f"baseline {self.baseline!r} needs samples >= {least}, got {self.samples!r}"
            )


class SCSTAgent(NetworkAgent):
    """Learns keep masks by self-critical policy gradient; see `NetworkAgent`.

    The defaults are for micro; the settings that PCRL published for real models are in
    `gpt2-xl.yaml`, `flan-t5-xl.yaml` and `llama2-7b-chat.yaml` in `agents/configs`.

    Example:
        >>> agent = SCSTAgent(seed=1, samples=4, baseline="greedy")
        >>> agent.train(
        ...     lambda n: gym.make_vec(
        ...         "pcrl_gym:PromptCompression-v0", num_envs=n, early_stopping=True
        ...     ),
        ...     episodes=32_768,
        ... )  # doctest: +SKIP
    """

    name = "scst"
    config_class = SCSTConfig

    @property
    def _num_envs(self) -> int:
        return 1  # masks are scored by the task's scorer, several per prompt

    def _learner(self, env: VectorEnv, network: KeepNetwork) -> Learner:
        from agents.scst_training import SCSTLearner

        return SCSTLearner(env, network, self.config, self.seed)
