"""Joining the result folders of shards."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.records import RunFolder, check_settings
from benchmarks.tables import Row, write_leaderboard
from pcrl_gym.errors import RunFolderError
from pcrl_gym.storage.atomic import write_file


def merge(folders: Sequence[str | Path], out: str | Path) -> list[Row]:
    """Join result folders as `join` does, and return the rows of the leaderboard written there."""
    return write_leaderboard(join(folders, out))


def join(folders: Sequence[str | Path], out: str | Path) -> RunFolder:
    """Join the finished parts of several result folders in one that equals an unsharded run.

    Records, trained agents and the runs of the provenance are copied; the folders stay as they are.
    Merging again, with what was finished since, is allowed.

    Args:
        folders: Result folders of one benchmark with the same settings.
        out: Folder for all of it, new or merged from the same settings before.

    Returns:
        The joined folder, without a leaderboard, which takes reading all records.

    Raises:
        RunFolderError: If settings differ, or two folders hold different results of one part;
            nothing is written then.
        ValueError: If no folder is given, or one of them is `out`.
    """
    sources = [RunFolder(folder) for folder in folders]
    if not sources:
        raise ValueError("Give at least one result folder to merge")
    out = Path(out)
    if any(source.path.resolve() == out.resolve() for source in sources):
        raise ValueError(f"{out} is one of the folders to merge; give another --out")
    settings = sources[0].settings
    for source in sources[1:]:
        check_settings(source.path, settings)
        settings = {**settings, "agents": {**settings["agents"], **source.settings["agents"]}}
    begun = check_settings(out, settings) is not None
    parts = _unique_parts([*sources, RunFolder(out)] if begun else sources)
    folder = RunFolder.open(out, settings)
    for relative, file in parts.items():
        target = folder.path / relative
        if not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            write_file(target, file.read_bytes())
    for source in sources:
        _copy_agents(source, folder)
    _join_provenance(sources, folder)
    return folder


def _unique_parts(folders: Sequence[RunFolder]) -> dict[Path, Path]:
    """Return the finished parts by their place in a folder."""
    parts: dict[Path, Path] = {}
    for folder in folders:
        for file in folder.parts():
            relative = file.relative_to(folder.path)
            other = parts.setdefault(relative, file)
            if other is not file and other.read_bytes() != file.read_bytes():
                raise RunFolderError(
                    f"{other} and {file} are different results of the same part: give folders of "
                    "different shards, or delete one of the two"
                )
    return parts


def _copy_agents(source: RunFolder, folder: RunFolder) -> None:
    for agent in sorted((source.path / "agents").glob("*-seed*")):
        name, _, seed = agent.name.rpartition("-seed")
        if seed.isdigit() and not folder.trained_agent(name, int(seed)).exists():
            with folder.write_trained_agent(name, int(seed)) as target:
                shutil.copytree(agent, target, dirs_exist_ok=True)


def _join_provenance(sources: Sequence[RunFolder], folder: RunFolder) -> None:
    runs: list[dict[str, Any]] = []
    for source in (folder, *sources):
        file = source.path / "provenance.json"
        if file.is_file():
            found = json.loads(file.read_text(encoding="utf-8"))["runs"]
            runs += [run for run in found if run not in runs]
    joined = {"runs": sorted(runs, key=lambda run: run["started"]), "settings": folder.settings}
    write_file(folder.path / "provenance.json", json.dumps(joined, indent=2) + "\n")
