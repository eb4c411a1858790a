"""Datasets: prompts from files and folders, from the Hugging Face Hub, and by name."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from pcrl_gym.errors import DatasetError, excerpt
from pcrl_gym.prompts.dataset_files import SPLITS as SPLITS
from pcrl_gym.prompts.dataset_files import SUFFIXES, Table, folder_splits, read_file, read_folder
from pcrl_gym.prompts.dataset_rows import check_columns, check_prompts, prompts_from_rows
from pcrl_gym.prompts.prompt import Prompt
from pcrl_gym.storage.user_cache import user_cache

NAMES = ("micro", "instruct", "alpaca_plus", "gpteacher")
"""Names of built-in datasets; the first is generated, the others are read here."""

ALPACA_PLUS_URL = (
    "https://raw.githubusercontent.com/jayelm/gisting/"
    "af62a6448b3147c91e1b54ea04d6766192afd248/data/alpaca_plus"
)
GPTEACHER_ID = "teknium/GPTeacher-General-Instruct"


def read_prompts(
    dataset: str | os.PathLike[str] | Sequence[Prompt],
    split: str = "train",
    columns: Mapping[str, str] | None = None,
) -> list[Prompt]:
    """Read one split of any dataset other than micro and instruct; see `load_prompts`."""
    if split not in SPLITS:
        raise ValueError(f"split must be one of {', '.join(SPLITS)}, got {split!r}")
    check_columns(columns or {})
    if isinstance(dataset, Sequence) and not isinstance(dataset, str):
        return check_prompts(dataset, "the sequence of prompts")
    if not isinstance(dataset, (str, os.PathLike)):
        raise DatasetError(
            "dataset must be a name, a path, or a sequence of Prompt objects, got "
            f"{type(dataset).__name__}"
        )
    name = os.fspath(dataset)
    path = _alpaca_plus_file(split) if name == "alpaca_plus" else _path(name)
    looks_like_a_path = path.suffix.lower() in SUFFIXES or path.is_absolute() or name[:1] in "~."
    if name == "gpteacher":
        stem, tables = _read_hub(GPTEACHER_ID, split)
    elif path.is_file():
        stem, tables = path.stem, [read_file(path)]
    elif name and path.is_dir():
        stem, tables = read_folder(path, split)
    elif isinstance(dataset, os.PathLike) or looks_like_a_path:
        raise DatasetError(f"there is no file or folder {name!r} (in {Path.cwd()})")
    else:
        stem, tables = _read_hub(name, split)
    return prompts_from_rows(stem, tables, columns)


def read_splits(dataset: str | os.PathLike[str]) -> tuple[str, ...]:
    """Return which of `SPLITS` a dataset has; see `pcrl_gym.named_datasets.dataset_splits`."""
    name = os.fspath(dataset)
    path = _path(name)
    if name == "alpaca_plus":
        return SPLITS
    if path.is_file():
        return ("train",)
    found: Collection[str | None]
    if name and path.is_dir():
        found = folder_splits(path)
    else:
        import datasets

        hub_id = GPTEACHER_ID if name == "gpteacher" else name
        try:
            found = datasets.get_dataset_split_names(hub_id)
        except (OSError, ValueError, RuntimeError, datasets.exceptions.DatasetsError) as error:
            raise DatasetError(
                f"cannot find the splits of dataset {name!r}: there is no such file or folder, and "
                f"the Hugging Face Hub reports {error}"
            ) from error
    return ("train",) if None in found else tuple(split for split in SPLITS if split in found)


def dataset_checksum(prompts: Iterable[Prompt]) -> str:
    """Return the hexadecimal SHA-256 of the prompts as canonical JSON lines.

    It depends on the IDs, all texts, and the order. Each line holds one prompt with sorted keys,
    `check` only if nonempty, no spaces, escaped non-ASCII characters, and a trailing line feed.

    Example:
        >>> dataset_checksum([Prompt(id="0", instruction="Sort b a.")])[:12]
        '05cbdbbd0376'
    """
    digest = hashlib.sha256()
    for prompt in prompts:
        fields = {name: text for name, text in asdict(prompt).items() if text or name != "check"}
        line = json.dumps(fields, sort_keys=True, separators=(",", ":"))
        digest.update(line.encode() + b"\n")
    return digest.hexdigest()


def pick_evenly(count: int, limit: int | None) -> list[int]:
    """Return at most `limit` evenly spaced indices below `count`, starting with 0.

    Files are often sorted by task, so the first rows would cover only one task.

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
    """Return a name as a path, which need not exist."""
    try:
        path = Path(name).expanduser()
        path.exists()
        return path
    except (OSError, RuntimeError) as error:
        raise DatasetError(
            f"{excerpt(name)!r} is not a dataset name, path, or id: {excerpt(str(error))}"
        ) from error


def _alpaca_plus_file(split: str) -> Path:
    """Return the local copy of an Alpaca+ file, downloading it if necessary."""
    path = user_cache() / "alpaca_plus" / f"alpaca_plus_{split}.json"
    if not path.is_file():
        from torch.hub import download_url_to_file

        path.parent.mkdir(parents=True, exist_ok=True)
        url = f"{ALPACA_PLUS_URL}/{path.name}"
        try:
            download_url_to_file(url, str(path))
        except OSError as error:
            raise DatasetError(
                f"cannot download {url} ({error}); download the file another way and pass its "
                "folder as dataset"
            ) from error
    return path


def _read_hub(name: str, split: str) -> tuple[str, list[Table]]:
    """Read a split of a dataset on the Hugging Face Hub; see `read_folder`."""
    import datasets

    try:
        loaded = datasets.load_dataset(name)
    except (OSError, ValueError, RuntimeError, datasets.exceptions.DatasetsError) as error:
        raise DatasetError(
            f"cannot load dataset {name!r} from the Hugging Face Hub ({error}). A dataset is "
            f"{', '.join(map(repr, NAMES))}, the path of a file or folder, or the id of an "
            "accessible dataset on the Hub"
        ) from error
    if split not in loaded:
        raise DatasetError(f"dataset {name!r} has no split {split!r}, only {', '.join(loaded)}")
    return f"{name.rsplit('/', 1)[-1]}:{split}", [(name, loaded[split].to_list())]
