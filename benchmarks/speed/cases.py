"""All ways on all masks with one generator."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from benchmarks.speed.cost import Measured, measure
from benchmarks.speed.floor import fastest_floor
from benchmarks.speed.tables import NEW_TOKENS
from benchmarks.speed.ways import Work, drafted, dynamic, make_work, plain, stopped

if TYPE_CHECKING:
    from pcrl_gym.episodes.episode import Episode
    from pcrl_gym.generators.hf import HFGenerator

_WARM_UP = 32
_WAYS = {"a": plain, "b": dynamic, "c": drafted, "d": stopped}


def measure_model(
    generator: HFGenerator, episodes: Sequence[Episode], masks: dict[str, list[Any]], repeats: int
) -> list[dict[str, Any]]:
    """Run all ways on all masks; see `measure_case`."""
    texts = list(dict.fromkeys(episode.text for episode in episodes))
    originals = dict(zip(texts, generator.generate(texts, NEW_TOKENS), strict=True))
    works = {name: make_work(generator, episodes, own, originals) for name, own in masks.items()}
    for own in list(masks.values())[:1]:
        few = make_work(generator, episodes[:_WARM_UP], own[:_WARM_UP], originals)
        for way in _WAYS.values():
            way(generator, few)
    return [measure_case(generator, name, work, repeats) for name, work in works.items()]


def measure_case(generator: HFGenerator, masks: str, work: Work, repeats: int) -> dict[str, Any]:
    """Run all ways on one set of prompts, in turns.

    Returns:
        Figures of the prompts and, under "ways", of each way. "exact" is whether rewards must be
        equal to the last bit: in float32 on a CPU.
    """
    print(f"{generator.name}, {masks} ...", file=sys.stderr, flush=True)
    ways: dict[str, Callable[[], Any]] = {k: partial(w, generator, work) for k, w in _WAYS.items()}
    ways["e"] = fastest_floor(generator, work)
    ways["f"] = fastest_floor(generator, work, sliced=True)
    runs: dict[str, list[Measured]] = {way: [] for way in ways}
    for _ in range(repeats):
        gc.collect()
        for way, answer in ways.items():
            runs[way].append(measure(answer, generator.model))
    results = {way: runs[way][0].result for way in _WAYS}
    rewards = {way: found for way, (found, _) in results.items()}
    answers = {way: [answer.text for answer in found] for way, (_, found) in results.items()}
    held = [
        d.token_ids == a.token_ids for d, a in zip(work.originals, results["c"][1], strict=True)
    ]
    device, count = generator.model.device.type, len(work.prompts)
    # What disturbs a machine only makes it slower, so the fastest repetition counts.
    best = {way: min(run.seconds for run in own) for way, own in runs.items()}
    return {
        "model": generator.name,
        "device": device,
        "exact": device == "cpu" and generator.model.dtype == torch.float32,
        "masks": masks,
        "prompts": count,  # distinct pairs of a compressed prompt and an original answer
        "drafts_held": float(np.mean(held)),
        "rewards_equal": {way: int((rewards[way] == rewards["a"]).sum()) for way in "bcd"},
        "answers_equal": {way: sum(map(str.__eq__, answers[way], answers["a"])) for way in "bc"},
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
