"""Learner for self-critical sequence training."""

from __future__ import annotations

import numpy as np
import torch
from gymnasium.vector import VectorEnv

from agents.adamw_learner import AdamWLearner, prompts_of_update
from agents.entropy import EntropySteering
from agents.learner_configs import SCSTConfig
from agents.learning import Figures, check_finite
from agents.network_agent import tensors
from agents.seeding import update_seed
from agents.word_masks import WordMasks
from pcrl_gym.compressor.network import KeepNetwork, check_logits
from pcrl_gym.envs.spaces import flat_action_masks
from pcrl_gym.sb3.distribution import MaskedBernoulli


def advantages(rewards: np.ndarray, greedy: np.ndarray | None) -> np.ndarray:
    """Return the advantages of sampled masks, (batch, samples), over a baseline.

    The baseline is `greedy` (batch,), the rewards of the most likely masks (self-critical), or the
    mean of the prompt's other samples (leave-one-out; Kool et al. 2019, "Buy 4 REINFORCE Samples,
    Get a Baseline for Free!").

    Example:
        >>> advantages(np.array([[0.5, 0.0, 0.1]]), greedy=None)
        array([[ 0.45, -0.3 , -0.15]])
        >>> advantages(np.array([[0.5, 0.0]]), greedy=np.array([0.4]))
        array([[ 0.1, -0.4]])
    """
    if greedy is not None:
        return rewards - greedy[:, None]
    others = (rewards.sum(1, keepdims=True) - rewards) / (rewards.shape[1] - 1)
    return rewards - others


class SCSTLearner(AdamWLearner):
    """Trains a network by self-critical policy gradient; see `agents.learning.Learner`."""

    _config: SCSTConfig

    def __init__(self, env: VectorEnv, network: KeepNetwork, config: SCSTConfig, seed: int) -> None:
        super().__init__(env, network, config, seed, "scst scores several masks per prompt")
        self._steering = EntropySteering(config.entropy_coefficient, config.final_entropy)

    def update(self, used: float) -> Figures:
        """Sample and score masks for the next prompts, and take one gradient step."""
        config, task = self._config, self._task
        seed = update_seed(self._seed, self.updates)
        indices = prompts_of_update(self._seed, self.updates, config.batch_size, len(task.episodes))
        episodes = task.episodes.take(indices)
        observations, infos = task.begin(episodes)
        logits, _ = self.network(*tensors(observations, self._device))
        words = WordMasks(observations, infos) if config.whole_words else None
        logits = check_logits(logits) if words is None else words.pooled(check_logits(logits))
        policy = MaskedBernoulli().proba_distribution(logits)
        policy.apply_masking(flat_action_masks(observations) if words is None else words.allowed)
        generator = torch.Generator(self._device).manual_seed(seed)
        probabilities = torch.sigmoid(policy.logits.detach())
        masks = torch.stack(
            [torch.bernoulli(probabilities, generator=generator) for _ in range(config.samples)]
        )
        asked = torch.cat([masks, policy.mode()[None]]) if config.baseline == "greedy" else masks
        keep = asked.bool().cpu().numpy()
        keep = keep if words is None else words.spread(keep)
        scores = task.scorer(episodes * len(keep), keep.reshape(-1, keep.shape[-1]))
        rewards = scores.reward.reshape(len(keep), -1)
        greedy = rewards[config.samples] if config.baseline == "greedy" else None
        gains = advantages(rewards[: config.samples].T, greedy).T
        advantage = torch.as_tensor(gains, dtype=torch.float32).to(self._device)

        log_probs = torch.stack([policy.log_prob(mask) for mask in masks])
        entropy = policy.entropy().mean()
        self._steering.update(float(entropy.detach()), used)
        loss = -(advantage * log_probs).mean() - self._steering.coefficient * entropy
        self._descend(loss, used)

        drawn = slice(0, config.samples * len(episodes))
        names = ("reward", "compression_ratio", "drop_rate")
        figures = {
            "episodes": float(len(scores)),
            **{name: float(getattr(scores, name)[drawn].mean()) for name in names},
            "entropy": float(entropy.detach()),
            "entropy_coefficient": self._steering.coefficient,
            "loss": float(loss.detach()),
        }
        if scores.answered:
            figures["survived"] = float(scores.survived[drawn].mean())
        check_finite(figures, self.network)
        return figures
