"""Net time saved: time of compression against the time that shorter prompts save."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from cyclopts.types import PositiveInt

from benchmarks.analyses.analysis import Analysis, Table, first_seeds, write_analysis
from benchmarks.records import RunFolder
from benchmarks.speed.latency import milliseconds
from benchmarks.suites import suite_of
from pcrl_gym.prompts.datasets import pick_evenly

if TYPE_CHECKING:
    from pandas import DataFrame

BATCH = 32
REPEATS = 3
_NOTE = (
    "Milliseconds per prompt in batches, best of several repetitions; compress ms is the mean over "
    "the evaluation. Answers to compressed prompts may be longer or shorter, which is included."
)


def net_saved(compress_ms: float, before_ms: float, after_ms: float) -> float:
    """Return the milliseconds that compression saves per prompt, minus its own time.

    Formula: `before - after - compress`; negative if compression costs more than it saves.

    Example:
        >>> net_saved(1.5, 10.0, 6.0)
        2.5
    """
    return before_ms - after_ms - compress_ms


def run(folder: str | Path, /, *, prompts: PositiveInt = 256, device: str = "auto") -> Analysis:
    """Time a result folder's prompts with its generator, and write the analysis into the folder.

    Args:
        folder: Result folder.
        prompts: Number of prompts per agent and split.
        device: Device of the generator.
    """
    from pcrl_gym.generators.loading import load_generator

    source = RunFolder(folder)
    frame, suite = source.frame(), suite_of(source.settings)
    generator = load_generator(suite.generator, device=device, dtype=suite.dtype)
    answer = partial(generator.generate, max_new_tokens=suite.max_new_tokens)
    measure = partial(milliseconds, answer, batch=BATCH, repeats=REPEATS)
    return write_analysis(source.path, analyse(frame, measure, prompts=prompts))


def analyse(
    frame: DataFrame, measure: Callable[[Sequence[str]], float], *, prompts: int
) -> Analysis:
    """Return a table per split; `measure` returns milliseconds per prompt to answer texts."""
    import pandas

    rows = []
    originals: dict[tuple[str, ...], float] = {}  # measured once for all agents
    for (split, agent), own in first_seeds(frame):
        picked = own.iloc[pick_evenly(len(own), prompts)]
        texts = tuple(picked["prompt"])
        before = originals[texts] = originals.get(texts) or measure(texts)
        after = measure(list(picked["compressed_prompt"]))
        rows.append((split, agent, len(picked), own["compress_ms"].mean(), before, after))
    times = ["compress ms", "generator ms before", "generator ms after"]
    table = pandas.DataFrame(rows, columns=["split", "agent", "prompts", *times])
    table["net ms saved"] = net_saved(*(table[name] for name in times))
    table["net share saved"] = table["net ms saved"] / table["generator ms before"]
    table = table.set_index("split").sort_values("net ms saved", ascending=False, kind="stable")
    tables = {split: Table.of(table.loc[[split]]) for split in dict.fromkeys(r[0] for r in rows)}
    return Analysis("timing", "Net time saved", _NOTE, tables)
