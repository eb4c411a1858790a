"""Distillation: a policy learns what dropping each word does to the answer, or a larger policy.

`leave_one_out` and `integrated_gradients` ask the generator; here a network learns to predict what
they find from the prompt alone. Each cost is a label for one word, where a policy gradient gets one
reward for all words of a mask together. A policy as the teacher (Rusu et al. 2015, "Policy
Distillation", arXiv 1511.06295) gives a small network what a larger one has learned.
"""

from __future__ import annotations

from gymnasium.vector import VectorEnv

from agents.learner_configs import DistillConfig
from agents.learning import Learner
from agents.network_agent import NetworkAgent
from pcrl_gym.compressor.network import KeepNetwork


class DistillAgent(NetworkAgent):
    """Learns keep logits from the costs of words that its `teacher` measures, or from a policy's.

    See `NetworkAgent` for arguments, budgets and determinism. Episodes are the costs of single
    words. They are measured when a prompt is first seen, so further passes over the prompts do
    not ask the generator. With a cache they stay on disk, and other trainings need not ask either.
    """

    name = "distill"
    config_class = DistillConfig

    def _learner(self, env: VectorEnv, network: KeepNetwork) -> Learner:
        from agents.distill_training import DistillLearner

        return DistillLearner(env, network, self.config, self.seed)
