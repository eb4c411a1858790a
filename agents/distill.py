"""Distillation: a policy learns the costs of dropping words, or imitates a larger policy.

`leave_one_out` and `integrated_gradients` query the generator; here, a network learns to predict
their costs from the prompt alone. Each cost is a label for one word, whereas a policy gradient gets
one reward for all words of a mask together. A policy as the teacher (Rusu et al. 2015, "Policy
Distillation", arXiv 1511.06295) transfers what a larger network has learned to a small one.
"""

from __future__ import annotations

from gymnasium.vector import VectorEnv

from agents.learner_configs import DistillConfig
from agents.learning import Learner
from agents.network_agent import NetworkAgent
from pcrl_gym.compressor.network import KeepNetwork


class DistillAgent(NetworkAgent):
    """Learns keep logits from word costs measured by its `teacher`, or from those of a policy.

    See `NetworkAgent` for arguments, budgets and determinism. Each episode is the cost of a single
    word. Costs are measured when a prompt is first seen, so further passes over the prompts do not
    query the generator. With a cache, they are stored on disk and shared by other training runs.
    """

    name = "distill"
    config_class = DistillConfig

    def _learner(self, env: VectorEnv, network: KeepNetwork) -> Learner:
        from agents.distill_training import DistillLearner

        return DistillLearner(env, network, self.config, self.seed)
