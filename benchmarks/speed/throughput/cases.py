"""All ways on all masks with one generator."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch

from benchmarks.speed.throughput.cost import Measured, measure
from benchmarks.speed.throughput.tables import NEW_TOKENS, Case, Figures
from benchmarks.speed.throughput.ways import Floor, Work, drafted, dynamic, plain, stopped
from pcrl_gym.scoring.ratio import compression_ratio

if TYPE_CHECKING:
    from pcrl_gym.episodes.episode import Episode
    from pcrl_gym.generators.base import Answer
    from pcrl_gym.generators.hf import HFGenerator

_WARM_UP = 32


def make_work(
    generator: HFGenerator,
    episodes: Sequence[Episode],
    masks: Sequence[npt.NDArray[Any]],
    originals: dict[str, Answer],
) -> Work:
    """Return the distinct pairs of compressed and original prompt of some masks."""
    pairs = {(e.compress(mask), e.text): e for e, mask in zip(episodes, masks, strict=True)}
    compressed, texts = [text for text, _ in pairs], [text for _, text in pairs]
    n, after, template = (
        np.array(generator.count_tokens(some), np.int64)
        for some in (texts, compressed, [e.template_text for e in pairs.values()])
    )
    ratios = compression_ratio(n, after, template)
    return Work(compressed, [originals[text] for text in texts], ratios)


def measure_model(
    generator: HFGenerator,
    episodes: Sequence[Episode],
    masks: dict[str, list[npt.NDArray[Any]]],
    repeats: int,
) -> list[Case]:
    """Run all ways on all masks."""
    texts = list(dict.fromkeys(episode.text for episode in episodes))
    originals = dict(zip(texts, generator.generate(texts, NEW_TOKENS), strict=True))
    cases = []
    for name, own in masks.items():
        print(f"{generator.name}, {name} ...", file=sys.stderr, flush=True)
        work = make_work(generator, episodes, own, originals)
        if not cases:
            few = make_work(generator, episodes[:_WARM_UP], own[:_WARM_UP], originals)
            for way in (plain, dynamic, drafted, stopped):
                way(generator, few)
        cases.append(measure_case(generator, name, work, repeats))
    return cases


def measure_case(generator: HFGenerator, masks: str, work: Work, repeats: int) -> Case:
    """Run all ways on one set of prompts, in turns."""
    floor, sliced = Floor(generator, work), Floor(generator, work, sliced=True)
    floor.choose()
    sliced.choose()
    ways: dict[str, Callable[[], Any]] = {
        "a": lambda: plain(generator, work),
        "b": lambda: dynamic(generator, work),
        "c": lambda: drafted(generator, work),
        "d": lambda: stopped(generator, work),
        "e": floor,
        "f": sliced,
    }
    runs: dict[str, list[Measured]] = {way: [] for way in ways}
    for _ in range(repeats):
        for way, answer in ways.items():
            runs[way].append(measure(answer, generator.model))
    results = {way: own[0].result for way, own in runs.items()}
    model = generator.model
    held, accepted = acceptance(work.originals, results["c"].answers)
    rewards = {way: results[way].rewards for way in "abcd"}
    texts = {way: [answer.text for answer in results[way].answers] for way in "abc"}
    return Case(
        model=generator.name,
        device=model.device.type,
        exact=model.device.type == "cpu" and model.dtype == torch.float32,
        masks=masks,
        prompts=len(work.prompts),
        drafts_held=held,
        draft_accepted=accepted,
        rewards_equal={way: int((rewards[way] == rewards["a"]).sum()) for way in "bcd"},
        answers_equal={way: sum(map(str.__eq__, texts[way], texts["a"])) for way in "bc"},
        floor_tokens=floor.tokens,
        ways={way: _figures(own, len(work.prompts)) for way, own in runs.items()},
    )


def acceptance(drafts: Sequence[Answer], answers: Sequence[Answer]) -> tuple[float, float]:
    """Return the share of exact drafts, and the mean share of tokens before the first wrong one."""
    shares = []
    for draft, answer in zip(drafts, answers, strict=True):
        pairs = zip(draft.token_ids, answer.token_ids, strict=False)
        fewest = min(len(draft.token_ids), len(answer.token_ids))
        common = next((k for k, (a, b) in enumerate(pairs) if a != b), fewest)
        shares.append(common / max(1, len(draft.token_ids)))
    held = [d.token_ids == a.token_ids for d, a in zip(drafts, answers, strict=True)]
    return float(np.mean(held)), float(np.mean(shares))


def _figures(runs: Sequence[Measured], prompts: int) -> Figures:
    peaks = [run.memory_peak for run in runs if run.memory_peak is not None]
    return Figures(
        seconds=[run.seconds for run in runs],
        passes_per_row=runs[0].passes / prompts,
        memory_before=runs[0].memory_before,
        memory_peak=max(peaks, default=None),
    )
