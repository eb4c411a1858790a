"""Hand-made records and settings for the tests of the benchmark."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pandas

import models
from benchmarks.parquet import schema_of, to_frame, to_table
from benchmarks.records import Record, RunFolder
from fakes import CountingGenerator

SETTINGS: dict[str, Any] = {
    "suite": "toy",
    "version": 2,
    "splits": ["seen", "unseen"],
    "generator_name": "fake",
    "limit": None,
    "agents": {"a": "module:A"},
}


def record(**changes: Any) -> Record:
    """Return a record of agent "a" on split "seen", seed 0, with the given changes."""
    values: dict[str, Any] = {
        "agent": "a",
        "split": "seen",
        "seed": 0,
        "prompt_id": "p0",
        "source": "toy",
        "prompt": "Instruction: say hi\nOutput: \n",
        "dropped": ((13, 16),),
        "compressed_prompt": "Instruction:  hi\nOutput: \n",
        "output": "hi",
        "compressed_output": "hi",
        "gold": "hi",
        "reward": 0.5,
        "similarity": 1.0,
        "compression_ratio": 0.5,
        "drop_rate": 0.5,
        "log_likelihood": None,
        "original_tokens": 12,
        "compressed_tokens": 7,
        "template_tokens": 2,
        "second_original_tokens": 29,
        "second_compressed_tokens": 26,
        "second_template_tokens": 23,
        "gold_rouge_1": 1.0,
        "gold_rouge_2": 1.0,
        "gold_rouge_l": 1.0,
        "gold_cut": 2,
        "cut_rouge_1": 1.0,
        "cut_rouge_2": 1.0,
        "cut_rouge_l": 1.0,
        "requested_rate": None,
        "compress_ms": 2.0,
    }
    return Record(**(values | changes))


def frame(records: Sequence[Record]) -> pandas.DataFrame:
    """The records as `RunFolder.frame` has them."""
    return to_frame(to_table(records, schema_of(Record)))


PROMPTS_PER_SPLIT = 70  # more than one batch


def make_generator() -> CountingGenerator:
    """A counting generator with a tokenizer for the policy."""
    generator = CountingGenerator()
    generator.tokenizer = models.gpt2_tokenizer()
    return generator


def untimed(folder: Path) -> list[Record]:
    return [dataclasses.replace(r, compress_ms=0.0) for r in RunFolder(folder).records()]


def change_part(
    folder: Path, agent: str, change: Callable[[list[Record]], Sequence[Record]]
) -> None:
    """Write the part of an agent's seed 0 on the first split anew."""
    opened = RunFolder(folder)
    split = opened.settings["splits"][0]
    own = [one for one in opened.records([agent], [split]) if one.seed == 0]
    with opened.write_part(agent, split, 0) as write:
        for one in change(own):
            write(one)


AGENTS = ["random", "keep_all", "bench_agents:Learner"]


def tree(folder: Path) -> set[str]:
    return {str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file()}
