"""Datasets: prompts from micro, from files and folders, and from the Hugging Face hub."""

from __future__ import annotations

import hashlib
import json
import os
import warnings
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pcrl_gym.errors import DatasetError, excerpt
from pcrl_gym.prompts.dataset_files import SPLITS as SPLITS
from pcrl_gym.prompts.dataset_files import (
    SUFFIXES,
    Table,
    is_saved_dataset,
    json_type,
    load_saved_dataset,
    read_file,
    read_split,
    split_files,
)
from pcrl_gym.prompts.dataset_rows import is_empty, read_row
from pcrl_gym.prompts.prompt import Prompt, text_problem

ALPACA_PLUS_URL = (
    "https://raw.githubusercontent.com/jayelm/gisting/"
    "af62a6448b3147c91e1b54ea04d6766192afd248/data/alpaca_plus"
)
GPTEACHER_ID = "teknium/GPTeacher-General-Instruct"


def read_prompts(
    dataset: str | os.PathLike[str] | Sequence[Prompt], split: str = "train"
) -> list[Prompt]:
    """Read the prompts of one split of any dataset that does not come with the package.

    See `pcrl_gym.load_prompts`, which knows those by name, too.
    """
    if split not in SPLITS:
        raise ValueError(f"split must be one of {', '.join(SPLITS)}, got {split!r}")
    if isinstance(dataset, Sequence) and not isinstance(dataset, str):
        return _check(dataset, "the sequence of prompts")
    if not isinstance(dataset, (str, os.PathLike)):
        raise DatasetError(
            "dataset must be a name, a path or a sequence of Prompt objects, got "
            f"{type(dataset).__name__}"
        )
    name = os.fspath(dataset)
    path = _path(name)
    if name == "alpaca_plus":
        return _load_file(_alpaca_plus_file(split))
    if name == "gpteacher":
        return _load_hub(GPTEACHER_ID, split)
    if name and path.is_dir():
        return _load_folder(path, split)
    if path.is_file():
        return _load_file(path)
    looks_like_a_path = path.suffix.lower() in SUFFIXES or path.is_absolute() or name[:1] in "~."
    if isinstance(dataset, os.PathLike) or looks_like_a_path:
        raise DatasetError(f"there is no file or folder {name!r} (in {Path.cwd()})")
    return _load_hub(name, split)


def read_splits(dataset: str | os.PathLike[str]) -> tuple[str, ...]:
    """Return which of `SPLITS` a dataset has; see `pcrl_gym.worlds.dataset_splits`."""
    name = os.fspath(dataset)
    path = _path(name)
    if name == "alpaca_plus":
        return SPLITS
    found: Collection[str | None]
    if name and path.is_dir():
        found = (load_saved_dataset(path) if is_saved_dataset(path) else split_files(path)).keys()
        if None in found:
            return ("train",)
    elif path.is_file():
        return ("train",)
    else:
        import datasets

        hub_id = GPTEACHER_ID if name == "gpteacher" else name
        try:
            found = datasets.get_dataset_split_names(hub_id)
        except (OSError, ValueError, RuntimeError, datasets.exceptions.DatasetsError) as error:
            raise DatasetError(
                f"cannot tell the splits of dataset {name!r}: there is no such file or folder, and "
                f"the Hugging Face hub says {error}"
            ) from error
    return tuple(split for split in SPLITS if split in found)


def dataset_checksum(prompts: Iterable[Prompt]) -> str:
    """Return the SHA-256 of the prompts as canonical JSON lines, in hexadecimal.

    Ids, all texts and the order count. Each line holds one prompt: keys sorted, no spaces,
    characters outside ASCII escaped, ended by a line feed.

    Example:
        >>> dataset_checksum([Prompt(id="0", instruction="Sort b a.")])[:12]
        '05cbdbbd0376'
    """
    digest = hashlib.sha256()
    for prompt in prompts:
        line = json.dumps(asdict(prompt), sort_keys=True, separators=(",", ":"))
        digest.update(line.encode() + b"\n")
    return digest.hexdigest()


