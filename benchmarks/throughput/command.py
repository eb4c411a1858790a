"""A throughput run: options, output on the terminal, and the file with all figures."""

from __future__ import annotations

import gc
import json
import sys
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from benchmarks.provenance import machine
from benchmarks.throughput.cases import measure_model
from benchmarks.throughput.masks import MASKS, find_policy, keep_masks
from benchmarks.throughput.models import KNOWN, SHAPES, build_generator, check_names
from benchmarks.throughput.overhead import measure_overhead
from benchmarks.throughput.tables import (
    NEW_TOKENS,
    Case,
    Overhead,
    Target,
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
from pcrl_gym.storage.atomic import write_file

if TYPE_CHECKING:
    from pcrl_gym.generators.hf import HFGenerator

SPLIT = "validation_seen"
"""Split that the prompts come from; a policy is trained on micro's "train"."""


@dataclass(frozen=True)
class Options:
    """What to measure.

    Attributes:
        models: Names of `models.KNOWN`, or folders; empty: those meant for the device.
        data: "micro", or a folder of prompts, whose units are then those of each generator. Masks
            of a policy are for micro alone, and for generators with its tokenizer.
        device: "auto" or a torch device.
        dtype: "auto" or another of `loading.DTYPES`, for all models.
        prompts: Prompts per model; None: 512 for micro, 64 for other models on a CPU, else 256.
        masks: Names of `MASKS`.
        repeats: Repetitions of each way.
        policy: Folder of a saved PPO agent; None: one is trained in the run.
        policy_minutes: How long it is trained; 0: there are no masks of a policy.
        out: File for all figures; None: none is written.

    Raises:
        ValueError: A name is unknown or a number out of range, or the file exists.
    """

    models: tuple[str, ...] = ()
    data: str = "micro"
    device: str = "auto"
    dtype: str = "auto"
    prompts: int | None = None
    masks: tuple[str, ...] = MASKS
    repeats: int = 3
    policy: str | None = None
    policy_minutes: float = 2.0
    out: str | None = None

    def __post_init__(self) -> None:
        kind = torch.device(choose_device(self.device)).type
        if not self.models:
            fitting = [n for n in KNOWN if n in MICRO or SHAPES[n].gpu == (kind != "cpu")]
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
        for name in ("prompts", "repeats"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}")
        if not 0.0 <= self.policy_minutes < float("inf"):
            raise ValueError(f"policy_minutes must be 0 or more, got {self.policy_minutes}")
        if self.out is not None and Path(self.out).exists():
            raise ValueError(f"{self.out} exists and is not overwritten; give another file")

    def prompts_of(self, model: str) -> int:
        """Return how many prompts a model gets."""
        if self.prompts is not None:
            return self.prompts
        if model in MICRO:
            return 512
        return 64 if torch.device(choose_device(self.device)).type == "cpu" else 256


def run(options: Options) -> bool:
    """Measure, prints tables and targets, and writes the file.

    Returns:
        Whether rewards agree wherever they must.
    """
    report = Report(options)
    agent, origin = None, ""
    if "policy" in options.masks:
        agent, origin = find_policy(options.policy, options.policy_minutes, options.device)
    print(legend())
    for model in options.models:
        print(f"Building {model} ...", file=sys.stderr, flush=True)
        generator = build_generator(model, options.device, options.dtype)
        task = make_task(dataset=options.data, split=SPLIT, generator=generator)
        picked = pick_evenly(len(task.episodes), options.prompts_of(model))
        episodes = task.episodes.take(picked)
        usable = agent if model in KNOWN else None  # its units are micro's tokens
        kept = keep_masks(task, episodes, options.masks, usable)
        cases = measure_model(generator, episodes, kept, options.repeats)
        print(f"### {describe(generator)}, {len(episodes)} prompts, best of {options.repeats}")
        print(f"\n{f'policy: {origin}. ' if 'policy' in kept else ''}{weights_note(model)}\n")
        print(format_cases(cases), flush=True)
        report.cases += cases
        if model == "micro":
            report.overhead = measure_overhead(generator, len(episodes))
            print("### Environment overhead, 64 environments with micro, random masks of 15 %\n")
            print(format_overhead(report.overhead), flush=True)
        report.write(finished=model == options.models[-1])
        del generator, task  # both hold the model
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
    print("### Targets\n")
    print(format_targets(report.targets), end="")
    wrong = [case for case in report.cases if case.exact and not case.agrees]
    for case in wrong:
        print(f"error: rewards differ: {case.model}, {case.masks}", file=sys.stderr)
    if options.out is not None:
        print(f"\nWritten to {options.out}")
    return not wrong


def describe(generator: HFGenerator) -> str:
    """Return the name, size, type and place of a generator."""
    model = generator.model
    millions = sum(p.numel() for p in model.parameters()) / 1e6
    device, dtype = model.device.type, str(model.dtype).removeprefix("torch.")
    if device == "cuda":
        device = torch.cuda.get_device_name(model.device)
    elif device == "cpu":
        device = f"CPU, {torch.get_num_threads()} threads"
    return f"{generator.name} ({millions:.1f} M parameters, {dtype} on {device})"


def weights_note(model: str) -> str:
    """Return what a reader must know about a model's answers."""
    if model not in SHAPES:
        return "Trained weights." if model in MICRO else "Weights from this folder."
    return (
        "Random weights, so the answers mean nothing, have all 30 tokens, and drafts hold as it "
        "happens: see micro for a trained model."
    )


class Report:
    """All figures of a run, and the file that they go to.

    Args:
        options: What is measured.

    Attributes:
        cases: Speeds so far.
        overhead: The environment's own time.
    """

    def __init__(self, options: Options) -> None:
        self._options = options
        self._started = datetime.now(timezone.utc).isoformat(timespec="seconds")
        self.cases: list[Case] = []
        self.overhead: list[Overhead] = []

    @property
    def targets(self) -> list[Target]:
        """Targets of these cases; those of micro are for its own prompts."""
        return find_targets(self.cases, self.overhead, self._options.data)

    def write(self, finished: bool) -> None:
        """Write the file, if one is wanted: after every model, as a run may take an hour."""
        if self._options.out is None:
            return
        told = {
            "finished": finished,
            "settings": asdict(self._options) | {"split": SPLIT, "new_tokens": NEW_TOKENS},
            "provenance": {"started": self._started, **machine()},
            "cases": [case.to_json() for case in self.cases],
            "overhead": [asdict(row) | {"share": row.share} for row in self.overhead],
            "targets": [asdict(target) for target in self.targets],
        }
        file = Path(self._options.out)
        file.parent.mkdir(parents=True, exist_ok=True)
        write_file(file, json.dumps(told, indent=2, allow_nan=False) + "\n")
