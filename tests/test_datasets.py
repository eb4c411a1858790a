from __future__ import annotations

import csv
import json
import sys
from pathlib import Path

import datasets as hub
import pytest

from pcrl_gym import datasets
from pcrl_gym.datasets import dataset_checksum, dataset_splits, load_prompts, pick_evenly
from pcrl_gym.errors import DatasetError
from pcrl_gym.prompt import Prompt
from texts import NASTY_TEXTS

ROWS = [
    {"instruction": "Sort.", "input": "b a", "output": "a b", "source": "sort", "other": 3},
    {"instruction": 'Sing, "please".\nLoudly! 🙂'},
    {"instruction": "", "input": None, "output": None},
]
PROMPTS = [
    Prompt(id="rows:0", instruction="Sort.", input="b a", output="a b", source="sort"),
    Prompt(id="rows:1", instruction='Sing, "please".\nLoudly! 🙂'),
    Prompt(id="rows:2", instruction=""),
]


def write(path: Path, rows: list[dict[str, object]]) -> Path:
    if path.suffix == ".json":
        path.write_text(json.dumps(rows, ensure_ascii=False), encoding="utf-8")
    elif path.suffix == ".jsonl":
        lines = [json.dumps(row) for row in rows]
        path.write_text("\ufeff" + "\n\n".join(lines) + "\n", encoding="utf-8")
    elif path.suffix == ".csv":
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
    else:
        hub.Dataset.from_list(rows).to_parquet(path)
    return path


@pytest.mark.parametrize("suffix", [".json", ".jsonl", ".csv", ".parquet"])
def test_files(tmp_path: Path, suffix: str) -> None:
    path = write(tmp_path / f"rows{suffix}", ROWS)
    assert load_prompts(path, "train") == PROMPTS
    assert load_prompts(str(path), "validation_human") == PROMPTS


@pytest.mark.parametrize("suffix", [".json", ".jsonl", ".csv", ".parquet"])
def test_nasty_texts_come_through(tmp_path: Path, suffix: str) -> None:
    # A lone carriage return would end a line of a CSV file for some readers; quoted it must not.
    no_null = suffix == ".csv" and sys.version_info < (3, 11)
    texts = [text for text in NASTY_TEXTS if not (no_null and "\x00" in text)]
    rows = [{"instruction": text, "input": text} for text in texts]
    prompts = load_prompts(write(tmp_path / f"rows{suffix}", rows))
    assert [(prompt.instruction, prompt.input) for prompt in prompts] == [
        (text, text) for text in texts
    ]


@pytest.mark.skipif(sys.version_info >= (3, 11), reason="later versions read null characters")
def test_null_characters_in_csv_are_an_error_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_bytes(b"instruction\na\x00b\n")
    with pytest.raises(DatasetError, match=r"rows\.csv: cannot be read: line contains NUL"):
        load_prompts(path)


def test_suffix_in_capitals(tmp_path: Path) -> None:
    path = write(tmp_path / "rows.json", ROWS)
    assert load_prompts(path.rename(tmp_path / "rows.JSON")) == PROMPTS


def test_ids_of_rows_are_used(tmp_path: Path) -> None:
    rows = [{"id": 7, "instruction": "a"}, {"id": "x", "instruction": "b"}, {"instruction": "c"}]
    prompts = load_prompts(write(tmp_path / "rows.json", rows))
    assert [prompt.id for prompt in prompts] == ["7", "x", "rows:2"]


def test_folder_of_split_files(tmp_path: Path) -> None:
    for name in ("train.jsonl", "alpaca_plus_validation_seen.json", "my-validation_human.csv"):
        write(tmp_path / name, [{"instruction": name}])
    (tmp_path / "README.md").write_text("train")
    write(tmp_path / "constrain.json", ROWS)
    for split, name in [
        ("train", "train.jsonl"),
        ("validation_seen", "alpaca_plus_validation_seen.json"),
        ("validation_human", "my-validation_human.csv"),
    ]:
        [prompt] = load_prompts(tmp_path, split)
        assert prompt.instruction == name
        assert prompt.id == f"{Path(name).stem}:0"
    with pytest.raises(
        DatasetError,
        match="'validation_unseen', found train, validation_seen, validation_human",
    ):
        load_prompts(tmp_path, "validation_unseen")


