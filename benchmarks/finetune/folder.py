"""The folder of a tuning run.

OUT/settings.json     what was asked for; compared when the run goes on
OUT/tokenizer/        of a model from random weights
OUT/checkpoint-N/     what the training needs to go on; removed when it has ended
OUT/training.json     what the training took, and its losses
OUT/model/            the result
OUT/evaluation.json   figures of the held-out splits; OUT/answers-SPLIT.jsonl the answers
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import filelock

from agents.runs.config import differences


def check_folder(out: Path, settings: dict[str, Any]) -> None:
    """See whether a run may use a folder. Changes nothing.

    Raises:
        ValueError: If it holds a run with other settings (each difference is named) or something
            else.
    """
    if out.exists() and not out.is_dir():
        raise ValueError(f"{out} is a file; give a folder for the run")
    # What a run that was killed at once may leave.
    if not out.is_dir() or {entry.name for entry in out.iterdir()} <= {"lock", "settings.json.tmp"}:
        return
    file = out / "settings.json"
    if not file.is_file():
        raise ValueError(f"{out} holds files but no settings.json, so it is no run; give another")
    changed = differences(json.loads(file.read_text(encoding="utf-8")), settings)
    if changed:
        lines = "\n".join(f"  {line}" for line in changed)
        raise ValueError(
            f"{out} holds a run with other settings:\n{lines}\n"
            "Repeat its settings to resume it, or give another folder"
        )


@contextlib.contextmanager
def locked(out: Path, is_main: bool) -> Iterator[None]:
    """Keep other runs out of a folder until the block ends, or the process does, however it ends.

    The folder is made if it is not there. Processes of a run other than its main one do nothing.

    Raises:
        ValueError: If another run is in it.
    """
    if not is_main:
        yield
        return
    out.mkdir(parents=True, exist_ok=True)
    try:
        with filelock.FileLock(out / "lock", timeout=0):
            yield
    except filelock.Timeout:
        raise ValueError(f"{out} is in use by another run that has not ended") from None
