"""Differentiable masking: the policy learns from gradients through the frozen generator.

A drawn mask is relaxed to gates between 0 and 1, by which the generator attends to words, so that
the derivative of the original answer's log-likelihood tells for each word at once whether more of
it would help: one forward and backward pass is a label per word, in view of all other words that
the mask drops. After De Cao et al. 2020, "How do Decisions Emerge across Layers in Neural Models?
Interpretation with Differentiable Masking" (arXiv 2004.14992); gates of attention as in
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