def test_a_folder_of_alpaca_plus_has_all_four_splits(tmp_path: Path) -> None:
    for split in datasets.SPLITS:
        write(tmp_path / f"alpaca_plus_{split}.json", [{"instruction": split, "output": "yes"}])
    assert dataset_splits(tmp_path) == datasets.SPLITS
    for split in datasets.SPLITS:
        [prompt] = load_prompts(tmp_path, split)
        assert (prompt.instruction, prompt.id) == (split, f"alpaca_plus_{split}:0")


def test_splits_of_a_dataset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert dataset_splits("micro") == dataset_splits("alpaca_plus") == datasets.SPLITS
    file = write(tmp_path / "validation_seen.json", ROWS)
    assert dataset_splits(file) == ("train",)
    assert dataset_splits(tmp_path) == ("validation_seen",)
    asked = []
    monkeypatch.setattr(
        hub, "get_dataset_split_names", lambda name: asked.append(name) or ["test", "train"]
    )
    assert dataset_splits("some/set") == dataset_splits("gpteacher") == ("train",)
    assert asked == ["some/set", datasets.GPTEACHER_ID]


def test_splits_of_a_dataset_that_is_not_there() -> None:
    with pytest.raises(DatasetError, match="cannot tell the splits of dataset 'nobody/nothing'"):
        dataset_splits("nobody/nothing")


def test_folder_with_two_files_of_a_split(tmp_path: Path) -> None:
    write(tmp_path / "train.json", ROWS)
    write(tmp_path / "train.jsonl", ROWS)
    with pytest.raises(DatasetError, match=r"more than one .* train\.json, train\.jsonl"):
        load_prompts(tmp_path)


def test_folder_without_splits(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="found no split"):
        load_prompts(tmp_path)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"input": "a"}, "key 'instruction' is missing; the row has input"),
        ({}, "key 'instruction' is missing; the row has none"),
        ({"instruction": None}, "key 'instruction' must be a string, got NoneType"),
        ({"instruction": 3}, "key 'instruction' must be a string, got int"),
        ({"instruction": "a", "input": ["b"]}, "key 'input' must be a string, got list"),
        ({"instruction": "a", "output": 1.5}, "key 'output' must be a string, got float"),
        ({"instruction": "a", "source": True}, "key 'source' must be a string, got bool"),
        ({"instruction": "a", "id": ["b"]}, "key 'id' must be a string, got list"),
        ({"instruction": "a\ud83d"}, "key 'instruction' is no valid Unicode: half a surrogate"),
        (["a"], "expected an object, got a list"),
        (None, "expected an object, got null"),
    ],
)
@pytest.mark.parametrize("suffix", [".json", ".jsonl"])
def test_rows_that_break_the_schema(tmp_path: Path, row: object, message: str, suffix: str) -> None:
    path = tmp_path / f"rows{suffix}"
    lines = [json.dumps(item) for item in [*ROWS, row]]
    path.write_text(f"[{','.join(lines)}]" if suffix == ".json" else "\n".join(lines))
    with pytest.raises(DatasetError) as caught:
        load_prompts(path)
    assert str(caught.value).startswith(f"{path}: row 3 (the first is 0): ")
    assert message in str(caught.value)
    assert isinstance(caught.value, ValueError)


