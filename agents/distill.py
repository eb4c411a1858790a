"""Distillation of leave-one-out costs: a policy learns what each word costs.

`leave_one_out` asks the generator once per unit; here a network learns to predict what it finds
from the prompt alone. One such cost is a label per word, where a policy gradient gets one reward
for all words of a mask together.
"""

from __future__ import annotations

from gymnasium.vector import VectorEnv

from agents.learner_configs import DistillConfig
from agents.learning import Learner
from agents.network_agent import NetworkAgent
from pcrl_gym.compressor.network import KeepNetwork


class DistillAgent(NetworkAgent):
    """Learns keep logits from the costs that `agents.leave_one_out.group_costs` measures.

    See `NetworkAgent` for arguments, budgets and determinism. Episodes are masks of one dropped
    group each. They are measured when a prompt is first seen, so further passes over the prompts do
    not ask the generator. With a cache they stay on disk, and other trainings need not ask either.
    """

    name = "distill"
    config_class = DistillConfig

    def _learner(self, env: VectorEnv, network: KeepNetwork) -> Learner:
        from agents.distill_training import DistillLearner

        return DistillLearner(env, network, self.config, self.seed)
