"""What a throughput run measures with one generator: all ways on all masks, and the environment."""

from __future__ import annotations

import gc
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from benchmarks.speed.cost import Measured, TimedGenerator, measure
from benchmarks.speed.tables import NEW_TOKENS
from benchmarks.speed.ways import Work, drafted, dynamic, fastest_floor, make_work, plain, stopped
from pcrl_gym.envs.vector_env import PromptCompressionVectorEnv
from pcrl_gym.named_datasets import load_prompts
from pcrl_gym.prompts.datasets import pick_evenly

if TYPE_CHECKING:
    from agents.ppo import PPOAgent
    from pcrl_gym.envs.task import Task
    from pcrl_gym.episodes.episode import Episode
    from pcrl_gym.generators.hf import HFGenerator

_WARM_UP = 32
_WAYS = {"a": plain, "b": dynamic, "c": drafted, "d": stopped}
_ENVIRONMENTS = 64
_DROP_RATE = 0.15
_SEED = 0


def find_policy(folder: str | None, episodes: int, device: str) -> PPOAgent | None:
    """Return a saved PPO agent, or without a folder one trained on micro; None for no episodes."""
    from agents.ppo import PPOAgent

    if folder is not None:
        return PPOAgent.load(folder, device)
    if not episodes:
        return None
    print(f"Training a policy on micro for {episodes} episodes ...", file=sys.stderr, flush=True)
    agent = PPOAgent(seed=_SEED, device=device)
    task: dict[str, Any] = {"device": device, "early_stopping": True}
    agent.train(lambda count: PromptCompressionVectorEnv(count, **task), episodes=episodes)
    return agent


def keep_masks(
    task: Task, episodes: Sequence[Episode], names: Sequence[str], agent: Any
) -> dict[str, list[np.ndarray[Any, Any]]]:
    """Return keep masks by name, one per episode; those of a policy only if there is one.

    Random masks depend on the percentage and the number of episodes alone.
    """
    found: dict[str, list[np.ndarray[Any, Any]]] = {}
    for name in names:
        if name.startswith("random-"):
            percent = int(name.removeprefix("random-"))
            rng = np.random.default_rng([_SEED, percent])
            found[name] = [rng.random(len(episode)) >= percent / 100 for episode in episodes]
        elif name == "keep-all":
            found[name] = [np.ones(len(episode), np.bool_) for episode in episodes]
        elif agent is not None:
            found[name] = list(agent.act(*task.begin(episodes)))
    return found


def measure_model(
    generator: HFGenerator, episodes: Sequence[Episode], masks: dict[str, list[Any]], repeats: int
) -> list[dict[str, Any]]:
    """Run all ways on all masks; see `measure_case`."""
    texts = list(dict.fromkeys(episode.text for episode in episodes))
    originals = dict(zip(texts, generator.generate(texts, NEW_TOKENS), strict=True))
    works = {name: make_work(generator, episodes, own, originals) for name, own in masks.items()}
    for work in islice(works.values(), 1):
        few = Work(work.prompts[:_WARM_UP], work.originals[:_WARM_UP], work.ratios[:_WARM_UP])
        for way in _WAYS.values():
            way(generator, few)
    return [measure_case(generator, name, work, repeats) for name, work in works.items()]


def measure_case(generator: HFGenerator, masks: str, work: Work, repeats: int) -> dict[str, Any]:
    """Run all ways on one set of prompts, in turns, and return all figures."""
    print(f"{generator.name}, {masks} ...", file=sys.stderr, flush=True)
    ways: dict[str, Callable[[], Any]] = {k: partial(w, generator, work) for k, w in _WAYS.items()}
    ways |= {"e": fastest_floor(generator, work), "f": fastest_floor(generator, work, sliced=True)}
    runs: dict[str, list[Measured]] = {way: [] for way in ways}
    for _ in range(repeats):
        gc.collect()
        for way, answer in ways.items():
            runs[way].append(measure(answer, generator.model))
    found = {way: runs[way][0].result for way in _WAYS}  # rewards and answers
    held = [d.token_ids == a.token_ids for d, a in zip(work.originals, found["c"][1], strict=True)]
    texts = {way: [answer.text for answer in answers] for way, (_, answers) in found.items()}
    device, count = generator.model.device.type, len(work.prompts)
    # What disturbs a machine only makes it slower, so the fastest repetition counts.
    best = {way: min(run.seconds for run in own) for way, own in runs.items()}
    return {
        "model": generator.name,
        "device": device,
        # Whether rewards must be equal to the last bit.
        "exact": device == "cpu" and generator.model.dtype == torch.float32,
        "masks": masks,
        "prompts": count,  # distinct pairs of a compressed prompt and an original answer
        "drafts_held": float(np.mean(held)),
        "rewards_equal": {way: int((found[way][0] == found["a"][0]).sum()) for way in "bcd"},
        "answers_equal": {way: sum(map(str.__eq__, texts[way], texts["a"])) for way in "bc"},
        "ways": {
            way: {
                "seconds": [run.seconds for run in own],
                "passes_per_row": own[0].passes / count,
                "memory_peak": max((run.memory for run in own if run.memory), default=None),
                "prompts_per_second": count / best[way],
                "ratio_to_a": best["a"] / best[way],
                "share_of_e": best["e"] / best[way],
            }
            for way, own in runs.items()
        },
    }


def measure_overhead(generator: HFGenerator, prompts: int) -> list[dict[str, Any]]:
    """Step environments with random masks three times through about so many prompts of micro.

    Returns the first walk over the prompts ("new") and the other two ("known"), in which original
    prompts are cut into units and answered already; "share" is the time outside of the generator.
    """
    steps = -(-prompts // _ENVIRONMENTS)
    train = load_prompts("micro", "train")
    picked = [train[i] for i in pick_evenly(len(train), steps * _ENVIRONMENTS)]
    timed, rng, rows = TimedGenerator(generator), np.random.default_rng(0), []
    task: dict[str, Any] = {"dataset": picked, "generator": timed, "early_stopping": True}
    with closing(PromptCompressionVectorEnv(_ENVIRONMENTS, **task)) as envs:
        envs.reset(seed=0)
        for label, count in (("new", steps), ("known", 2 * steps)):
            drawn = rng.random((count, _ENVIRONMENTS, envs.task.max_units))
            masks = (drawn >= _DROP_RATE).astype(np.int8)
            timed.spent.clear()
            began = time.perf_counter()
            for mask in masks:
                envs.step(mask)
            seconds = time.perf_counter() - began
            own = sum(timed.spent.values()) - timed.spent["decided"]
            row = {"prompts": label, "steps": count, "seconds": seconds, "generator_seconds": own}
            rows.append(row | {"share": 1 - own / seconds})
    return rows
