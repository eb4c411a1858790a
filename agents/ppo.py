"""Proximal policy optimisation on keep masks, with sb3-contrib's MaskablePPO.

Episodes of one step have no future, so discounting plays no role: the advantage of a mask is its
reward less the value predicted for the prompt. What needs care is exploration. The joint entropy of
some dozens of coins falls to zero within a few updates unless it is held up; here the entropy
coefficient is steered so that it follows a line.
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
    # As long as the default of SCST takes: its episodes are learned from in several epochs. After
    # half of them it still keeps every unit, so that the quick budget is no smaller.
    default_episodes, quick_episodes = 6_144, 6_144

    def _learner(self, env: VectorEnv, network: KeepNetwork) -> Learner:
        try:
            from agents.ppo_training import PPOLearner
        except ModuleNotFoundError as error:
            raise MissingExtraError("training PPO needs: pip install -e '.[agents]'") from error
        return PPOLearner(env, network, self.config, self.seed)
