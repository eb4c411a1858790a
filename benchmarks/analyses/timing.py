"""Net time saved: what compressing takes against what shorter prompts save the generator."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import fmean

from benchmarks.analyses.analysis import Analysis, Table, write_analysis
from benchmarks.records import Record, RunFolder
from benchmarks.speed.latency import milliseconds
from pcrl_gym.errors import RunFolderError
from pcrl_gym.prompts.datasets import pick_evenly

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
    records: Sequence[Record],
    splits: Sequence[str],
    measure: Callable[[Sequence[str]], float],
    *,
    prompts: int,
) -> Analysis:
    """Time of the generator for original and compressed prompts, an agent at a time.

    Args:
        records: Records of one result folder; the first seed of every agent is used.
        splits: Splits in the order in which they are shown.
        measure: Milliseconds per prompt that the generator takes to answer some texts.
        prompts: How many per agent and split, spread evenly.

    Returns:
        A table per split. Times are of plain greedy decoding, without drafts: what a user pays.
    """
    grouped: dict[str, dict[str, list[Record]]] = {split: {} for split in splits}
    for record in records:
        own = grouped.get(record.split, {}).setdefault(record.agent, [])
        if not own or own[0].seed == record.seed:
            own.append(record)
    tables = {}
    for split in splits:
        rows = []
        before: dict[tuple[str, ...], float] = {}
        for agent, own in grouped[split].items():
            picked = [own[i] for i in pick_evenly(len(own), prompts)]
            originals = tuple(record.prompt for record in picked)
            whole = before[originals] = before.get(originals) or measure(originals)
            after = measure([record.compressed_prompt for record in picked])
            compress = fmean(record.compress_ms for record in own)
            saved = net_saved(compress, whole, after)
            rows.append((agent, len(picked), compress, whole, after, saved, saved / whole))
        tables[split] = Table(COLUMNS, tuple(sorted(rows, key=lambda row: -row[5])))
    return Analysis(
        name="timing",
        title="Net time saved",
        note="Milliseconds per prompt in batches, best of several repetitions; compress ms is the "
        "mean of the evaluation. Answers to compressed prompts may be longer or shorter, which "
        "counts, too.",
        tables=tables,
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
        RunFolderError: If there is no such result folder, or it has no records.
        ValueError: If the generator cannot be loaded.
    """
    from pcrl_gym.generators.loading import load_generator

    source = RunFolder(folder)
    records = list(source.records())
    if not records:
        raise RunFolderError(f"{source.path} holds no finished results yet")
    dtype = source.settings.get("dtype", "float32")
    generator = load_generator(source.settings["generator"], device=device, dtype=dtype)
    limit = source.settings["max_new_tokens"]

    def answer(texts: Sequence[str]) -> None:
        generator.generate(texts, limit)

    analysis = analyse(
        records,
        source.settings["splits"],
        lambda texts: milliseconds(answer, texts, batch, repeats),
        prompts=prompts,
    )
    write_analysis(source.path, analysis)
    return analysis
