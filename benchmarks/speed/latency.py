"""What compression costs: milliseconds per prompt, and their share of the generator's."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from benchmarks.speed.figures import check_new, device_name, origin, write_figures
from pcrl_gym.compressor.compressor import Compressor
from pcrl_gym.generators.loading import load_generator
from pcrl_gym.named_datasets import load_prompts
from pcrl_gym.prompts.datasets import pick_evenly
from pcrl_gym.prompts.prompt import Prompt

SPLIT = "validation_seen"
NEW_TOKENS = 30
BATCHES = (1, 32)


@dataclass(frozen=True)
class Options:
    """What to measure.

    Raises:
        ValueError: If the file exists.
    """

    policy: str = "micro"  # or folder or hub id of a compressor
    generator: str = "micro"  # what `load_generator` takes
    prompts: int = 256  # of micro, spread evenly over `SPLIT`
    repeats: int = 3  # the fastest counts
    device: str = "auto"  # of both
    out: str | None = None  # file for all figures

    def __post_init__(self) -> None:
        check_new(self.out)


@dataclass(frozen=True)
class Latency:
    """Milliseconds per prompt at one batch size."""

    batch: int  # prompts per call
    compress_ms: float
    generate_ms: float  # of the generator's answers to the original prompts

    @property
    def share(self) -> float:
        """Compressor's time as a share of the generator's."""
        return self.compress_ms / self.generate_ms


def run(options: Options) -> None:
    """Measure, print a table and write the file."""
    provenance = origin()
    compressor = Compressor.from_pretrained(options.policy, device=options.device)
    generator = load_generator(options.generator, device=options.device)
    rows = load_prompts("micro", SPLIT)
    prompts = [rows[i] for i in pick_evenly(len(rows), options.prompts)]
    originals = [compressor.template.render(prompt).text for prompt in prompts]

    def compress(part: Sequence[Prompt]) -> None:
        compressor(instruction=[p.instruction for p in part], input=[p.input for p in part])

    def generate(part: Sequence[str]) -> None:
        generator.generate(part, NEW_TOKENS)

    latencies = []
    for batch in BATCHES:
        compress_ms = milliseconds(compress, prompts, batch, options.repeats)
        generate_ms = milliseconds(generate, originals, batch, options.repeats)
        latencies.append(Latency(batch, compress_ms, generate_ms))
    device = device_name(compressor.device)
    print(f"{len(prompts)} prompts of micro ({SPLIT}), best of {options.repeats}, {device}\n")
    print(table(latencies))
    figures = {
        "settings": asdict(options) | {"split": SPLIT, "new_tokens": NEW_TOKENS},
        "prompts_measured": len(prompts),
        "generator": generator.name,
        "device": str(compressor.device),
        "provenance": provenance,
        "latencies": [asdict(row) | {"share": row.share} for row in latencies],
    }
    write_figures(options.out, figures)
    if options.out is not None:
        print(f"\nWritten to {options.out}")


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

    The last call may have fewer items, and there is at least one; `clock` returns seconds.
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
