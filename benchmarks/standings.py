"""Published results: one folder per suite with all records in one file, and joining them to others.

settings.json  provenance.json  summary.json  records.parquet
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.records import ALL_RECORDS, Record, RunFolder, check_settings, choose
from pcrl_gym.errors import RunFolderError
from pcrl_gym.storage.atomic import write_file

if TYPE_CHECKING:
    from pandas import DataFrame

PUBLISHED = Path(__file__).parent / "leaderboard"
_OWN = {"agents", "seeds"}  # settings in which folders may differ that stand in one table


def publish(folder: RunFolder, to: str | Path) -> Path:
    """Write the published form of a finished result folder, and return the file of the records.

    The rows stand by split, prompt, agent and seed, so that equal texts are neighbors, and without
    `compressed_prompt`, which follows from `prompt` and `dropped`.
    """
    from benchmarks.parquet import schema_of, to_bytes, to_table

    target = Path(to) / ALL_RECORDS
    files = [folder.path / name for name in ("settings.json", "provenance.json", "summary.json")]
    if missing := [file.name for file in files if not file.is_file()]:
        raise RunFolderError(f"{folder.path} lacks {', '.join(missing)}; run it to its end first")
    records = list(folder.records())
    places: dict[tuple[str, str], int] = {}
    records.sort(key=lambda r: places.setdefault((r.split, r.prompt_id), len(places)))
    table = to_table(records, schema_of(Record)).drop_columns(["compressed_prompt"])
    target.parent.mkdir(parents=True, exist_ok=True)
    for file in files:
        shutil.copyfile(file, target.with_name(file.name))
    write_file(target, to_bytes(table, level=19))
    return target


def standings(settings: Mapping[str, Any]) -> RunFolder:
    """Return the published results of the suite and version of a folder's settings."""
    folders = [RunFolder(file.parent) for file in sorted(PUBLISHED.glob(f"*/{ALL_RECORDS}"))]
    found = {f"{f.settings['suite']} v{f.settings['version']}": f for f in folders}
    wanted = f"{settings['suite']} v{settings['version']}"
    if wanted not in found:
        there = ", ".join(found) or "no suite"
        raise ValueError(f"There are no standings of {wanted}, only of {there}")
    return found[wanted]


def join(
    folder: RunFolder, others: Sequence[str | Path] = (), agents: Sequence[str] = ()
) -> tuple[DataFrame, dict[str, Any]]:
    """Return the records of a folder together with those of others, and the settings of all.

    The others are folders of the same suite and prompts, or "standings". An agent whose name is
    taken by an earlier folder is called `<agent> (<folder>)`. Without `agents` all are returned.
    """
    import pandas as pd

    frames, meanings = [folder.frame()], dict(folder.settings["agents"])
    for name in map(str, others):
        other = standings(folder.settings) if name == "standings" else RunFolder(name)
        rules = {key: folder.settings.get(key) for key in other.settings.keys() - _OWN}
        check_settings(other.path, rules | {"agents": {}})
        title = name if name == "standings" else other.path.name
        new = {a: f"{a} ({title})" if a in meanings else a for a in other.settings["agents"]}
        meanings |= {new[agent]: meaning for agent, meaning in other.settings["agents"].items()}
        frames.append(other.frame().replace({"agent": new}))
    joined = choose(pd.concat(frames, ignore_index=True), folder.path, agents)
    return joined, folder.settings | {"agents": meanings}
