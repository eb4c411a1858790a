"""The training loop of the PPO agent: MaskablePPO, one roll-out and update after the other."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from gymnasium.vector import VectorEnv
from sb3_contrib import MaskablePPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import Logger
from tqdm.auto import tqdm

from agents.budget import Budget
from agents.sb3_policy import KeepPolicy
from agents.vec_adapter import SB3VecEnv

if TYPE_CHECKING:
    import torch

    from pcrl_gym.network import KeepNetwork
    from agents.ppo import PPOConfig

REPORTED_INFOS = ("similarity", "compression_ratio", "drop_rate")


class EntropySteering(BaseCallback):
    """Steers `model.ent_coef` so that the joint entropy of the policy follows a falling line.

    After each roll-out the entropy is estimated as minus the mean log-probability of the drawn
    masks, and the coefficient is multiplied by `exp(gain * (target - entropy) / first entropy)`.

    Args:
        used: Tells how much of the training is over, 0 to 1.
        final_share: Target at the end as a share of the entropy of the first roll-out.
        gain: How fast the coefficient follows; 1 multiplies it by e when the entropy is gone.
        lowest: Lower bound of the coefficient, which is also its start unless the model's is
            higher.
        highest: Upper bound of the coefficient.
    """

    def __init__(
        self,
        used: Callable[[], float],
        final_share: float,
        gain: float = 1.0,
        lowest: float = 1e-4,
        highest: float = 0.03,
    ) -> None:
        super().__init__()
        self.used = used
        self.final_share = final_share
        self.gain = gain
        self.lowest = lowest
        self.highest = highest
        self.first_entropy: float | None = None
        self.entropy = math.nan

    def _on_step(self) -> bool:
        return True

    def _on_rollout_end(self) -> None:
        self.entropy = -float(self.model.rollout_buffer.log_probs.mean())
        if self.first_entropy is None:
            # A prompt without a droppable unit has no entropy, and a batch of such prompts none at
            # all.
            self.first_entropy = max(self.entropy, 1e-6)
        target = self.first_entropy * (1 - (1 - self.final_share) * self.used())
        step = self.gain * (target - self.entropy) / self.first_entropy
        self.model.ent_coef = min(
            self.highest, max(self.lowest, self.model.ent_coef * math.exp(step))
        )


class RolloutMeans(BaseCallback):
    """Collects the means of reward and reward terms over the episodes that end in a roll-out."""

    def __init__(self) -> None:
        super().__init__()
        self._values: dict[str, list[float]] = {}
        self.episodes = 0

    def _on_rollout_start(self) -> None:
        self._values = {}
        self.episodes = 0

    def _on_step(self) -> bool:
        done = self.locals["dones"]
        self.episodes += int(done.sum())
        if done.any():
            self._values.setdefault("reward", []).extend(self.locals["rewards"][done].tolist())
        for info in (self.locals["infos"][i] for i in np.flatnonzero(done)):
            for key in REPORTED_INFOS:
                if key in info:
                    self._values.setdefault(key, []).append(float(info[key]))
        return True

    def means(self) -> dict[str, float]:
        """Return the means of the last roll-out; NaN only where an info was NaN."""
        return {key: float(np.mean(values)) for key, values in self._values.items()}


def build_model(
    env: VectorEnv,
    network: KeepNetwork,
    config: PPOConfig,
    seed: int,
    device: torch.device,
    budget: Budget,
) -> MaskablePPO:
    """Return a MaskablePPO that trains the network in place on the vector environment.

    Its global seeding is the caller's to undo, see `agents.seeding`.
    """
    model = MaskablePPO(
        KeepPolicy,
        SB3VecEnv(env),
        learning_rate=lambda _: config.learning_rate * (1 - 0.9 * budget.used),
        n_steps=config.n_steps,
        batch_size=config.batch_size,
        n_epochs=config.n_epochs,
        gamma=1.0,
        gae_lambda=1.0,
        clip_range=config.clip_range,
        ent_coef=config.entropy_coefficient,
        vf_coef=config.value_coefficient,
        max_grad_norm=config.max_grad_norm,
        policy_kwargs={"network": network},
        seed=seed,
        device=device,
    )
    # Without a logger of its own Stable-Baselines3 makes a folder under /tmp for each `learn`.
    model.set_logger(Logger(folder=None, output_formats=[]))
    return model


def run_updates(
    model: MaskablePPO, budget: Budget, config: PPOConfig, progress: bool
) -> list[dict[str, float]]:
    """Roll out and update until the budget is used up; returns the figures of each update."""
    steering = EntropySteering(lambda: budget.used, config.final_entropy)
    means = RolloutMeans()
    history: list[dict[str, float]] = []
    with tqdm(total=100, desc="train ppo", unit="%", disable=not progress, bar_format=_BAR) as bar:
        while budget.used < 1.0:
            model.learn(
                model.n_envs * model.n_steps,
                callback=[means, steering],
                reset_num_timesteps=not history,
            )
            budget.add(means.episodes)
            history.append(
                {
                    "episodes": budget.episodes_done,
                    "seconds": budget.seconds_done,
                    **means.means(),
                    "entropy": steering.entropy,
                    "entropy_coefficient": model.ent_coef,
                }
            )
            _show(bar, budget, history[-1])
    return history


_BAR = "{desc}: {percentage:3.0f}%|{bar}| {elapsed}<{remaining}{postfix}"


def _show(bar: Any, budget: Budget, figures: dict[str, float]) -> None:
    shown = {
        "episodes": str(int(figures["episodes"])),
        **{
            label: f"{figures[key]:.3f}"
            for key, label in (("reward", "reward"), ("compression_ratio", "ratio"))
            if key in figures
        },
        "entropy": f"{figures['entropy']:.2f}",
    }
    bar.set_postfix(shown, refresh=False)
    bar.update(100 * budget.used - bar.n)
