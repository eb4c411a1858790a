"""Datasets: prompts from micro, from files and folders, and from the Hugging Face hub."""

from __future__ import annotations

import csv
import hashlib
import json
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pcrl_gym.errors import DatasetError
from pcrl_gym.prompt import Prompt, text_problem

SPLITS = ("train", "validation_seen", "validation_unseen", "validation_human")
"""Names of the splits; a dataset need not have all of them."""

SUFFIXES = (".json", ".jsonl", ".csv", ".parquet")
"""Extensions of the files that prompts can be read from."""

ALPACA_PLUS_URL = (
    "https://raw.githubusercontent.com/jayelm/gisting/"
    "af62a6448b3147c91e1b54ea04d6766192afd248/data/alpaca_plus"
)
GPTEACHER_ID = "teknium/GPTeacher-General-Instruct"

_OPTIONAL_KEYS = ("input", "output", "source")


def load_prompts(
    dataset: str | os.PathLike[str] | Sequence[Prompt], split: str = "train"
) -> list[Prompt]:
    """Load the prompts of one split.

    A row has the key `instruction` and may have `input`, `output` (the gold answer), `source` and
    `id`, all strings; other keys are ignored, and a null counts as absent, except as instruction.
    The id of a row without one is `{file stem}:{row}`, the first row being 0.

    Args:
        dataset: One of

            * `"micro"`, the dataset that comes with the package;
            * `"alpaca_plus"`, downloaded once from its repository, or `"gpteacher"`, from the hub;
            * the path of a `.json` file (a list of rows), `.jsonl` (a row per line), `.csv` (keys
              in the first line; Python 3.10 reads no null characters) or `.parquet`. A file has
              no splits: it serves whichever is asked for;
            * a folder with a file per split, whose name without extension is the split or ends
              with it: `train.jsonl`, `alpaca_plus_validation_seen.json`;
            * the id of a dataset on the Hugging Face hub;
            * a sequence of `Prompt`, which serves whichever split is asked for.
        split: One of `SPLITS`.

    Returns:
        The prompts in the order of the dataset, at least one, with distinct ids.

    Raises:
        ValueError: If the split is unknown.
        DatasetError: If the dataset or the split cannot be found or read, is empty, or has a row
            that breaks the schema; the message names file, row and key.
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
    path = Path(name).expanduser()
    if name == "micro":
        from pcrl_gym.micro import micro_prompts

        return micro_prompts(split)
    if name == "alpaca_plus":
        return _load_file(_alpaca_plus_file(split))
    if name == "gpteacher":
        return _load_hub(GPTEACHER_ID, split, renamed={"response": "output"})
    if name and path.is_dir():
        return _load_file(_split_file(path, split))
    if path.is_file():
        return _load_file(path)
    looks_like_a_path = path.suffix.lower() in SUFFIXES or path.is_absolute() or name[:1] in "~."
    if isinstance(dataset, os.PathLike) or looks_like_a_path:
        raise DatasetError(f"there is no file or folder {name!r} (in {Path.cwd()})")
    return _load_hub(name, split, renamed={})


def dataset_splits(dataset: str | os.PathLike[str]) -> tuple[str, ...]:
    """Return which of `SPLITS` a dataset has.

    A single file serves every split with the same prompts: it counts as "train" alone.

    Args:
        dataset: A name, path or id as in `load_prompts`.

    Raises:
        DatasetError: If there is no such dataset.
    """
    name = os.fspath(dataset)
    path = Path(name).expanduser()
    if name in ("micro", "alpaca_plus"):
        return SPLITS
    found: Iterable[str]
    if name and path.is_dir():
        found = _split_files(path)
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


def _load_file(path: Path) -> list[Prompt]:
    readers = {".json": _read_json, ".jsonl": _read_jsonl, ".csv": _read_csv}
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise DatasetError(
            f"{path}: prompts are read from {', '.join(SUFFIXES)} files, not from {suffix!r}"
        )
    try:
        rows = list(readers.get(suffix, _read_parquet)(path))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DatasetError(f"{path}: cannot be read: {error}") from error
    return _prompts(rows, str(path), path.stem)


def _read_json(path: Path) -> list[Any]:
    try:
        rows = json.loads(path.read_text(encoding="utf-8-sig"))
    except json.JSONDecodeError as error:
        hint = "; a file with one object per line needs the extension .jsonl"
        raise DatasetError(
            f"{path}: no valid JSON: {error}{hint if error.msg == 'Extra data' else ''}"
        ) from error
    if not isinstance(rows, list):
        raise DatasetError(f"{path}: expected a list of objects, got {_json_type(rows)}")
    return rows


def _read_jsonl(path: Path) -> Iterator[Any]:
    with path.open(encoding="utf-8-sig") as file:
        for number, line in enumerate(file, start=1):
            if line.strip():
                try:
                    yield json.loads(line)
                except json.JSONDecodeError as error:
                    raise DatasetError(
                        f"{path}: line {number} is no valid JSON: {error}"
                    ) from error


def _read_csv(path: Path) -> Iterator[dict[str | None, Any]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        # Python 3.10 refuses null characters: `csv.Error`, which the caller explains.
        for row, record in enumerate(csv.DictReader(file, strict=True)):
            if None in record:
                raise DatasetError(
                    f"{path}: row {row} has more cells than the first line has keys; cells that "
                    'hold a comma must be quoted, "like, this"'
                )
            yield record


def _read_parquet(path: Path) -> list[Any]:
    from pyarrow import ArrowException
    from pyarrow.parquet import read_table

    try:
        rows: list[Any] = read_table(path).to_pylist()
    except ArrowException as error:
        raise DatasetError(f"{path}: no valid Parquet: {error}") from error
    return rows


def _split_files(folder: Path) -> dict[str, list[Path]]:
    """Find the files of each split in a folder; more than one of a split is a mistake."""
    files: dict[str, list[Path]] = {}
    for path in sorted(folder.iterdir()):
        if path.is_file() and path.suffix.lower() in SUFFIXES:
            for known in SPLITS:
                if path.stem == known or path.stem.endswith((f"_{known}", f"-{known}")):
                    files.setdefault(known, []).append(path)
    return files


def _split_file(folder: Path, split: str) -> Path:
    """Find the file of a split in a folder."""
    files = _split_files(folder)
    if split not in files:
        found = ", ".join(known for known in SPLITS if known in files) or "no split"
        raise DatasetError(
            f"{folder}: no file of split {split!r}, found {found}. A split file is called like "
            f"{split}.jsonl or my_{split}.json ({', '.join(SUFFIXES)})"
        )
    if len(files[split]) > 1:
        names = ", ".join(path.name for path in files[split])
        raise DatasetError(f"{folder}: more than one file of split {split!r}: {names}; give one")
    return files[split][0]


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


def _load_hub(name: str, split: str, renamed: Mapping[str, str]) -> list[Prompt]:
    """Load a split of a dataset on the Hugging Face hub; `renamed` maps its keys to ours."""
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
    rows = [{renamed.get(key, key): value for key, value in row.items()} for row in loaded[split]]
    return _prompts(rows, name, f"{name.rsplit('/', 1)[-1]}:{split}")


def _prompts(rows: Sequence[Any], origin: str, stem: str) -> list[Prompt]:
    """Validate rows and turn them into prompts; `origin` stands in messages, `stem` in ids."""
    prompts = []
    for number, row in enumerate(rows):
        place = f"{origin}: row {number} (the first is 0)"
        if not isinstance(row, dict):
            raise DatasetError(f"{place}: expected an object, got {_json_type(row)}")
        if "instruction" not in row:
            keys = ", ".join(map(str, row)) or "none"
            raise DatasetError(f"{place}: key 'instruction' is missing; the row has {keys}")
        texts = {"instruction": row["instruction"]}
        texts |= {key: row[key] for key in _OPTIONAL_KEYS if row.get(key) is not None}
        row_id = row.get("id")
        if row_id is not None and not isinstance(row_id, bool):
            texts["id"] = str(row_id) if isinstance(row_id, int) else row_id
        for key, value in texts.items():
            problem = text_problem(value)
            if problem:
                raise DatasetError(f"{place}: key {key!r} {problem}")
        prompts.append(Prompt(**{"id": f"{stem}:{number}", **texts}))
    return _check(prompts, origin)


def _check(prompts: Sequence[Prompt], origin: str) -> list[Prompt]:
    """Return the prompts as a list if there are any and all ids differ."""
    for prompt in prompts:
        if not isinstance(prompt, Prompt):
            raise DatasetError(
                f"{origin}: expected Prompt objects, got {type(prompt).__name__}; or give a path"
            )
    if not prompts:
        raise DatasetError(f"{origin}: there are no prompts in it")
    most_common, count = Counter(prompt.id for prompt in prompts).most_common(1)[0]
    if count > 1:
        raise DatasetError(f"{origin}: key 'id': {count} rows have the id {most_common!r}")
    return list(prompts)


def _json_type(value: object) -> str:
    names = {dict: "an object", list: "a list", str: "a string", bool: "a boolean"}
    return "null" if value is None else names.get(type(value), "a number")
