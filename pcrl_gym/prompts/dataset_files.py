"""Reading rows from dataset files and folders, without interpreting their keys."""

from __future__ import annotations

import csv
import json
import re
import threading
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pcrl_gym.errors import DatasetError

SPLITS = ("train", "validation_seen", "validation_unseen", "validation_human")
"""Names of the splits; a dataset need not have all of them."""

SUFFIXES = (".json", ".jsonl", ".csv", ".parquet")
"""Extensions of the files that prompts can be read from."""

# `train`, `my_train`, and parts as named on the Hugging Face Hub: `train-00000-of-00002[-0123abcd]`
_SPLIT_FILE = re.compile(
    rf"(?P<stem>(?:.*[-_])?(?P<split>{'|'.join(SPLITS)}))"
    r"(?:-(?P<part>\d{5})-of-(?P<parts>\d{5})(?:-[0-9a-f]+)?)?"
)
_CSV_LIMIT = threading.Lock()


Table = tuple[str, list[Any]]
"""Name of a file in error messages, and its raw rows."""


def read_file(path: Path) -> Table:
    """Read the rows of a file.

    Raises:
        DatasetError: If the extension is not in `SUFFIXES` or the file cannot be read.
    """
    readers = dict(zip(SUFFIXES, (_read_json, _read_jsonl, _read_csv, _read_parquet), strict=True))
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise DatasetError(
            f"{path}: expected a file with one of the extensions {', '.join(SUFFIXES)}, got "
            f"{suffix!r}"
        )
    try:
        return str(path), list(readers[suffix](path))
    except UnicodeDecodeError as error:
        raise DatasetError(f"{path}: cannot be read: save it as UTF-8 ({error})") from error
    except (OSError, csv.Error) as error:
        raise DatasetError(f"{path}: cannot be read: {error}") from error


def read_folder(folder: Path, split: str) -> tuple[str, list[Table]]:
    """Read a split from a folder: its file, all its parts, or a dataset saved by `datasets`.

    Returns:
        The prefix of row IDs, and the rows of each file in order.

    Raises:
        DatasetError: If there is no such split, it cannot be read, there are several files that are
            not parts of one split, or a part is missing.
    """
    if _is_saved(folder):
        saved, name = _load_saved(folder), folder.resolve().name
        if None in saved:
            return name, [(str(folder), saved[None].to_list())]
        if split not in saved:
            raise DatasetError(f"{folder}: no split {split!r}, found {', '.join(map(str, saved))}")
        return f"{name}:{split}", [(f"{folder}: {split}", saved[split].to_list())]
    found = _split_files(folder)
    if split not in found:
        there = ", ".join(known for known in SPLITS if known in found) or "no split"
        raise DatasetError(
            f"{folder}: no file for split {split!r}, found {there}. Split files have names like "
            f"{split}.jsonl, my_{split}.json, or data/{split}-00000-of-00001.parquet "
            f"({', '.join(SUFFIXES)})"
        )
    paths, names = zip(*found[split], strict=True)
    listed = ", ".join(str(path.relative_to(folder)) for path in paths)
    if len({(p.parent, n["stem"], n["parts"], p.suffix) for p, n in found[split]}) > 1:
        raise DatasetError(
            f"{folder}: more than one file for split {split!r}: {listed}; pass one of them"
        )
    parts = int(names[0]["parts"] or 1)
    if [int(name["part"] or 0) for name in names] != list(range(parts)):
        raise DatasetError(f"{folder}: expected {parts} parts of split {split!r}, found {listed}")
    return names[0]["stem"], [read_file(path) for path in paths]


def folder_splits(folder: Path) -> Collection[str | None]:
    """Return the splits of a folder; None stands for a dataset saved without splits.

    Raises:
        DatasetError: If the folder of a saved dataset cannot be read.
    """
    return (_load_saved(folder) if _is_saved(folder) else _split_files(folder)).keys()


