"""Differentiable masking: the policy learns from gradients through the frozen generator.

A sampled mask is relaxed to gates between 0 and 1 on the generator's attention to words. The
derivative of the original answer's log-likelihood then shows for every word whether a larger gate
would help: one forward and backward pass labels all words, given which other words the mask drops.
Follows De Cao et al. 2020, "How do Decisions Emerge across Layers in Neural Models? Interpretation
with Differentiable Masking" (arXiv 2004.14992); attention is gated as in
`pcrl_gym.generators.attribution`.
"""

from __future__ import annotations

from gymnasium.vector import VectorEnv

from agents.learner_configs import DiffMaskConfig
from agents.learning import Learner
from agents.network_agent import NetworkAgent
from pcrl_gym.compressor.network import KeepNetwork


class DiffMaskAgent(NetworkAgent):
    """Learns keep logits from gradients through a causal generator in this process.

    See `NetworkAgent` for arguments, budgets and determinism. An episode is one relaxed mask. The
    environment's reward is not used, as it has no gradient.
    """

    name = "diffmask"
    config_class = DiffMaskConfig

    def _learner(self, env: VectorEnv, network: KeepNetwork) -> Learner:
        from agents.diffmask_training import DiffMaskLearner

        return DiffMaskLearner(env, network, self.config, self.seed)
