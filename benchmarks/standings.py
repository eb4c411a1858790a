"""Published results, one folder per suite with all records in one file, and joins with others.

settings.json  provenance.json  summary.json  records.parquet
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.records import ALL_RECORDS, Record, RunFolder, choose
from pcrl_gym.errors import RunFolderError
from pcrl_gym.storage.atomic import write_file

if TYPE_CHECKING:
    from pandas import DataFrame

PUBLISHED = Path(__file__).parent / "leaderboard"
# Settings that may differ between folders in one table: the tokenizer depends on the evaluated
# policies, and only splits that all folders have are compared.
_OWN = {"agents", "seeds", "tokenizer", "splits", "checksums"}


def publish(folder: RunFolder, to: str | Path) -> Path:
    """Write the published form of a finished result folder, and return the records file.

    Rows are sorted by split, prompt, agent, and seed, so that equal texts are adjacent, and
    `compressed_prompt` is omitted if it follows from `prompt` and `dropped`.
    """
    from benchmarks.parquet import schema_of, to_bytes, to_table

    target = Path(to) / ALL_RECORDS
    files = [folder.path / name for name in ("settings.json", "provenance.json", "summary.json")]
    if missing := [file.name for file in files if not file.is_file()]:
        raise RunFolderError(f"{folder.path} lacks {', '.join(missing)}; finish the run first")
    records = [
        record if record.rewritten else replace(record, compressed_prompt="")
        for record in folder.records()
    ]
    places: dict[tuple[str, str], int] = {}
    records.sort(key=lambda r: places.setdefault((r.split, r.prompt_id), len(places)))
    table = to_table(records, schema_of(Record))
    if not any(record.rewritten for record in records):
        table = table.drop_columns(["compressed_prompt"])
    target.parent.mkdir(parents=True, exist_ok=True)
    for file in files:
        shutil.copyfile(file, target.with_name(file.name))
    write_file(target, to_bytes(table, level=19))
    return target


def standings(settings: Mapping[str, Any]) -> RunFolder:
    """Return the published results of the suite and version in a folder's settings."""
    folders = [RunFolder(file.parent) for file in sorted(PUBLISHED.glob(f"*/{ALL_RECORDS}"))]
    found = {f"{f.settings['suite']} v{f.settings['version']}": f for f in folders}
    wanted = f"{settings['suite']} v{settings['version']}"
    if wanted not in found:
        there = ", ".join(found) or "no suite"
        raise ValueError(f"There are no standings for {wanted}, only for {there}")
    return found[wanted]


def join(
    folder: RunFolder, others: Sequence[str | Path] = (), agents: Sequence[str] = ()
) -> tuple[DataFrame, dict[str, Any]]:
    """Return the records of a folder together with those of others, and the joint settings.

    The others are folders of the same suite and prompts, or "standings". Records are limited to the
    splits that all folders have. An agent whose name is taken by an earlier folder is renamed to
    `<agent> (<folder>)`, with the path as given if two folders have the same name. Without
    `agents`, all are returned.

    Raises:
        RunFolderError: If a folder has no results, different settings, or no split in common.
        ValueError: If the standings do not exist, or an agent has no results.
    """
    import pandas as pd

    from agents.runs.config import differences

    titles = {name: Path(name).name or name for name in map(str, others)}
    opened = {n: standings(folder.settings) if n == "standings" else RunFolder(n) for n in titles}
    splits = set(folder.settings["splits"])
    splits.intersection_update(*(other.settings["splits"] for other in opened.values()))
    for name, other in opened.items():
        keys = other.settings.keys() - _OWN if splits else {"splits"}
        there, here = (
            {key: settings.get(key) for key in keys}
            | {"checksums": {s: settings.get("checksums", {}).get(s) for s in splits}}
            for settings in (other.settings, folder.settings)
        )
        if found := differences(there, here, (f"in {name}", f"in {folder.path}")):
            raise RunFolderError(
                "One table must have results of the same suite and prompts, but these differ:\n"
                + found
            )
    frames, meanings = [folder.frame()], dict(folder.settings["agents"])
    for name, other in opened.items():
        title = name if list(titles.values()).count(titles[name]) > 1 else titles[name]
        new = {a: f"{a} ({title})" if a in meanings else a for a in other.settings["agents"]}
        meanings |= {new[agent]: meaning for agent, meaning in other.settings["agents"].items()}
        frames.append(other.frame().replace({"agent": new}))
    joined = pd.concat(frames, ignore_index=True)
    chosen = choose(joined[joined["split"].isin(splits)], folder.path, agents)
    return chosen, folder.settings | {"agents": meanings}
