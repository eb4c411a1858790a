"""Stable-Baselines3's PPO learns to compress prompts in about a minute on two cores.

Run it with `python examples/train_ppo_sb3.py`; it needs `pip install 'pcrl-gym[sb3]'`.
"""

from __future__ import annotations

import gymnasium as gym
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.vec_env import VecMonitor

from pcrl_gym.sb3 import KeepPolicy, SB3VecEnv

NUM_ENVS = 256
EPISODES = 5_120


class PrintReward(BaseCallback):
    """Prints the mean reward of the last 100 episodes now and then."""

    def _on_step(self) -> bool:
        return True

    def _on_rollout_end(self) -> None:
        if self.num_timesteps % (4 * NUM_ENVS) == 0:
            rewards = [episode["r"] for episode in self.model.ep_info_buffer]
            print(f"{self.num_timesteps:5} episodes, reward {sum(rewards) / len(rewards):.3f}")


# One batched call of the generator per step, for all environments together.
envs = gym.make_vec("pcrl_gym:PromptCompression-v0", num_envs=NUM_ENVS, early_stopping=True)
model = PPO(
    KeepPolicy,  # `MultiInputPolicy` would read token ids as numbers, and learn nothing
    VecMonitor(SB3VecEnv(envs)),  # Stable-Baselines3 has a vector environment type of its own
    n_steps=1,
    batch_size=128,
    n_epochs=2,
    learning_rate=1e-3,
    gamma=1.0,  # episodes have one step, so there is nothing to discount
    ent_coef=1e-3,
    policy_kwargs={"encoder": "micro-seq2seq"},  # knows the language of micro's prompts
    seed=0,
)
model.learn(EPISODES, callback=PrintReward())
envs.close()

# The learned policy on prompts that it has not seen.
test_envs = gym.make_vec(
    "pcrl_gym:PromptCompression-v0", num_envs=128, split="validation_seen", render_mode="ansi"
)
observations, _ = test_envs.reset(seed=0)
actions, _ = model.predict(observations, deterministic=True)
_, rewards, _, _, infos = test_envs.step(actions)
done = infos["final_info"]
print(
    f"new prompts: reward {rewards.mean():.3f}, {done['survived'].mean():.0%} of the answers "
    f"survive, {done['compression_ratio'].mean():.0%} fewer tokens"
)
print(test_envs.render()[int(rewards.argmax())])  # dropped units are struck through
test_envs.close()
