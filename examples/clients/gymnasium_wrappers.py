"""Gymnasium's wrappers on the single and the vector environment: statistics, limits, video.

Run it with `python examples/clients/gymnasium_wrappers.py`; it needs
`pip install 'pcrl-gym[render,video]'`. The videos are written to `videos/` in the current folder.
"""

from __future__ import annotations

from pathlib import Path

import gymnasium as gym
from gymnasium import wrappers

from pcrl_gym.envs.wrappers import KeepLogits, VectorAutoreset, VectorKeepLogits

ID = "pcrl_gym:PromptCompression-v0"

# Statistics and a video of the first episode: the prompt, and what the step has made of it.
env = gym.make(ID, render_mode="rgb_array")
env = wrappers.RecordEpisodeStatistics(env)
env = wrappers.RecordVideo(env, "videos/single", episode_trigger=lambda i: i == 0)
_, info = env.reset(seed=0)
env.action_space.seed(0)
for _ in range(3):
    action = env.action_space.sample(mask=info["action_mask"])
    _, _, _, _, info = env.step(action)
    print("single: return", info["episode"]["r"], "after", info["episode"]["l"], "step")
    _, info = env.reset()
env.close()

# An episode of three steps that TimeLimit cuts after two. The reward comes with the last step, so
# this one earns nothing. The wrappers around it make the observation one vector, and the action one
# number per unit, which is kept if its number is above 0.
env = gym.make(ID, max_steps=3)
env = KeepLogits(wrappers.FlattenObservation(wrappers.TimeLimit(env, max_episode_steps=2)))
observation, _ = env.reset(seed=0)
env.action_space.seed(0)
terminated = truncated = False
while not (terminated or truncated):
    observation, reward, terminated, truncated, _ = env.step(env.action_space.sample())
print("time limit:", observation.shape, "terminated", terminated, "truncated", truncated)
env.close()

# Vector wrappers. Some refuse an environment that resets within the step that ends the episodes,
# and videos of one lack the last picture: with VectorAutoreset it resets in the step after.
envs = gym.make_vec(ID, num_envs=4, render_mode="rgb_array")
envs = VectorAutoreset(envs)
envs = wrappers.vector.RecordEpisodeStatistics(envs)
envs = wrappers.vector.RecordVideo(envs, "videos/vector", episode_trigger=lambda i: i == 0)
envs = wrappers.vector.FlattenObservation(envs)
envs = wrappers.vector.ClipReward(envs, min_reward=0.0)
envs = VectorKeepLogits(envs)
observations, infos = envs.reset(seed=0)
envs.action_space.seed(0)
for _ in range(4):  # two episodes, each with a step that resets
    observations, rewards, _, _, infos = envs.step(envs.action_space.sample())
    if "episode" in infos:
        print("vector:", observations.shape, "returns", infos["episode"]["r"], "rewards", rewards)
envs.close()

print("videos:", *sorted(path.as_posix() for path in Path("videos").rglob("*.mp4")))
