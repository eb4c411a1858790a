"""Latency of compression: milliseconds per prompt, and their share of the generator's."""

from __future__ import annotations

import timeit
from collections.abc import Callable, Sequence
from time import perf_counter
from typing import Any

from cyclopts.types import PositiveInt

from benchmarks.speed import figures
from benchmarks.speed.figures import NEW_TOKENS, SPLIT

_COLUMNS = {
    "prompts per call": "{batch}", "compress, ms per prompt": "{compress_ms:.2f}",
    "generate, ms per prompt": "{generate_ms:.2f}", "share": "{share:.1%}",
}  # fmt: skip


def run(
    *,
    policy: str = "micro",
    generator: str = "micro",
    prompts: PositiveInt = 256,
    repeats: PositiveInt = 3,
    device: str = "auto",
    out: str | None = None,
) -> None:
    """Measure the cost of compressing a prompt relative to answering it, and print a table.

    Args:
        policy: micro, or folder or Hub ID of a compressor.
        generator: Name, ID or folder of the generator that answers the original prompts.
        prompts: Prompts of micro, spread evenly over a split.
        repeats: Repetitions; the fastest counts.
        device: Device of both.
        out: JSON file for all results; must not exist.
    """
    settings = {**locals(), "split": SPLIT, "new_tokens": NEW_TOKENS}
    figures.check_new(out)
    from pcrl_gym.compressor.compressor import Compressor
    from pcrl_gym.generators.loading import load_generator
    from pcrl_gym.named_datasets import load_prompts
    from pcrl_gym.prompts.datasets import pick_evenly

    provenance = figures.origin()
    compressor = Compressor.from_pretrained(policy, device=device)
    asked = load_generator(generator, device=device)
    split = load_prompts("micro", SPLIT)
    rows = [split[i] for i in pick_evenly(len(split), prompts)]
    originals = [compressor.template.render(prompt).text for prompt in rows]

    def compress(part: Sequence[Any]) -> None:
        compressor(instruction=[p.instruction for p in part], input=[p.input for p in part])

    latencies = []
    for batch in (1, 32):
        own = milliseconds(compress, rows, batch, repeats)
        others = milliseconds(lambda p: asked.generate(p, NEW_TOKENS), originals, batch, repeats)
        row = {"batch": batch, "compress_ms": own, "generate_ms": others, "share": own / others}
        latencies.append(row)
    print(f"{len(rows)} prompts of micro ({SPLIT}), best of {repeats}, {compressor.device}\n")
    print(figures.format_rows(latencies, _COLUMNS), end="")
    found = {"settings": settings, "prompts_measured": len(rows), "generator": asked.name}
    found |= {"device": str(compressor.device), "provenance": provenance, "latencies": latencies}
    figures.write_figures(out, found)


def milliseconds(
    call: Callable[[Any], Any], items: Sequence[Any], batch: int, repeats: int
) -> float:
    """Return the milliseconds per item of calls with `batch` items, of the fastest repetition.

    The first batch runs once as warm-up. GPU work is included, as both compressor and generator
    return Python objects.
    """
    parts = [items[i : i + batch] for i in range(0, len(items), batch)]
    call(parts[0])
    seconds = timeit.repeat(lambda: [*map(call, parts)], "", perf_counter, repeats, 1)
    return 1000 * min(seconds) / len(items)
