"""Proximal policy optimization of keep masks with sb3-contrib's MaskablePPO.

Episodes have a single step, so discounting plays no role: the advantage of a mask is its reward
minus the value predicted for the prompt. Exploration needs more care: without a countermeasure, the
joint entropy of dozens of Bernoulli variables falls to zero within a few updates. The entropy
coefficient is therefore steered so that the entropy follows a linear schedule.
"""

from __future__ import annotations

from gymnasium.vector import VectorEnv

from agents.learner_configs import PPOConfig
from agents.learning import Learner
from agents.network_agent import NetworkAgent
from pcrl_gym.compressor.network import KeepNetwork
from pcrl_gym.errors import MissingExtraError


class PPOAgent(NetworkAgent):
    """Learns keep masks by PPO.

    See `NetworkAgent` for arguments, budgets and determinism.
    """

    name = "ppo"
    config_class = PPOConfig
    # Takes as long as SCST's default, as episodes are reused for several epochs. After half of
    # them, the policy still keeps every unit, so the quick budget is not smaller.
    default_episodes, quick_episodes = 6_144, 6_144

    def _learner(self, env: VectorEnv, network: KeepNetwork) -> Learner:
        try:
            from agents.ppo_training import PPOLearner
        except ModuleNotFoundError as error:
            raise MissingExtraError("training PPO needs: pip install -e '.[agents]'") from error
        return PPOLearner(env, network, self.config, self.seed)
