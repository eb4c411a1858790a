"""Self-critical sequence training on keep masks, the algorithm of PCRL.

For each prompt, k masks are sampled and scored (and the greedy one, if it is the baseline), and
the gradient of the log-probability of each sampled mask is weighted by its advantage (Rennie et al.
2017, arXiv 1612.00563; PCRL: arXiv 2308.08758). The masks of a prompt share one forward pass.
"""

from __future__ import annotations

from gymnasium.vector import VectorEnv

from agents.learner_configs import SCSTConfig
from agents.learning import Learner
from agents.network_agent import NetworkAgent
from pcrl_gym.compressor.network import KeepNetwork


class SCSTAgent(NetworkAgent):
    """Learns keep masks by self-critical policy gradient.

    See `NetworkAgent` for arguments, budgets and determinism. The defaults are for micro. PCRL's
    published settings for real models are in `gpt2-xl.yaml`, `flan-t5-xl.yaml` and
    `llama2-7b-chat.yaml` in `agents/configs`.
    """

    name = "scst"
    config_class = SCSTConfig
    default_episodes, quick_episodes = 32_768, 8_192

    def _learner(self, env: VectorEnv, network: KeepNetwork) -> Learner:
        from agents.scst_training import SCSTLearner

        return SCSTLearner(env, network, self.config, self.seed)
