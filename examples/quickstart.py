"""One episode of PromptCompression-v0 with the built-in default, printed.

Run it with `python examples/quickstart.py`. It needs no download and no GPU.
"""

from __future__ import annotations

import gymnasium as gym

env = gym.make("pcrl_gym:PromptCompression-v0", split="validation_seen", render_mode="ansi")

# An episode is one prompt. The observation holds its units as token ids, and which may be dropped.
observation, info = env.reset(seed=0)
print("units:    ", observation["attention_mask"].sum())
print("droppable:", observation["droppable"].sum())

# An action is a keep mask: 1 keeps a unit, 0 drops it. Here: keep all but the third droppable one.
action = observation["attention_mask"].copy()
action[observation["droppable"].nonzero()[0][2]] = 0
observation, reward, terminated, truncated, info = env.step(action)

# The generator has answered both prompts; the reward is the compression if the answer survived.
print(env.render())
print()
print("reward:", round(reward, 3))
print("similarity of the answers:", round(info["similarity"], 3))
print("info also holds:", ", ".join(sorted(info)))
env.close()
