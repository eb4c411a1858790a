"""Net time saved: what compressing takes against what shorter prompts save the generator."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.analyses.analysis import Analysis, Table, first_seeds, write_analysis
from benchmarks.records import RunFolder
from benchmarks.speed.latency import milliseconds
from pcrl_gym.prompts.datasets import pick_evenly

if TYPE_CHECKING:
    from pandas import DataFrame

COLUMNS = (
    "agent", "prompts", "compress ms", "generator ms before", "generator ms after",
    "net ms saved", "net share saved",
)  # fmt: skip


def net_saved(compress_ms: float, before_ms: float, after_ms: float) -> float:
    """Return the milliseconds that compression saves per prompt, its own time taken off.

    Formula: `before - after - compress`; negative where compression costs more than it saves.

    Example:
        >>> net_saved(1.5, 10.0, 6.0)
        2.5
    """
    return before_ms - after_ms - compress_ms


def analyse(
    frame: DataFrame, measure: Callable[[Sequence[str]], float], *, prompts: int
) -> Analysis:
    """Time of the generator for original and compressed prompts, an agent at a time.

    Args:
        frame: Records of one result folder; the first seed of every agent is used.
        measure: Milliseconds per prompt that the generator takes to answer some texts.
        prompts: How many per agent and split, spread evenly.

    Returns:
        A table per split. Times are of plain greedy decoding, without drafts: what a user pays.
    """
    import pandas

    rows = []
    originals: dict[tuple[str, ...], float] = {}  # measured once for all agents
    for (split, agent), own in first_seeds(frame):
        picked = own.iloc[pick_evenly(len(own), prompts)]
        texts = tuple(picked["prompt"])
        before = originals[texts] = originals.get(texts) or measure(texts)
        after = measure(list(picked["compressed_prompt"]))
        compress = own["compress_ms"].mean()
        saved = net_saved(compress, before, after)
        figures = compress, before, after, saved, saved / before
        rows.append((split, agent, len(picked), *figures))
    table = pandas.DataFrame(rows, columns=["split", *COLUMNS])
    table = table.sort_values("net ms saved", ascending=False, kind="stable")
    return Analysis(
        name="timing",
        title="Net time saved",
        note="Milliseconds per prompt in batches, best of several repetitions; compress ms is the "
        "mean of the evaluation. Answers to compressed prompts may be longer or shorter, which "
        "counts, too.",
        tables={
            split: Table.of(table[table["split"] == split].drop(columns="split"))
            for split in dict.fromkeys(split for split, *_ in rows)
        },
    )


def run(
    folder: str | Path,
    *,
    prompts: int = 256,
    batch: int = 32,
    repeats: int = 3,
    device: str = "auto",
) -> Analysis:
    """Measure a result folder's prompts with its generator, and write the analysis into the folder.

    Args:
        folder: Result folder.
        prompts: How many per agent and split.
        batch: Prompts per call of the generator.
        repeats: Repetitions; the fastest counts.
        device: Where the generator runs.

    Raises:
        RunFolderError: If there is no such result folder.
        ValueError: If it has no records, or the generator cannot be loaded.
    """
    from pcrl_gym.generators.loading import load_generator

    source = RunFolder(folder)
    frame = source.frame()
    dtype = source.settings.get("dtype", "float32")
    generator = load_generator(source.settings["generator"], device=device, dtype=dtype)
    limit = source.settings["max_new_tokens"]

    def measure(texts: Sequence[str]) -> float:
        return milliseconds(lambda part: generator.generate(part, limit), texts, batch, repeats)

    analysis = analyse(frame, measure, prompts=prompts)
    write_analysis(source.path, analysis)
    return analysis