def test_ids_that_are_not_unique(tmp_path: Path) -> None:
    path = write(tmp_path / "rows.json", [{"id": "x", "instruction": text} for text in "ab"])
    with pytest.raises(DatasetError, match="key 'id': 2 rows have the id 'x'"):
        load_prompts(path)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.json", b"", "no valid JSON"),
        ("a.json", b"[]", "no prompts"),
        ("a.json", b'{"train": []}', "expected a list of objects, got an object"),
        ("a.json", b'{"instruction": "a"}\n{"instruction": "b"}', r"needs the extension \.jsonl"),
        ("a.json", b"\xff\xfe", "cannot be read"),
        ("a.jsonl", b"\n", "no prompts"),
        ("a.jsonl", b'{"instruction": "a"}\n\n{oops', "line 3 is no valid JSON"),
        ("a.csv", b"", "no prompts"),
        ("a.csv", b"instruction,input\n", "no prompts"),
        ("a.csv", b"instruction\na,b\n", "row 0 has more cells"),
        ("a.csv", b'instruction\n"a', "cannot be read"),
        ("a.csv", b"text\na\n", "row 0 .*'instruction' is missing; the row has text"),
        ("a.parquet", b"PAR1", "no valid Parquet"),
        ("a.txt", b"a", r"read from \.json, \.jsonl, \.csv, \.parquet files, not from '\.txt'"),
    ],
)
def test_files_that_cannot_be_used(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(DatasetError, match=message) as caught:
        load_prompts(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("name", ["", "nowhere.json", "./nowhere", "/nowhere", "~/nowhere-at-all"])
def test_paths_that_are_not_there(name: str) -> None:
    with pytest.raises(DatasetError, match="there is no file or folder"):
        load_prompts(name)


def test_unknown_split() -> None:
    with pytest.raises(ValueError, match="split must be one of train, validation_seen"):
        load_prompts(PROMPTS, "test")


def test_prompts_serve_any_split() -> None:
    for split in datasets.SPLITS:
        assert load_prompts(tuple(PROMPTS), split) == PROMPTS


@pytest.mark.parametrize(
    ("prompts", "message"),
    [
        ([], "no prompts"),
        (["Sort."], "got str"),
        (PROMPTS * 2, "2 rows have the id"),
        (3, "got int"),
    ],
)
def test_sequences_that_cannot_be_used(prompts: list[Prompt], message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        load_prompts(prompts)


def test_hub_dataset(monkeypatch: pytest.MonkeyPatch) -> None:
    table = hub.Dataset.from_list([{"instruction": "a", "input": "b", "response": "c"}])
    loaded = hub.DatasetDict(train=table)
    asked = []
    monkeypatch.setattr(hub, "load_dataset", lambda name: asked.append(name) or loaded)
    assert load_prompts("some/set") == [Prompt(id="set:train:0", instruction="a", input="b")]
    assert load_prompts("gpteacher")[0].output == "c"
    assert load_prompts("some/Set-2.5")[0].id == "Set-2.5:train:0"
    assert asked == ["some/set", datasets.GPTEACHER_ID, "some/Set-2.5"]
    with pytest.raises(DatasetError, match="no split 'validation_seen', it has train"):
        load_prompts("some/set", "validation_seen")


def test_hub_out_of_reach() -> None:
    with pytest.raises(DatasetError, match=r"cannot load dataset 'nobody/nothing' from the .* hub"):
        load_prompts("nobody/nothing")


def test_alpaca_plus_is_downloaded_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = write(tmp_path / "alpaca_plus_validation_seen.json", ROWS)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(datasets, "ALPACA_PLUS_URL", tmp_path.as_uri())
    with pytest.raises(DatasetError, match=r"cannot download .*alpaca_plus_train\.json"):
        load_prompts("alpaca_plus", "train")
    first = load_prompts("alpaca_plus", "validation_seen")
    source.unlink()
    assert load_prompts("alpaca_plus", "validation_seen") == first
    assert first[0].id == "alpaca_plus_validation_seen:0"


def test_checksum_depends_on_everything() -> None:
    variants = [
        PROMPTS,
        PROMPTS[:2],
        PROMPTS[::-1],
        [*PROMPTS[:2], Prompt(id="rows:2", instruction="", output=" ")],
        [*PROMPTS[:2], Prompt(id="rows:2", instruction=" ")],
    ]
    assert len({dataset_checksum(prompts) for prompts in variants}) == len(variants)
    assert dataset_checksum(PROMPTS) == dataset_checksum(iter(list(PROMPTS)))


@pytest.mark.parametrize("text", [None, 3, b"a"])
def test_prompt_refuses_what_is_no_text(text: object) -> None:
    with pytest.raises(ValueError, match=r"Prompt\.input must be a string"):
        Prompt(id="0", instruction="a", input=text)  # type: ignore[arg-type]


def test_prompt_refuses_half_a_surrogate_pair() -> None:
    with pytest.raises(ValueError, match=r"Prompt\.instruction is no valid Unicode.* character 1"):
        Prompt(id="0", instruction="a\ud83d")


def test_prompts_are_picked_evenly():
    assert pick_evenly(5, 0) == []
    assert pick_evenly(5, 9) == [0, 1, 2, 3, 4]
    assert pick_evenly(1000, 3) == [0, 333, 666]
