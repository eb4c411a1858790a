"""Measurement of the stages of an update: what each of its rewards costs."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.optim.optimizer import register_optimizer_step_pre_hook

from agents.scst import SCSTAgent
from agents.scst_training import prompts_of_update
from benchmarks.speed.cost import TimedGenerator, count_passes
from pcrl_gym.envs.vector_env import PromptCompressionVectorEnv
from pcrl_gym.prompts.prompt import Prompt
from pcrl_gym.prompts.template import AlpacaTemplate
from pcrl_gym.scoring.rouge import UNICODE_ROUGE_L

if TYPE_CHECKING:
    from pcrl_gym.generators.hf import HFGenerator

STAGES = ("tokenise", "policy", "generator", "similarity", "loop")
"""Stages of an update: prompts cut into units and compressed prompts counted; policy network, there
and back; compressed prompts answered; answers compared; masks drawn, observations and the rest."""

SAMPLES = 8  # masks per prompt, each of which is a reward
_INSTRUCTION = "Say which of these words come twice."


@dataclass(frozen=True)
class Case:
    """One measured update."""

    model: str
    rewards: int  # `SAMPLES` per prompt
    length: int  # generator tokens of an original prompt
    layers: int
    body: int  # parameters that work on every token the generator reads: all but the embeddings
    head: int  # parameters that work where a next token is wanted: width times vocabulary
    passes: int  # forward passes of the generator
    tokens: int  # that it read, padding included
    wanted: int  # positions at which it computed logits
    rows: int  # of all passes
    seconds: dict[str, float]  # per stage, of a processor: the fastest of the repeated updates

    @property
    def total(self) -> float:
        """Processor seconds of the update."""
        return sum(self.seconds.values())

    @property
    def prompts(self) -> int:
        """Prompts of the update."""
        return self.rewards // SAMPLES

    @property
    def flops(self) -> float:
        """Arithmetic of the generator: two operations per parameter and token."""
        return 2.0 * (self.body * self.tokens + self.head * self.wanted)


class Clocked:
    """Processor seconds of a `with` block, or of parts of it."""

    seconds = 0.0


@contextmanager
def clock() -> Iterator[Clocked]:
    """Time a block, up to its end."""
    clocked, began = Clocked(), time.process_time()
    yield clocked
    clocked.seconds = time.process_time() - began


@contextmanager
def network_clock(network: torch.nn.Module) -> Iterator[Clocked]:
    """Time a network on the CPU within a block, there and back.

    The way back begins with the gradient of its first output and ends before the optimizer's step.
    """
    clocked, began = Clocked(), 0.0

    def start(*_: Any) -> None:
        nonlocal began
        began = time.process_time()

    def stop(*_: Any) -> None:
        clocked.seconds += time.process_time() - began

    def turn(module: Any, arguments: Any, output: Any) -> None:
        stop()
        output[0].register_hook(start)

    with (
        network.register_forward_pre_hook(start),
        network.register_forward_hook(turn),
        register_optimizer_step_pre_hook(stop),
    ):
        yield clocked


def measure_case(
    generator: HFGenerator, words: Sequence[str], rewards: int, length: int, repeats: int
) -> Case:
    """Time updates of a self-critical learner that has not learned anything yet.

    Its masks keep nine units of ten. The original prompts are answered before the clock starts, as
    training meets them again and again. Every repetition has prompts of its own. The clock is that
    of the processor, so that other programs hardly disturb it, and torch computes with one thread.

    Args:
        generator: A causal generator.
        words: What prompts are made of.
        rewards: Rewards per update, a multiple of `SAMPLES`.
        length: Generator tokens per original prompt.
        repeats: How many updates; the figures are those of the fastest.
    """
    count = rewards // SAMPLES
    prompts = prompts_of_length(generator, words, length, count * repeats)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    timed = TimedGenerator(generator, time.process_time)
    task = {"dataset": prompts, "generator": timed, "tokenizer": "micro", "max_units": length}
    env = PromptCompressionVectorEnv(1, early_stopping=True, **task)
    agent = SCSTAgent(seed=0, device="cpu", batch_size=count, samples=SAMPLES)
    learner = agent.start(lambda _: env)
    found = []
    try:
        for update in range(repeats):
            picked = prompts_of_update(0, update, count, len(prompts))
            with clock() as cutting:
                episodes = env.task.episodes.take(picked)
            env.task.scorer(episodes, [np.ones(length, np.bool_)] * count)
            timed.spent.clear()
            timed.answered = ()
            with (
                count_passes(generator.model) as work,
                network_clock(learner.network) as network,
                clock() as whole,
            ):
                learner.update(0.0)
            with clock() as comparing:
                for draft, answer in timed.answered:
                    if not answer.partial:
                        UNICODE_ROUGE_L(answer.text, getattr(draft, "text", ""))
            seconds = {
                "tokenise": cutting.seconds + timed.spent["count_tokens"],
                "policy": network.seconds,
                "generator": timed.spent["generate_from"],
                "similarity": timed.spent["decided"] + comparing.seconds,
            }
            # The prompts were cut before the update, so that is no part of the whole.
            rest = whole.seconds + cutting.seconds - sum(seconds.values())
            model = generator.model
            case = Case(
                model=generator.name,
                rewards=rewards,
                length=length,
                layers=model.config.num_hidden_layers,
                body=model.num_parameters(exclude_embeddings=True),
                head=model.get_input_embeddings().weight.numel(),
                passes=work.passes,
                tokens=work.tokens,
                wanted=work.wanted,
                rows=work.rows,
                seconds=seconds | {"loop": rest},
            )
            found.append(case)
    finally:
        learner.close()
        torch.set_num_threads(threads)
    return min(found, key=lambda case: case.total)


def prompts_of_length(
    generator: HFGenerator, words: Sequence[str], length: int, count: int
) -> list[Prompt]:
    """Make different prompts of some words that have `length` tokens, or one or two less.

    Raises:
        ValueError: If the length has no room for any of the words.
    """
    template = AlpacaTemplate()
    prompts = []
    for number in range(count):
        own = [words[(7 * number + k * (1 + number % 5)) % len(words)] for k in range(length)]
        made = [Prompt("", _INSTRUCTION, " ".join(own[:k])) for k in range(1, length + 1)]
        sizes = generator.count_tokens([template.render(prompt).text for prompt in made])
        fitting = sum(size <= length for size in sizes)
        if not fitting:
            raise ValueError(f"a prompt of {length} tokens has no room for a word")
        prompts.append(Prompt(f"made-{number}", _INSTRUCTION, " ".join(own[:fitting])))
    return prompts
