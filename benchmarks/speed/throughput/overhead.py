"""How much of a vector environment's step is not the generator's."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager

import numpy as np

from benchmarks.speed.throughput.tables import Overhead
from pcrl_gym.envs.vector_env import PromptCompressionVectorEnv
from pcrl_gym.generators.base import Answer, DraftingGenerator
from pcrl_gym.named_datasets import load_prompts
from pcrl_gym.prompts.datasets import pick_evenly

_ENVIRONMENTS = 64
_DROP_RATE = 0.15


class TimedGenerator(DraftingGenerator):
    """A generator that adds up the time spent in it.

    What it calls back (whether a reward is decided) is the environment's and does not count.

    Args:
        generator: The generator to ask.
        clock: Returns seconds; None: `time.perf_counter`.

    Attributes:
        spent: Seconds so far by method; under "decided" what it called back, in no method.
        answered: Drafts and answers of the latest `generate_from`.
    """

    answered: Sequence[tuple[Answer | str, Answer]] = ()

    def __init__(
        self, generator: DraftingGenerator, clock: Callable[[], float] | None = None
    ) -> None:
        self._generator = generator
        self._clock = clock or time.perf_counter
        self.name = generator.name
        self.max_prompt_tokens = generator.max_prompt_tokens
        self.tokenizer = generator.tokenizer
        self.spent: dict[str, float] = defaultdict(float)

    @property
    def seconds(self) -> float:
        """Time spent in its methods so far."""
        return sum(seconds for what, seconds in self.spent.items() if what != "decided")

    def generate(self, prompts: Sequence[str], max_new_tokens: int) -> list[Answer]:
        """Answers; see `Generator.generate`."""
        with self._timed("generate"):
            return self._generator.generate(prompts, max_new_tokens)

    def generate_from(
        self,
        prompts: Sequence[str],
        drafts: Sequence[Answer | str],
        max_new_tokens: int,
        decided: Callable[[int, str, int], bool] | None = None,
    ) -> list[Answer]:
        """Answer from drafts; see `DraftingGenerator.generate_from`."""

        def own(i: int, text: str, words_left: int) -> bool:
            assert decided is not None
            with self._timed("decided", "generate_from"):
                return decided(i, text, words_left)

        callback = None if decided is None else own
        with self._timed("generate_from"):
            answers = self._generator.generate_from(prompts, drafts, max_new_tokens, callback)
        self.answered = list(zip(drafts, answers, strict=True))
        return answers

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Count tokens; see `Generator.count_tokens`."""
        with self._timed("count_tokens"):
            return self._generator.count_tokens(texts)

    def log_likelihood(self, prompts: Sequence[str], answers: Sequence[Answer]) -> list[float]:
        """Score answers; see `Generator.log_likelihood`."""
        with self._timed("log_likelihood"):
            return self._generator.log_likelihood(prompts, answers)

    @contextmanager
    def _timed(self, what: str, within: str | None = None) -> Iterator[None]:
        began = self._clock()
        try:
            yield
        finally:
            seconds = self._clock() - began
            self.spent[what] += seconds
            if within is not None:
                self.spent[within] -= seconds


def measure_overhead(generator: DraftingGenerator, prompts: int) -> list[Overhead]:
    """Step 64 environments with random masks three times through some prompts of micro.

    The number of prompts is rounded up to whole steps.

    Returns:
        The first walk over the prompts, and the other two.
    """
    steps = -(-prompts // _ENVIRONMENTS)
    train = load_prompts("micro", "train")
    picked = [train[i] for i in pick_evenly(len(train), steps * _ENVIRONMENTS)]
    timed = TimedGenerator(generator)
    rng = np.random.default_rng(0)
    envs = PromptCompressionVectorEnv(
        _ENVIRONMENTS, dataset=picked, generator=timed, early_stopping=True
    )
    rows = []
    with closing(envs):
        envs.reset(seed=0)
        for label, count in (("new", steps), ("known", 2 * steps)):
            seconds = 0.0
            timed.spent.clear()
            for _ in range(count):
                shape = (_ENVIRONMENTS, envs.task.max_units)
                actions = (rng.random(shape) >= _DROP_RATE).astype(np.int8)
                began = time.perf_counter()
                envs.step(actions)
                seconds += time.perf_counter() - began
            rows.append(Overhead(label, count, seconds, timed.seconds))
    return rows