def pick_evenly(count: int, limit: int | None) -> list[int]:
    """Return at most `limit` of `count` indices, spread evenly, the first one included.

    Files are often sorted by task; the first rows alone would be one task.

    Example:
        >>> pick_evenly(10, 3)
        [0, 3, 6]
        >>> pick_evenly(2, 5)
        [0, 1]
    """
    if limit is None or limit >= count:
        return list(range(count))
    return [place * count // limit for place in range(limit)]


def _path(name: str) -> Path:
    """Return the path that a name may be; it need not be there."""
    try:
        path = Path(name).expanduser()
        path.exists()
    except (OSError, RuntimeError) as error:
        raise DatasetError(
            f"{excerpt(name)!r} is no name, path or id of a dataset: {excerpt(str(error))}"
        ) from error
    return path


def _load_file(path: Path) -> list[Prompt]:
    return _prompts([read_file(path)], path.stem)


def _load_folder(folder: Path, split: str) -> list[Prompt]:
    if not is_saved_dataset(folder):
        stem, tables = read_split(folder, split)
        return _prompts(tables, stem)
    saved = load_saved_dataset(folder)
    name = folder.resolve().name
    if None in saved:
        return _prompts([Table(str(folder), saved[None].to_list())], name)
    if split not in saved:
        raise DatasetError(f"{folder}: no split {split!r}, found {', '.join(map(str, saved))}")
    return _prompts([Table(f"{folder}: {split}", saved[split].to_list())], f"{name}:{split}")


def _alpaca_plus_file(split: str) -> Path:
    """Return the local copy of an Alpaca+ file, downloading it if there is none."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    path = cache / "pcrl_gym" / "alpaca_plus" / f"alpaca_plus_{split}.json"
    if not path.is_file():
        from torch.hub import download_url_to_file

        path.parent.mkdir(parents=True, exist_ok=True)
        url = f"{ALPACA_PLUS_URL}/{path.name}"
        try:
            download_url_to_file(url, str(path))
        except OSError as error:
            raise DatasetError(
                f"cannot download {url} ({error}); get the file in another way and give "
                "its folder as dataset"
            ) from error
    return path


def _load_hub(name: str, split: str) -> list[Prompt]:
    """Load a split of a dataset on the Hugging Face hub."""
    import datasets

    try:
        loaded = datasets.load_dataset(name)
    except (OSError, ValueError, RuntimeError, datasets.exceptions.DatasetsError) as error:
        raise DatasetError(
            f"cannot load dataset {name!r} from the Hugging Face hub ({error}). A dataset is "
            "'micro', 'alpaca_plus', 'gpteacher', the path of a file or folder, or the id of a "
            "dataset on the hub that can be reached"
        ) from error
    if split not in loaded:
        raise DatasetError(f"dataset {name!r} has no split {split!r}, it has {', '.join(loaded)}")
    rows = loaded[split].to_list()
    return _prompts([Table(name, rows)], f"{name.rsplit('/', 1)[-1]}:{split}")


def _prompts(tables: Sequence[Table], stem: str) -> list[Prompt]:
    """Validate rows and turn them into prompts; `stem` stands in ids."""
    prompts: list[Prompt] = []
    cut = 0
    for origin, rows in tables:
        for number, row in enumerate(rows):
            place = f"{origin}: row {number} (the first is 0)"
            if not isinstance(row, dict):
                raise DatasetError(f"{place}: expected an object, got {json_type(row)}")
            try:
                texts, has_later_turns = read_row(row)
            except ValueError as error:
                raise DatasetError(f"{place}: {error}") from error
            cut += has_later_turns
            row_id: Any = row.get("id")
            if isinstance(row_id, int) and not isinstance(row_id, bool):
                row_id = str(row_id)
            if row_id is None or row_id == "":
                row_id = f"{stem}:{len(prompts)}"
            if problem := text_problem(row_id):
                raise DatasetError(f"{place}: key 'id' {problem}")
            prompts.append(Prompt(id=row_id, **texts))
    if cut:
        warnings.warn(
            f"{stem}: {cut} of {len(prompts)} rows are conversations of several turns, of which "
            "the first alone is read",
            stacklevel=5,
        )
    return _check(prompts, tables[0].origin)


def _check(prompts: Sequence[Prompt], origin: str) -> list[Prompt]:
    """Return the prompts as a list if there are any and all ids differ."""
    for prompt in prompts:
        if not isinstance(prompt, Prompt):
            raise DatasetError(
                f"{origin}: expected Prompt objects, got {type(prompt).__name__}; or give a path"
            )
        if is_empty(prompt.instruction, prompt.input):
            raise DatasetError(
                f"{origin}: prompt {prompt.id!r} is empty: give it an instruction or an input"
            )
    if not prompts:
        raise DatasetError(f"{origin}: there are no prompts in it")
    most_common, count = Counter(prompt.id for prompt in prompts).most_common(1)[0]
    if count > 1:
        raise DatasetError(f"{origin}: key 'id': {count} rows have the id {most_common!r}")
    return list(prompts)
