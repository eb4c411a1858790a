"""Fixtures of the tests of the benchmark."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench_fixtures import PROMPTS_PER_SPLIT
from benchmarks.suites import Suite


@pytest.fixture
def suite(tmp_path: Path) -> Suite:
    """A suite over a folder of three split files."""
    data = tmp_path / "data"
    data.mkdir()
    for split in ("train", "validation_seen", "validation_unseen"):
        lines = [
            json.dumps(
                {
                    "instruction": f"Please sort the words, {split} {number}",
                    "input": "plums and 12 apples" if number % 2 else "",
                    "output": "12 apples" if number % 3 else "",
                }
            )
            for number in range(PROMPTS_PER_SPLIT)
        ]
        (data / f"{split}.jsonl").write_text("\n".join(lines) + "\n")
    return Suite(
        id="toy",
        version=1,
        dataset=str(data),
        splits=("validation_seen", "validation_unseen"),
        generator="counting",
        max_units=48,
        seeds=2,
    )
