"""PPO with plain sb3-contrib on the native vector environment, for some seconds.

Run it with `python examples/train_ppo_sb3.py`; it needs `pip install -e '.[agents]'`. A few
updates show that it works, not how well: `agents/ppo.py` trains longer and holds the entropy up.
"""

from __future__ import annotations

import gymnasium as gym
import torch
from sb3_contrib import MaskablePPO
from stable_baselines3.common.vec_env import VecMonitor

from agents.sb3_policy import KeepPolicy
from agents.vec_adapter import SB3VecEnv
from pcrl_gym.compressor.network import KeepNetwork, small_encoder

NUM_ENVS = 64
UPDATES = 8

# One batched call of the generator per step, for all environments together.
envs = gym.make_vec(
    "pcrl_gym:PromptCompression-v0", num_envs=NUM_ENVS, split="train", early_stopping=True
)

# A keep logit per unit and a value per prompt, from a small encoder over the prompt's units.
torch.manual_seed(0)
vocabulary_size = int(envs.single_observation_space["input_ids"].high.max()) + 1
network = KeepNetwork(small_encoder(vocabulary_size, hidden_size=64, num_layers=2))

model = MaskablePPO(
    KeepPolicy,
    VecMonitor(SB3VecEnv(envs)),  # Stable-Baselines3 has a vector environment type of its own
    n_steps=2,
    batch_size=NUM_ENVS,
    n_epochs=2,
    learning_rate=1e-3,
    gamma=1.0,  # episodes have one step, so there is nothing to discount
    ent_coef=1e-3,
    policy_kwargs={"network": network},
    seed=0,
)
model.learn(total_timesteps=NUM_ENVS * 2 * UPDATES)
rewards = [episode["r"] for episode in model.ep_info_buffer]
print(f"mean reward of the last {len(rewards)} episodes: {sum(rewards) / len(rewards):.3f}")

# Deterministic masks for a batch of new prompts.
observations, infos = envs.reset(seed=1)
actions, _ = model.predict(observations, deterministic=True, action_masks=envs.action_masks())
_, rewards, _, _, infos = envs.step(actions)
best = rewards.argmax()
print("best of a batch:", round(float(rewards[best]), 3))
print(repr(infos["final_info"]["prompt"][best]))
print(repr(infos["final_info"]["compressed_prompt"][best]))
envs.close()
