"""A custom generator: any model that turns text into text.

Run it with `python examples/custom_generator.py`. Here, the "model" adds up the numbers in the
text. Replace it with a call of your model. The environment uses only these members.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import gymnasium as gym

from pcrl_gym import Answer, Generator, GeneratorError, Prompt


class AddingGenerator(Generator):
    """Answers with the sum of all numbers in the prompt."""

    name = "adding"
    max_prompt_tokens = None  # no limit
    gives_likelihoods = False  # rewards that need them are then refused at once

    def generate(self, prompts: Sequence[str], max_new_tokens: int) -> list[Answer]:
        """Answer a batch of prompts, always with the same answer to the same prompt."""
        return [Answer(str(sum(map(int, re.findall(r"\d+", prompt))))) for prompt in prompts]

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Count what a user of this model pays for: words, in this one's case."""
        return [len(text.split()) for text in texts]

    def log_likelihood(self, prompts: Sequence[str], answers: Sequence[Answer]) -> list[float]:
        """Raise: this model gives no probabilities."""
        raise GeneratorError(f"generator {self.name!r} gives no probabilities")


prompt = Prompt(id="sum", instruction="Please add up what I spent on food", input="12, then 30")
env = gym.make(
    "pcrl_gym:PromptCompression-v0",
    dataset=[prompt],
    generator=AddingGenerator(),
    unit="word",
    force_keep=[re.compile(r"\d+")],
)
observation, info = env.reset(seed=0)
# Drop every word that may be dropped: force_keep saves the numbers.
action = observation["attention_mask"] - observation["droppable"]
observation, reward, terminated, truncated, info = env.step(action)
print(repr(info["prompt"]), "->", info["output"])
print(repr(info["compressed_prompt"]), "->", info["compressed_output"])
print("reward:", round(reward, 3))
env.close()