def _split_files(folder: Path) -> dict[str, list[tuple[Path, re.Match[str]]]]:
    """Find the files of each split in a folder and its subfolder `data`, sorted by name."""
    files: dict[str, list[tuple[Path, re.Match[str]]]] = {}
    for place in (folder, folder / "data"):
        for path in sorted(place.iterdir()) if place.is_dir() else ():
            name = _SPLIT_FILE.fullmatch(path.stem)
            if name and path.suffix.lower() in SUFFIXES and path.is_file():
                files.setdefault(name["split"], []).append((path, name))
    return files


def _is_saved(folder: Path) -> bool:
    return any((folder / name).is_file() for name in ("dataset_dict.json", "state.json"))


def _load_saved(folder: Path) -> dict[str | None, Any]:
    """Load the result of `save_to_disk`; a dataset without splits has the key None."""
    import datasets

    try:
        loaded = datasets.load_from_disk(str(folder))
    except (OSError, ValueError, LookupError, datasets.exceptions.DatasetsError) as error:
        raise DatasetError(f"{folder}: not a valid `save_to_disk` folder: {error}") from error
    return dict(loaded) if isinstance(loaded, datasets.DatasetDict) else {None: loaded}


def _read_json(path: Path) -> list[Any]:
    rows = _parse_json(path.read_text(encoding="utf-8-sig"), str(path))
    if not isinstance(rows, list):
        raise DatasetError(f"{path}: expected a list of objects, got {json_type(rows)}")
    return rows


def _read_jsonl(path: Path) -> Iterator[Any]:
    with path.open(encoding="utf-8-sig") as file:
        for number, line in enumerate(file, start=1):
            if line.strip():
                yield _parse_json(line, f"{path}: line {number}")


def _parse_json(text: str, place: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:  # ValueError also for integers with many digits
        hint = ""
        if isinstance(error, json.JSONDecodeError) and error.msg == "Extra data":
            hint = "; a file with one object per line needs the extension .jsonl"
        raise DatasetError(f"{place}: not valid JSON: {error}{hint}") from error


def _read_csv(path: Path) -> list[dict[str, Any]]:
    with long_cells(path), path.open(encoding="utf-8-sig", newline="") as file:
        delimiter = csv_delimiter(file.readline())
        file.seek(0)
        # Python 3.10 raises `csv.Error` for null characters, which the caller reports.
        return _records(path, csv.DictReader(file, delimiter=delimiter, strict=True))


def csv_delimiter(line: str) -> str:
    """Return the cell delimiter of a CSV file, given its first line."""
    return max(",;\t", key=line.count)


@contextmanager
def long_cells(path: Path) -> Iterator[None]:
    """Let the module `csv` read cells as long as the file for the duration of a block.

    The maximum cell length is a process-wide setting, so only one block can run at a time.
    """
    with _CSV_LIMIT:
        limit = csv.field_size_limit()
        csv.field_size_limit(max(limit, min(path.stat().st_size, 2**31 - 1)))
        try:
            yield
        finally:
            csv.field_size_limit(limit)


def _records(path: Path, reader: csv.DictReader[str]) -> list[dict[str, Any]]:
    reader.fieldnames = keys = [key.strip() for key in reader.fieldnames or ()]
    if twice := sorted({key for key in keys if key and keys.count(key) > 1}):
        raise DatasetError(f"{path}: the first line has the key {twice[0]!r} more than once")
    records = []
    for row, record in enumerate(reader):
        if any(cell.strip() for cell in record.pop(None, ())):
            raise DatasetError(
                f"{path}: row {row} has more cells than the first line has keys; cells that "
                'contain a comma must be quoted, "like, this"'
            )
        records.append(record)
    return records


def _read_parquet(path: Path) -> list[Any]:
    from pyarrow import ArrowException
    from pyarrow.parquet import read_table

    try:
        # Without partitioning, because folders named like `id=3` are not columns.
        return list(read_table(path, partitioning=None).to_pylist())
    except ArrowException as error:
        raise DatasetError(f"{path}: not valid Parquet: {error}") from error


def json_type(value: object) -> str:
    """Return the name of the JSON type of a value.

    Example:
        >>> json_type([1])
        'a list'
    """
    names = {dict: "an object", list: "a list", str: "a string", bool: "a boolean"}
    return "null" if value is None else names.get(type(value), "a number")
