"""Merging of the result folders of shards."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.records import RunFolder, check_settings
from benchmarks.tables import Row, write_leaderboard
from pcrl_gym.errors import RunFolderError
from pcrl_gym.storage.atomic import replace_folder, write_file


def merge(folders: Sequence[str | Path], out: str | Path) -> list[Row]:
    """Join result folders as `join` does, and return the rows of the leaderboard written there."""
    return write_leaderboard(join(folders, out))


def join(folders: Sequence[str | Path], out: str | Path) -> RunFolder:
    """Join the finished parts of several result folders in one, which equals an unsharded run.

    `out` may hold earlier merges. Nothing is written if settings or results of one part differ, or
    if a folder holds published results. The leaderboard is not written, as this requires reading
    all records.
    """
    sources, out = [RunFolder(folder) for folder in folders], Path(out)
    if not sources:
        raise ValueError("Expected at least one result folder to merge")
    if any(source.path.resolve() == out.resolve() for source in sources):
        raise ValueError(f"{out} is one of the folders to merge; choose another --out")
    settings = sources[0].settings
    for source in sources:
        check_settings(source.path, settings)
        settings = {**settings, "agents": {**settings["agents"], **source.settings["agents"]}}
    if check_settings(out, settings) is not None:
        sources.insert(0, RunFolder(out))
    parts = _unique_parts(sources)
    folder = RunFolder.open(out, settings)
    for relative, file in parts.items():
        target = folder.path / relative
        if not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            if (training := file.with_suffix("")).is_dir():
                with replace_folder(target.with_suffix("")) as fresh:
                    shutil.copytree(training, fresh, dirs_exist_ok=True)
            write_file(target, file.read_bytes())
    runs: list[dict[str, Any]] = []
    for source in sources:
        if (file := source.path / "provenance.json").is_file():
            found = json.loads(file.read_text(encoding="utf-8"))["runs"]
            runs += [run for run in found if run not in runs]
    joined = {"runs": sorted(runs, key=lambda run: run["started"]), "settings": folder.settings}
    write_file(folder.path / "provenance.json", json.dumps(joined, indent=2) + "\n")
    return folder


def _unique_parts(folders: Sequence[RunFolder]) -> dict[Path, Path]:
    """Return files of finished parts and notes of finished training runs, by relative path."""
    parts: dict[Path, Path] = {}
    for folder in folders:
        for file in [*folder.parts(), *sorted(folder.path.glob("training/*-seed*.json"))]:
            other = parts.setdefault(file.relative_to(folder.path), file)
            if other is not file and other.read_bytes() != file.read_bytes():
                raise RunFolderError(
                    f"{other} and {file} are different results of the same part: merge folders of "
                    "different shards, or delete one of the two files"
                )
    return parts
