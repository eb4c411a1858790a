"""Measures the stages of an update: what each of its rewards costs."""

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
from benchmarks.throughput.cost import PassCounter
from benchmarks.throughput.overhead import TimedGenerator
from pcrl_gym.envs.vector_env import PromptCompressionVectorEnv
from pcrl_gym.prompts.prompt import Prompt
from pcrl_gym.prompts.template import AlpacaTemplate
from pcrl_gym.scoring.rouge import UNICODE_ROUGE_L

if TYPE_CHECKING:
    from pcrl_gym.generators.base import Answer
    from pcrl_gym.generators.hf import HFGenerator

STAGES = ("tokenise", "policy", "generator", "similarity", "loop")
"""Stages of an update: prompts cut into units and compressed prompts counted; policy network, there
and back; compressed prompts answered; answers compared; masks drawn, observations and the rest."""

SAMPLES = 8
"""Masks per prompt, each of which is a reward."""

_INSTRUCTION = "Say which of these words come twice."


@dataclass(frozen=True)
class Case:
    """One measured update.

    Attributes:
        model: Name of the generator.
        rewards: Rewards of the update, `SAMPLES` per prompt.
        length: Generator tokens of an original prompt.
        layers: Layers of the generator.
        body: Its parameters that work on every token it reads: all but the embeddings.
        head: Parameters that work where a next token is wanted: width times vocabulary.
        passes: Forward passes of the generator.
        tokens: Tokens that it read, padding included.
        wanted: Positions at which it computed logits.
        rows: Rows of all passes.
        seconds: Per stage, of a processor: those of the fastest of the repeated updates.
    """

    model: str
    rewards: int
    length: int
    layers: int
    body: int
    head: int
    passes: int
    tokens: int
    wanted: int
    rows: int
    seconds: dict[str, float]

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


class RecordingGenerator(TimedGenerator):
    """A timed generator that keeps what it answered from drafts.

    Attributes:
        answered: Drafts and answers of the latest call.
    """

    answered: list[tuple[Answer | str, Answer]]

    def generate_from(
        self, prompts: Any, drafts: Any, max_new_tokens: int, decided: Any = None
    ) -> list[Answer]:
        """Answer from drafts; see `DraftingGenerator.generate_from`."""
        answers = super().generate_from(prompts, drafts, max_new_tokens, decided)
        self.answered = list(zip(drafts, answers, strict=True))
        return answers


class NetworkClock:
    """Adds up the processor seconds of a network within a `with` block, there and back.

    The way back begins with the gradient of its first output and ends before the optimiser's step.

    Args:
        network: The network; it has to be on the CPU.

    Attributes:
        seconds: Seconds so far.
    """

    def __init__(self, network: torch.nn.Module) -> None:
        self.seconds = 0.0
        self._network = network
        self._began = 0.0

    def __enter__(self) -> NetworkClock:
        self._hooks: list[Any] = [
            self._network.register_forward_pre_hook(lambda *_: self._start()),
            self._network.register_forward_hook(lambda *a: self._turn(a[-1])),
            register_optimizer_step_pre_hook(lambda *_: self._stop()),
        ]
        return self

    def __exit__(self, *error: object) -> None:
        for hook in self._hooks:
            hook.remove()

    def _start(self) -> None:
        self._began = time.process_time()

    def _stop(self) -> None:
        self.seconds += time.process_time() - self._began

    def _turn(self, output: Any) -> None:
        self._stop()
        output[0].register_hook(lambda _: self._start())


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
        repeats: How many updates.

    Returns:
        The figures of the fastest update.
    """
    count = rewards // SAMPLES
    prompts = prompts_of_length(generator, words, length, count * repeats)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    timed = RecordingGenerator(generator, time.process_time)
    env = PromptCompressionVectorEnv(
        1,
        dataset=prompts,
        generator=timed,
        tokenizer="micro",
        max_units=length,
        early_stopping=True,
    )
    agent = SCSTAgent(seed=0, device="cpu", batch_size=count, samples=SAMPLES)
    learner = agent.start(lambda _: env)
    found = []
    try:
        for update in range(repeats):
            picked = prompts_of_update(0, update, count, len(prompts))
            with _clock() as cutting:
                episodes = env.task.episodes.take(picked)
            env.task.scorer(episodes, [np.ones(length, np.bool_)] * count)
            timed.spent.clear()
            timed.answered = []
            with (
                PassCounter(generator.model) as work,
                NetworkClock(learner.network) as network,
                _clock() as whole,
            ):
                learner.update(0.0)
            with _clock() as comparing:
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
            embedded = model.get_input_embeddings().weight.shape
            found.append(
                Case(
                    model=generator.name,
                    rewards=rewards,
                    length=length,
                    layers=model.config.num_hidden_layers,
                    body=_body(model),
                    head=int(embedded[0] * embedded[1]),
                    passes=work.passes,
                    tokens=work.tokens,
                    wanted=work.wanted,
                    rows=work.rows,
                    seconds=seconds | {"loop": rest},
                )
            )
    finally:
        learner.close()
        torch.set_num_threads(threads)
    return min(found, key=lambda case: case.total)


def prompts_of_length(
    generator: HFGenerator, words: Sequence[str], length: int, count: int
) -> list[Prompt]:
    """Make prompts that have a number of tokens, or one or two less.

    Args:
        generator: What counts the tokens.
        words: Words to take in turns.
        length: Tokens of the rendered prompt.
        count: How many prompts, all different.

    Raises:
        ValueError: If the length has no room for any of the words.
    """
    template = AlpacaTemplate()
    prompts = []
    for number in range(count):
        own = [words[(7 * number + k * (1 + number % 5)) % len(words)] for k in range(length)]
        sizes = generator.count_tokens(
            [
                template.render(Prompt("", _INSTRUCTION, " ".join(own[:k]))).text
                for k in range(1, length + 1)
            ]
        )
        fitting = sum(size <= length for size in sizes)
        if not fitting:
            raise ValueError(f"a prompt of {length} tokens has no room for a word")
        prompts.append(Prompt(f"made-{number}", _INSTRUCTION, " ".join(own[:fitting])))
    return prompts


def _body(model: Any) -> int:
    tables = {id(m.weight) for m in model.modules() if type(m).__name__ == "Embedding"}
    return sum(p.numel() for p in model.parameters() if id(p) not in tables)


class _Clocked:
    seconds = 0.0


@contextmanager
def _clock() -> Iterator[_Clocked]:
    clocked, began = _Clocked(), time.process_time()
    yield clocked
    clocked.seconds = time.process_time() - began
