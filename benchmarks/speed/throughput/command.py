"""A throughput run: options, output on the terminal, and the file with all figures."""

from __future__ import annotations

import gc
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from benchmarks.speed.figures import check_new, device_name, origin, write_figures
from benchmarks.speed.throughput.cases import measure_model
from benchmarks.speed.throughput.masks import MASKS, find_policy, keep_masks
from benchmarks.speed.throughput.models import (
    GPU_SHAPES,
    KNOWN,
    SHAPES,
    build_generator,
    check_names,
)
from benchmarks.speed.throughput.overhead import measure_overhead
from benchmarks.speed.throughput.tables import (
    NEW_TOKENS,
    Case,
    Overhead,
    find_targets,
    format_cases,
    format_overhead,
    format_targets,
    legend,
)
from pcrl_gym.envs.task import make_task
from pcrl_gym.generators.pretrained import DTYPES, choose_device
from pcrl_gym.micro import MICRO
from pcrl_gym.prompts.datasets import pick_evenly

if TYPE_CHECKING:
    from pcrl_gym.generators.hf import HFGenerator

SPLIT = "validation_seen"
"""Split that the prompts come from; a policy is trained on micro's "train"."""


@dataclass(frozen=True)
class Options:
    """What to measure.

    Raises:
        ValueError: If a name is unknown or a number out of range, or the file exists.
    """

    models: tuple[str, ...] = ()  # of `KNOWN`, or folders; empty: those meant for the device
    # Or a folder of prompts, whose units are then those of each generator. Masks of a policy are
    # for micro alone, and for generators with its tokenizer.
    data: str = "micro"
    device: str = "auto"
    dtype: str = "auto"  # for all models
    prompts: int | None = None  # per model; None: see `prompts_of`
    masks: tuple[str, ...] = MASKS
    repeats: int = 3  # of each way
    policy: str | None = None  # folder of a saved PPO agent; None: one is trained in the run
    policy_minutes: float = 2.0  # how long it is trained; 0: there are no masks of a policy
    out: str | None = None  # file for all figures

    def __post_init__(self) -> None:
        kind = torch.device(choose_device(self.device)).type
        if not self.models:
            fitting = [n for n in KNOWN if n in MICRO or (n in GPU_SHAPES) == (kind != "cpu")]
            object.__setattr__(self, "models", tuple(fitting))
        check_names(list(self.models), kind)
        if self.dtype not in DTYPES:
            raise ValueError(f"dtype must be one of {', '.join(DTYPES)}, got {self.dtype}")
        if not self.masks or not set(self.masks) <= set(MASKS):
            raise ValueError(f"masks must be some of {', '.join(MASKS)}; got {self.masks}")
        if self.data != "micro":
            if not Path(self.data).is_dir():
                raise ValueError(f"data must be micro or a folder of prompts, got {self.data}")
            if self.policy is not None or self.masks == ("policy",):
                raise ValueError("the masks of a policy are for micro: leave policy or data out")
            object.__setattr__(self, "masks", tuple(m for m in self.masks if m != "policy"))
        if not 0.0 <= self.policy_minutes < float("inf"):
            raise ValueError(f"policy_minutes must be 0 or more, got {self.policy_minutes}")
        check_new(self.out)

    def prompts_of(self, model: str) -> int:
        """Return how many prompts a model gets."""
        if self.prompts is not None:
            return self.prompts
        if model in MICRO:
            return 512
        return 64 if torch.device(choose_device(self.device)).type == "cpu" else 256


def run(options: Options) -> bool:
    """Measure, print tables and targets, and write the file after every model.

    Returns:
        Whether rewards agree wherever they must.
    """
    provenance = origin()
    cases: list[Case] = []
    overhead: list[Overhead] = []
    agent, source = None, ""
    if "policy" in options.masks:
        agent, source = find_policy(options.policy, options.policy_minutes, options.device)
    print(legend())
    for model in options.models:
        print(f"Building {model} ...", file=sys.stderr, flush=True)
        generator = build_generator(model, options.device, options.dtype)
        task = make_task(dataset=options.data, split=SPLIT, generator=generator)
        picked = pick_evenly(len(task.episodes), options.prompts_of(model))
        episodes = task.episodes.take(picked)
        usable = agent if model in KNOWN else None  # its units are micro's tokens
        kept = keep_masks(task, episodes, options.masks, usable)
        found = measure_model(generator, episodes, kept, options.repeats)
        print(f"### {describe(generator)}, {len(episodes)} prompts, best of {options.repeats}")
        print(f"\n{f'policy: {source}. ' if 'policy' in kept else ''}{weights_note(model)}\n")
        print(format_cases(found), flush=True)
        cases += found
        if model == "micro":
            overhead = measure_overhead(generator, len(episodes))
            print("### Environment overhead, 64 environments with micro, random masks of 15 %\n")
            print(format_overhead(overhead), flush=True)
        targets = find_targets(cases, overhead, options.data)
        figures = {
            "finished": model == options.models[-1],
            "settings": asdict(options) | {"split": SPLIT, "new_tokens": NEW_TOKENS},
            "provenance": provenance,
            "cases": [case.to_json() for case in cases],
            "overhead": [asdict(row) | {"share": row.share} for row in overhead],
            "targets": [asdict(target) for target in targets],
        }
        write_figures(options.out, figures)
        del generator, task  # both hold the model
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
    print("### Targets\n")
    print(format_targets(targets), end="")
    wrong = [case for case in cases if case.exact and not case.agrees]
    for case in wrong:
        print(f"error: rewards differ: {case.model}, {case.masks}", file=sys.stderr)
    if options.out is not None:
        print(f"\nWritten to {options.out}")
    return not wrong


def describe(generator: HFGenerator) -> str:
    """Return the name, size, type and place of a generator."""
    model = generator.model
    millions = sum(p.numel() for p in model.parameters()) / 1e6
    dtype, device = str(model.dtype).removeprefix("torch."), device_name(model.device)
    return f"{generator.name} ({millions:.1f} M parameters, {dtype} on {device})"


def weights_note(model: str) -> str:
    """Return what a reader must know about a model's answers."""
    if model in SHAPES:
        return (
            "Random weights, so the answers mean nothing, have all 30 tokens, and drafts hold as "
            "it happens: see micro for a trained model."
        )
    return "Trained weights." if model in MICRO else "Weights from this folder."
