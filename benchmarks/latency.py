"""What compression costs: milliseconds per prompt, and their share of the generator's."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import torch

from benchmarks.provenance import machine
from pcrl_gym.compressor.compressor import Compressor
from pcrl_gym.generators.loading import load_generator
from pcrl_gym.prompts.datasets import pick_evenly
from pcrl_gym.prompts.prompt import Prompt
from pcrl_gym.storage.atomic import write_file
from pcrl_gym.worlds import load_prompts

SPLIT = "validation_seen"
NEW_TOKENS = 30
BATCHES = (1, 32)


@dataclass(frozen=True)
class Options:
    """What to measure.

    Attributes:
        policy: "micro", or folder or hub id of a compressor.
        generator: What `load_generator` takes.
        prompts: How many prompts of micro, spread evenly over `SPLIT`.
        repeats: Repetitions; the fastest counts.
        device: "auto" or a torch device, of both.
        out: File for all figures; None: none is written.

    Raises:
        ValueError: A number is out of range, or the file exists.
    """

    policy: str = "micro"
    generator: str = "micro"
    prompts: int = 256
    repeats: int = 3
    device: str = "auto"
    out: str | None = None

    def __post_init__(self) -> None:
        for name in ("prompts", "repeats"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.out is not None and Path(self.out).exists():
            raise ValueError(f"{self.out} exists and is not overwritten; give another file")


@dataclass(frozen=True)
class Latency:
    """Milliseconds per prompt at one batch size.

    Attributes:
        batch: Prompts per call.
        compress_ms: Time of the compressor.
        generate_ms: Time of the generator's answers to the original prompts.
    """

    batch: int
    compress_ms: float
    generate_ms: float

    @property
    def share(self) -> float:
        """Compressor's time as a share of the generator's."""
        return self.compress_ms / self.generate_ms if self.generate_ms > 0 else math.inf


def run(options: Options) -> list[Latency]:
    """Measure, prints a table and writes the file."""
    started = datetime.now(timezone.utc).isoformat(timespec="seconds")
    compressor = Compressor.from_pretrained(options.policy, device=options.device)
    generator = load_generator(options.generator, device=options.device)
    rows = load_prompts("micro", SPLIT)
    prompts = [rows[i] for i in pick_evenly(len(rows), options.prompts)]
    originals = [compressor.template.render(prompt).text for prompt in prompts]

    def compress(part: Sequence[Prompt]) -> None:
        compressor(instruction=[p.instruction for p in part], input=[p.input for p in part])

    def generate(part: Sequence[str]) -> None:
        generator.generate(part, NEW_TOKENS)

    latencies = [
        Latency(
            batch,
            milliseconds(compress, prompts, batch, options.repeats),
            milliseconds(generate, originals, batch, options.repeats),
        )
        for batch in BATCHES
    ]
    device = _device(compressor.device)
    print(f"{len(prompts)} prompts of micro ({SPLIT}), best of {options.repeats}, {device}\n")
    print(table(latencies))
    if options.out is not None:
        told = {
            "settings": asdict(options) | {"split": SPLIT, "new_tokens": NEW_TOKENS},
            "prompts_measured": len(prompts),
            "generator": generator.name,
            "device": str(compressor.device),
            "provenance": {"started": started, **machine()},
            "latencies": [asdict(row) | {"share": row.share} for row in latencies],
        }
        file = Path(options.out)
        file.parent.mkdir(parents=True, exist_ok=True)
        write_file(file, json.dumps(told, indent=2) + "\n")
        print(f"\nWritten to {file}")
    return latencies


def milliseconds(
    call: Callable[[Sequence[Any]], None],
    items: Sequence[Any],
    batch: int,
    repeats: int,
    clock: Callable[[], float] = time.perf_counter,
) -> float:
    """Return the milliseconds per item of calls with `batch` items, of the fastest repetition.

    The first batch goes through once before the clock starts. Results on a GPU are waited for, as
    both compressor and generator give back Python objects.

    Args:
        call: Does the work for some items.
        items: All items, at least one.
        batch: Items per call; the last call may have fewer.
        repeats: Repetitions.
        clock: Tells the time in seconds.
    """
    parts = [items[i : i + batch] for i in range(0, len(items), batch)]
    call(parts[0])
    seconds = []
    for _ in range(repeats):
        began = clock()
        for part in parts:
            call(part)
        seconds.append(clock() - began)
    return 1000 * min(seconds) / len(items)


def table(latencies: Sequence[Latency]) -> str:
    """Return a Markdown table of some latencies."""
    lines = [
        "| prompts per call | compress, ms per prompt | generate, ms per prompt | share |",
        "|---|---|---|---|",
    ]
    lines += [
        f"| {row.batch} | {row.compress_ms:.2f} | {row.generate_ms:.2f} | {100 * row.share:.1f} % |"
        for row in latencies
    ]
    return "\n".join(lines)


def _device(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"CPU, {torch.get_num_threads()} threads"
