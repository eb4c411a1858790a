"""Writing resumes where it was, and nothing is mixed."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any

import pytest

from pcrl_gym.instruct import compose, write

WORDS = "plan write list cook travel paint build read sort name compare explain".split()


class FakeWriter:
    """Writes words by chance in place of the model, and counts what it was asked."""

    calls: list[int] = []  # noqa: RUF012
    left = 10**6

    def __call__(self, turns: Sequence[Any], limit: int, seed: int) -> list[Any]:
        if FakeWriter.left <= 0:
            raise KeyboardInterrupt
        FakeWriter.left -= 1
        FakeWriter.calls.append(len(turns))
        rng = Random(seed)
        return [
            turn | {"text": " ".join(rng.choices(WORDS, k=20)) + ".", "ended": True}
            for turn in turns
        ]


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(write, "Writer", FakeWriter)
    monkeypatch.setattr(write, "ROWS", 4)
    monkeypatch.setattr(compose, "VALIDATION_SEEN", 2)
    FakeWriter.calls, FakeWriter.left = [], 10**6


def prompts(folder: Path) -> dict[str, str]:
    return {file.name: file.read_text() for file in sorted((folder / "prompts").iterdir())}


def test_an_interrupted_writing_resumes_and_ends_the_same(tmp_path: Path) -> None:
    write.main(out=tmp_path / "whole", requests=10, answers=6)
    assert FakeWriter.calls == [4, 4, 2, 4, 2]
    FakeWriter.left = 2
    with pytest.raises(KeyboardInterrupt):
        write.main(out=tmp_path / "cut", requests=10, answers=6)
    FakeWriter.calls, FakeWriter.left = [], 10**6
    write.main(out=tmp_path / "cut", requests=10, answers=6)
    assert FakeWriter.calls == [2, 4, 2]
    assert prompts(tmp_path / "cut") == prompts(tmp_path / "whole")
    counts = json.loads(prompts(tmp_path / "cut")["counts.json"])
    assert counts["settings"] == {"requests": 10, "answers": 6, "seed": 0}
    for split in ("train", "validation_seen"):
        lines = prompts(tmp_path / "cut")[f"{split}.jsonl"].splitlines()
        assert counts[split]["prompts"] == len(lines)


def test_a_folder_of_other_settings_is_refused(tmp_path: Path) -> None:
    write.main(out=tmp_path, requests=4, answers=4)
    with pytest.raises(SystemExit, match=r"was begun with .*'requests': 4.* give another --out"):
        write.main(out=tmp_path, requests=8, answers=4)
