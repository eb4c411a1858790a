"""Files and folders that hold datasets: from a path to rows, whatever their keys mean."""

from __future__ import annotations

import csv
import json
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from pcrl_gym.errors import DatasetError

SPLITS = ("train", "validation_seen", "validation_unseen", "validation_human")
"""Names of the splits; a dataset need not have all of them."""

SUFFIXES = (".json", ".jsonl", ".csv", ".parquet")
"""Extensions of the files that prompts can be read from."""

# `train`, `my_train`, and as the Hugging Face hub names parts: `train-00000-of-00002[-0123abcd]`.
_SPLIT_FILE = re.compile(
    rf"(?P<stem>(?:.*[-_])?(?P<split>{'|'.join(SPLITS)}))"
    r"(?:-(?P<part>\d{5})-of-(?P<parts>\d{5})(?:-[0-9a-f]+)?)?"
)
_CSV_LIMIT = threading.Lock()


class Table(NamedTuple):
    """Rows of one file.

    Attributes:
        origin: What error messages call the file.
        rows: Its rows, as they were read.
    """

    origin: str
    rows: list[Any]


def read_file(path: Path) -> Table:
    """Read the rows of a file.

    Raises:
        DatasetError: If it has none of `SUFFIXES` or cannot be read.
    """
    readers = {".json": _read_json, ".jsonl": _read_jsonl, ".csv": _read_csv}
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise DatasetError(
            f"{path}: prompts are read from {', '.join(SUFFIXES)} files, not from {suffix!r}"
        )
    try:
        return Table(str(path), list(readers.get(suffix, _read_parquet)(path)))
    except UnicodeDecodeError as error:
        raise DatasetError(f"{path}: cannot be read: save it as UTF-8 ({error})") from error
    except (OSError, csv.Error) as error:
        raise DatasetError(f"{path}: cannot be read: {error}") from error


class SplitFile(NamedTuple):
    """A file whose name says which split it holds, or which part of one.

    Attributes:
        path: Where it lies.
        stem: Its name without extension and part.
        part: Which part it is, from 0 on.
        parts: Number of parts.
    """

    path: Path
    stem: str
    part: int
    parts: int


def split_files(folder: Path) -> dict[str, list[SplitFile]]:
    """Find the files of each split in a folder and in its folder `data`, sorted by name."""
    files: dict[str, list[SplitFile]] = {}
    for place in (folder, folder / "data"):
        for path in sorted(place.iterdir()) if place.is_dir() else ():
            name = _SPLIT_FILE.fullmatch(path.stem)
            if name and path.suffix.lower() in SUFFIXES and path.is_file():
                part, parts = int(name["part"] or 0), int(name["parts"] or 1)
                files.setdefault(name["split"], []).append(
                    SplitFile(path, name["stem"], part, parts)
                )
    return files


def read_split(folder: Path, split: str) -> tuple[str, list[Table]]:
    """Read the file of a split in a folder, or all its parts.

    Returns:
        The name of the file without extension and part, and the rows of each part in order.

    Raises:
        DatasetError: If there is no file, more than one that are not the parts of one, or a part
            is missing.
    """
    found = split_files(folder)
    if split not in found:
        there = ", ".join(known for known in SPLITS if known in found) or "no split"
        raise DatasetError(
            f"{folder}: no file of split {split!r}, found {there}. A split file is called like "
            f"{split}.jsonl, my_{split}.json or data/{split}-00000-of-00001.parquet "
            f"({', '.join(SUFFIXES)})"
        )
    files = found[split]
    names = ", ".join(str(file.path.relative_to(folder)) for file in files)
    if len({(file.path.parent, file.stem, file.parts, file.path.suffix) for file in files}) > 1:
        raise DatasetError(f"{folder}: more than one file of split {split!r}: {names}; give one")
    parts = files[0].parts
    if [file.part for file in files] != list(range(parts)):
        raise DatasetError(f"{folder}: expected {parts} parts of split {split!r}, found {names}")
    return files[0].stem, [read_file(file.path) for file in files]


def is_saved_dataset(folder: Path) -> bool:
    """Return whether a folder was written by `save_to_disk` of the library `datasets`."""
    return any((folder / name).is_file() for name in ("dataset_dict.json", "state.json"))


def load_saved_dataset(folder: Path) -> dict[str | None, Any]:
    """Open what `save_to_disk` wrote.

    Returns:
        The `datasets.Dataset` of each split; under None one that was saved without splits.

    Raises:
        DatasetError: If it cannot be read.
    """
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
    except (ValueError, RecursionError) as error:  # ValueError: an integer of too many digits, too
        hint = ""
        if isinstance(error, json.JSONDecodeError) and error.msg == "Extra data":
            hint = "; a file with one object per line needs the extension .jsonl"
        raise DatasetError(f"{place}: not valid JSON: {error}{hint}") from error


def _read_csv(path: Path) -> list[dict[str, Any]]:
    # The longest cell that is read is a setting of the whole process.
    with _CSV_LIMIT:
        limit = csv.field_size_limit()
        csv.field_size_limit(max(limit, min(path.stat().st_size, 2**31 - 1)))
        try:
            with path.open(encoding="utf-8-sig", newline="") as file:
                delimiter = max(",;\t", key=file.readline().count)
                file.seek(0)
                # Python 3.10 refuses null characters: `csv.Error`, which the caller explains.
                return _records(path, csv.DictReader(file, delimiter=delimiter, strict=True))
        finally:
            csv.field_size_limit(limit)


def _records(path: Path, reader: csv.DictReader[str]) -> list[dict[str, Any]]:
    keys = [key.strip() for key in reader.fieldnames or ()]
    reader.fieldnames = keys
    if twice := sorted({key for key in keys if key and keys.count(key) > 1}):
        raise DatasetError(f"{path}: the first line has more than one key {twice[0]!r}")
    records = []
    for row, record in enumerate(reader):
        if any(cell.strip() for cell in record.pop(None, ())):
            raise DatasetError(
                f"{path}: row {row} has more cells than the first line has keys; cells that "
                'hold a comma must be quoted, "like, this"'
            )
        records.append(record)
    return records


def _read_parquet(path: Path) -> list[Any]:
    from pyarrow import ArrowException
    from pyarrow.parquet import read_table

    try:
        # Without partitioning: folders called `id=3` are no columns.
        rows: list[Any] = read_table(path, partitioning=None).to_pylist()
    except ArrowException as error:
        raise DatasetError(f"{path}: not valid Parquet: {error}") from error
    return rows


def json_type(value: object) -> str:
    """Return what JSON calls a value.

    Example:
        >>> json_type([1])
        'a list'
    """
    names = {dict: "an object", list: "a list", str: "a string", bool: "a boolean"}
    return "null" if value is None else names.get(type(value), "a number")
