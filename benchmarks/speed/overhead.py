"""How much of a vector environment's step is not the generator's."""

from __future__ import annotations

import time
from contextlib import closing
from typing import Any

import numpy as np

from benchmarks.speed.cost import TimedGenerator
from pcrl_gym.envs.vector_env import PromptCompressionVectorEnv
from pcrl_gym.generators.base import DraftingGenerator
from pcrl_gym.named_datasets import load_prompts
from pcrl_gym.prompts.datasets import pick_evenly

_ENVIRONMENTS = 64
_DROP_RATE = 0.15


def measure_overhead(generator: DraftingGenerator, prompts: int) -> list[dict[str, Any]]:
    """Step 64 environments with random masks three times through some prompts of micro.

    The number of prompts is rounded up to whole steps.

    Returns:
        The first walk over the prompts ("new"), and the other two ("known"), in which original
        prompts are cut into units and answered already: steps, seconds, those in the generator, and
        the share of the time outside of it.
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
                kept = rng.random((_ENVIRONMENTS, envs.task.max_units)) >= _DROP_RATE
                began = time.perf_counter()
                envs.step(kept.astype(np.int8))
                seconds += time.perf_counter() - began
            row = {"prompts": label, "steps": count, "seconds": seconds}
            share = 1 - timed.seconds / seconds
            rows.append(row | {"generator_seconds": timed.seconds, "share": share})
    return rows
