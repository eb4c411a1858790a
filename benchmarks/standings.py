"""Published results: one folder per suite with all records in one file, and joining them to others.

settings.json  provenance.json  summary.json  records.parquet
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.records import ALL_RECORDS, Record, RunFolder
from pcrl_gym.errors import RunFolderError
from pcrl_gym.storage.atomic import write_file

if TYPE_CHECKING:
    from pandas import DataFrame

STANDINGS = "standings"
"""What stands for the published results of a folder's suite where folders are given."""
PUBLISHED = Path(__file__).parent / "leaderboard"
_OWN = ("agents", "seeds")  # settings in which folders may differ that stand in one table


def publish(folder: RunFolder, to: str | Path) -> Path:
    """Write the published form of a result folder, small enough to be kept under version control.

    The rows stand by split, prompt, agent and seed, so that equal texts are neighbors, and without
    `compressed_prompt`, which follows from `prompt` and `dropped`.

    Args:
        folder: Result folder with its leaderboard.
        to: Folder for the result; files of the same names are replaced.

    Returns:
        The file of the records.

    Raises:
        RunFolderError: If the folder has no results or no leaderboard, or is damaged.
    """
    from benchmarks.parquet import schema_of, to_bytes, to_table

    target = Path(to)
    files = [folder.path / name for name in ("settings.json", "provenance.json", "summary.json")]
    if missing := [file.name for file in files if not file.is_file()]:
        raise RunFolderError(f"{folder.path} lacks {', '.join(missing)}; run it to its end first")
    places: dict[tuple[str, str], int] = {}
    records = list(folder.records())
    for record in records:
        places.setdefault((record.split, record.prompt_id), len(places))
    records.sort(key=lambda r: (places[r.split, r.prompt_id], r.agent, r.seed))
    table = to_table(records, schema_of(Record)).drop_columns(["compressed_prompt"])
    target.mkdir(parents=True, exist_ok=True)
    for file in files:
        shutil.copyfile(file, target / file.name)
    write_file(target / ALL_RECORDS, to_bytes(table, level=19))
    return target / ALL_RECORDS


def standings(settings: Mapping[str, Any]) -> RunFolder:
    """Return the published results of the suite and version of a folder's settings.

    Raises:
        ValueError: If there are none; it says which there are.
    """
    found = [RunFolder(file.parent) for file in sorted(PUBLISHED.glob(f"*/{ALL_RECORDS}"))]
    wanted = (settings["suite"], settings["version"])
    for folder in found:
        if (folder.settings["suite"], folder.settings["version"]) == wanted:
            return folder
    there = ", ".join(f"{f.settings['suite']} v{f.settings['version']}" for f in found)
    raise ValueError(
        f"There are no standings of {wanted[0]} v{wanted[1]}, only of {there or 'no suite'}"
    )


def join(
    folder: RunFolder, others: Sequence[str | Path] = (), agents: Sequence[str] = ()
) -> tuple[DataFrame, dict[str, Any]]:
    """Return the records of a folder together with those of others, and the settings of all.

    Args:
        folder: Result folder.
        others: Folders of the same suite and prompts, or "standings".
        agents: Agents that are wanted; none given: all.

    Returns:
        A frame of `RunFolder.frame` and settings with the agents of all. An agent whose name is
        taken by an earlier folder is called `<agent> (<folder>)`.

    Raises:
        RunFolderError: If a folder has other settings, each of which is named, or no results.
        ValueError: If there are no such standings, or an agent has no results.
    """
    import pandas as pd

    frames, meanings = [folder.frame()], dict(folder.settings["agents"])
    for name in map(str, others):
        other = standings(folder.settings) if name == STANDINGS else RunFolder(name)
        found = [
            f"  {key}: {json.dumps(folder.settings.get(key))} and {json.dumps(value)}"
            for key, value in other.settings.items()
            if key not in _OWN and folder.settings.get(key) != value
        ]
        if found:
            raise RunFolderError(
                f"Results of {folder.path} and {other.path} cannot be compared, as the second has "
                "other settings than the first:\n" + "\n".join(found)
            )
        title = name if name == STANDINGS else other.path.name
        new = {a: f"{a} ({title})" if a in meanings else a for a in other.settings["agents"]}
        meanings |= {new[agent]: meaning for agent, meaning in other.settings["agents"].items()}
        frame = other.frame()
        frames.append(frame.assign(agent=frame["agent"].map(lambda a, new=new: new.get(a, a))))
    joined = pd.concat(frames, ignore_index=True)
    there = sorted(joined["agent"].unique())
    if missing := sorted(set(agents) - set(there)):
        raise ValueError(
            f"There are no results of the agents {', '.join(missing)}, only of {', '.join(there)}"
        )
    if agents:
        joined = joined[joined["agent"].isin(list(agents))]
    return joined, folder.settings | {"agents": meanings}
