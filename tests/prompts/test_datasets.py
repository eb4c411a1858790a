from __future__ import annotations

import csv
import json
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import datasets as hub
import pytest

from pcrl_gym.errors import DatasetError
from pcrl_gym.named_datasets import dataset_splits, load_prompts
from pcrl_gym.prompts import datasets
from pcrl_gym.prompts.datasets import dataset_checksum, pick_evenly
from pcrl_gym.prompts.prompt import Prompt
from texts import NASTY_TEXTS

ROWS = [
    {"instruction": "Sort.", "input": "b a", "output": "a b", "source": "sort", "other": 3},
    {"instruction": 'Sing, "please".\nLoudly! 🙂'},
    {"instruction": "", "input": "Say it.", "output": None},
]
PROMPTS = [
    Prompt(id="rows:0", instruction="Sort.", input="b a", output="a b", source="sort"),
    Prompt(id="rows:1", instruction='Sing, "please".\nLoudly! 🙂'),
    Prompt(id="rows:2", instruction="", input="Say it."),
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
    rows = [{"instruction": "Say", "input": text, "output": text} for text in texts]
    prompts = load_prompts(write(tmp_path / f"rows{suffix}", rows))
    assert [(prompt.input, prompt.output) for prompt in prompts] == [(text, text) for text in texts]


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
    with pytest.raises(DatasetError, match="cannot find the splits of dataset 'nobody/nothing'"):
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
        (
            {"input": "a", "text": "b"},
            "key 'instruction' and its alternatives ('prompt', 'question', 'messages', "
            "'conversations') are missing; the row has input, text",
        ),
        ({}, "the row has no keys"),
        ({"instruction": ""}, "the prompt is empty: write an instruction, or delete the row"),
        ({"instruction": " \n", "input": "\t"}, "the prompt is empty"),
        ({"instruction": None, "output": "a"}, "the prompt is empty"),
        ({"messages": [{"role": "user", "content": " "}]}, "the prompt is empty"),
        ({"prompt": 3}, "key 'prompt' must be a string, got int"),
        (
            {"instruction": "a", "prompt": "b"},
            "keys 'instruction' and 'prompt' contain different texts, and each could be the "
            "instruction: keep one, and remove or rename the others",
        ),
        ({"prompt": "a", "completion": "b", "answer": "c"}, "each could be the output"),
        ({"question": "a", "context": "b", "input": "c"}, "each could be the input"),
        ({"instruction": 3}, "key 'instruction' must be a string, got int"),
        ({"instruction": "a", "input": ["b"]}, "key 'input' must be a string, got list"),
        ({"instruction": "a", "output": 1.5}, "key 'output' must be a string, got float"),
        ({"instruction": "a", "source": True}, "key 'source' must be a string, got bool"),
        ({"instruction": "a", "id": ["b"]}, "key 'id' must be a string, got list"),
        ({"instruction": "a", "id": True}, "key 'id' must be a string, got bool"),
        ({"instruction": "a\ud83d"}, "key 'instruction' is not valid Unicode: unpaired"),
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
        ("a.json", b"", "not valid JSON"),
        ("a.json", b"[]", "no prompts"),
        ("a.json", b'{"train": []}', "expected a list of objects, got an object"),
        ("a.json", b'{"instruction": "a"}\n{"instruction": "b"}', r"needs the extension \.jsonl"),
        ("a.json", b"\xff\xfe", "cannot be read"),
        ("a.jsonl", b"\n", "no prompts"),
        ("a.jsonl", b'{"instruction": "a"}\n\n{oops', "line 3: not valid JSON"),
        ("a.csv", b"", "no prompts"),
        ("a.csv", b"instruction,input\n", "no prompts"),
        ("a.csv", b"instruction\na,b\n", "row 0 has more cells"),
        ("a.csv", b'instruction\n"a', "cannot be read"),
        ("a.csv", b"instruction,input,instruction\na,b,c\n", "key 'instruction' more than once"),
        ("a.csv", b"instruction,input\na,b\n,\n,\n", "row 1 .*the prompt is empty"),
        ("a.csv", "instruction\nÄ\n".encode("latin-1"), "save it as UTF-8"),
        ("a.csv", "instruction\na\n".encode("utf-16"), "save it as UTF-8"),
        ("a.json", b"[" * 200_000, "not valid JSON"),
        ("a.jsonl", b'{"instruction": "a", "id": ' + b"9" * 5000 + b"}", "line 1: not valid JSON"),
        ("a.csv", b"text\na\n", "row 0 .*'instruction' and .* are missing; the row has text"),
        ("a.parquet", b"PAR1", "not valid Parquet"),
        ("a.txt", b"a", r"extensions \.json, \.jsonl, \.csv, \.parquet, got '\.txt'"),
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


@pytest.mark.parametrize("name", ["Sort the numbers. " * 300, "~no-such-user/rows.json"])
def test_names_that_are_no_paths(name: str) -> None:
    for call in (load_prompts, dataset_splits):
        with pytest.raises(
            DatasetError, match=f"'{name[:20]}.* is not a dataset name, path, or id"
        ):
            call(name)


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
        ([*PROMPTS, Prompt("blank", " ", "\n")], "prompt 'blank' is empty"),
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
    prompt = Prompt(id="set:train:0", instruction="a", input="b", output="c")
    assert load_prompts("some/set") == [prompt]
    assert load_prompts("gpteacher")[0].output == "c"
    assert load_prompts("some/Set-2.5")[0].id == "Set-2.5:train:0"
    assert asked == ["some/set", datasets.GPTEACHER_ID, "some/Set-2.5"]
    with pytest.raises(DatasetError, match="no split 'validation_seen', only train"):
        load_prompts("some/set", "validation_seen")


def test_hub_out_of_reach() -> None:
    with pytest.raises(DatasetError, match=r"cannot load dataset 'nobody/nothing' from the .* Hub"):
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
        [*PROMPTS[:2], Prompt(id="rows:2", instruction="", input="Say it.", output=" ")],
        [*PROMPTS[:2], Prompt(id="rows:2", instruction=" ", input="Say it.")],
    ]
    assert len({dataset_checksum(prompts) for prompts in variants}) == len(variants)
    assert dataset_checksum(PROMPTS) == dataset_checksum(iter(list(PROMPTS)))


@pytest.mark.parametrize("text", [None, 3, b"a"])
def test_prompt_refuses_what_is_no_text(text: object) -> None:
    with pytest.raises(ValueError, match=r"Prompt\.input must be a string"):
        Prompt(id="0", instruction="a", input=text)  # type: ignore[arg-type]


def test_prompt_refuses_half_a_surrogate_pair() -> None:
    with pytest.raises(ValueError, match=r"Prompt\.instruction is not valid Unicode.* character 1"):
        Prompt(id="0", instruction="a\ud83d")


def test_prompts_are_picked_evenly():
    assert pick_evenly(5, 0) == []
    assert pick_evenly(5, 9) == [0, 1, 2, 3, 4]
    assert pick_evenly(1000, 3) == [0, 333, 666]


@pytest.mark.parametrize("suffix", [".json", ".jsonl", ".csv", ".parquet"])
def test_long_texts_come_through(tmp_path: Path, suffix: str) -> None:
    text = "word " * 40_000
    limit = csv.field_size_limit()
    [prompt] = load_prompts(write(tmp_path / f"rows{suffix}", [{"instruction": text}]))
    assert prompt.instruction == text
    assert csv.field_size_limit() == limit


def test_a_csv_file_that_cannot_be_read_leaves_the_limit_of_cells(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text('instruction\n"' + "a" * 200_000)
    limit = csv.field_size_limit()
    with pytest.raises(DatasetError, match="cannot be read: unexpected end of data"):
        load_prompts(path)
    assert csv.field_size_limit() == limit


def test_csv_files_are_read_at_the_same_time(tmp_path: Path) -> None:
    limit = csv.field_size_limit()
    paths = [write(tmp_path / f"{n}.csv", [{"instruction": "a" * 200_000}] * 5) for n in range(8)]
    with ThreadPoolExecutor(8) as pool:
        assert [len(prompts) for prompts in pool.map(load_prompts, paths)] == [5] * 8
    assert csv.field_size_limit() == limit


@pytest.mark.parametrize(
    "content",
    [
        "instruction,input\r\nSort.,b a\r\n",
        "\ufeffinstruction;input\nSort.;b a\n",
        "instruction\tinput\nSort.\tb a\n",
        '"instruction","input"\n"Sort.","b a"\n\n\n',
        "id, instruction , input,\n,Sort.,b a,,\n",
        "input,instruction,output\nb a,Sort.\n",
    ],
)
def test_csv_files_of_spreadsheets(tmp_path: Path, content: str) -> None:
    path = tmp_path / "rows.csv"
    path.write_text(content, encoding="utf-8", newline="")
    assert load_prompts(path) == [Prompt(id="rows:0", instruction="Sort.", input="b a")]


def test_folders_that_look_like_partitions_are_no_columns(tmp_path: Path) -> None:
    (tmp_path / "id=3").mkdir()
    path = write(tmp_path / "id=3" / "rows.parquet", ROWS)
    assert load_prompts(path) == PROMPTS


SORT = {"instruction": "Sort.", "input": "b a", "output": "a b"}
FIRST = [{"role": "user", "content": "Sort."}, {"role": "assistant", "content": "a b"}]


@pytest.mark.parametrize(
    ("row", "texts"),
    [
        (
            {
                "instruction": "Sort.",
                "context": "b a",
                "response": "a b",
                "category": "closed_qa",
            },
            {**SORT, "source": "closed_qa"},
        ),
        (
            {"prompt": "Sort.", "completion": "a b", "context": None},
            {"instruction": "Sort.", "output": "a b"},
        ),
        ({"question": "Sort.", "context": "b a", "answer": "a b"}, SORT),
        ({"instruction": "Sort.", "question": " ", "input": "b a", "answer": "a b"}, SORT),
        ({"instruction": "a", "source": "b", "category": "c"}, {"instruction": "a", "source": "b"}),
        ({"messages": FIRST}, {"instruction": "Sort.", "output": "a b"}),
        ({"messages": FIRST[:1]}, {"instruction": "Sort."}),
        ({"prompt": "Sort.", "messages": FIRST}, {"instruction": "Sort.", "output": "a b"}),
        ({"messages": FIRST[:1], "answer": "c"}, {"instruction": "Sort.", "output": "c"}),
        ({"prompt": FIRST[:1], "completion": FIRST[1:]}, {"instruction": "Sort.", "output": "a b"}),
        ({"messages": [{"role": "system", "content": ""}, *FIRST[:1]]}, {"instruction": "Sort."}),
        (
            {
                "conversations": [
                    {"from": "system", "value": "Sort."},
                    {"from": "human", "value": "b a"},
                    {"from": "gpt", "value": "a b"},
                ]
            },
            SORT,
        ),
        (
            {
                "messages": [
                    {"role": "developer", "content": [{"type": "text", "text": "Sort."}]},
                    {"role": "user", "content": [{"type": "text", "text": "b a"}]},
                    {"role": "assistant", "content": None},
                ]
            },
            {"instruction": "Sort.", "input": "b a"},
        ),
        (
            {"messages": [FIRST[0], {"role": "user", "content": "b a"}]},
            {"instruction": "Sort.\nb a"},
        ),
        (
            {"conversations": {"from": ["human", "gpt"], "value": ["Sort.", "a b"]}},
            {"instruction": "Sort.", "output": "a b"},
        ),
    ],
)
@pytest.mark.parametrize("suffix", [".json", ".jsonl", ".parquet"])
def test_columns_of_common_formats(
    tmp_path: Path, row: dict[str, object], texts: dict[str, str], suffix: str
) -> None:
    path = write(tmp_path / f"rows{suffix}", [row])
    assert load_prompts(path) == [Prompt(id="rows:0", **texts)]


def test_columns_of_common_formats_in_csv(tmp_path: Path) -> None:
    rows = [
        {"instruction": "Sort.", "context": "b a", "response": "a b", "category": ""},
        {"instruction": "Sing.", "context": "", "response": "la", "category": "music"},
    ]
    assert load_prompts(write(tmp_path / "dolly.csv", rows)) == [
        Prompt("dolly:0", "Sort.", "b a", "a b"),
        Prompt("dolly:1", "Sing.", "", "la", "music"),
    ]


def test_later_turns_are_counted(tmp_path: Path) -> None:
    path = write(tmp_path / "chats.jsonl", [{"messages": FIRST * turns} for turns in (1, 2, 3)])
    with pytest.warns(UserWarning, match="chats: 2 of 3 rows are conversations with several turns"):
        prompts = load_prompts(path)
    assert [(prompt.instruction, prompt.output) for prompt in prompts] == [("Sort.", "a b")] * 3


@pytest.mark.parametrize(
    ("messages", "message"),
    [
        ("Sort.", "key 'messages' must be a list of messages, got str"),
        ([], "key 'messages' has no user message"),
        (["Sort."], "message 0 .*expected an object, got str"),
        ([{"role": "user"}], "message 0 .*'content' must be a string, got NoneType"),
        ([{"role": "user", "content": 3}], "'content' must be a string, got int"),
        ([{"role": "tool", "content": "a"}], "got role 'tool'"),
        ([{"role": ["user"], "content": "a"}], r"got role \['user'\]"),
        ([{"text": "a"}], "expected 'role' and 'content', or 'from' and 'value'"),
        (FIRST[::-1], "message 0 .*an answer before a user message"),
        ([FIRST[0], {"role": "system", "content": "a"}], "message 1 .*after the user's"),
        (
            [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "a"}}]}],
            "expected text parts, got a part of type 'image_url'",
        ),
    ],
)
def test_conversations_that_cannot_be_read(tmp_path: Path, messages: object, message: str) -> None:
    path = write(tmp_path / "rows.json", [{"messages": FIRST}, {"messages": messages}])
    with pytest.raises(DatasetError, match=f"row 1 .*{message}"):
        load_prompts(path)


def test_empty_ids_are_none(tmp_path: Path) -> None:
    rows = [{"id": "", "instruction": "a"}, {"id": "", "instruction": "b"}]
    prompts = load_prompts(write(tmp_path / "rows.csv", rows))
    assert [prompt.id for prompt in prompts] == ["rows:0", "rows:1"]


@pytest.mark.parametrize("place", [".", "data"])
@pytest.mark.parametrize("hash_", ["", "-a09b74b3ef9c3b56"])
def test_parts_of_a_split_are_one(tmp_path: Path, place: str, hash_: str) -> None:
    (tmp_path / place).mkdir(exist_ok=True)
    for part, row in enumerate(ROWS):
        write(tmp_path / place / f"train-{part:05}-of-00003{hash_}.parquet", [row])
    name = f"my_validation_human-00000-of-00001{hash_}.jsonl"
    write(tmp_path / place / name, [{"instruction": "a"}])
    assert dataset_splits(tmp_path) == ("train", "validation_human")
    prompts = load_prompts(tmp_path)
    assert [prompt.id for prompt in prompts] == ["train:0", "train:1", "train:2"]
    assert [prompt.instruction for prompt in prompts] == [row["instruction"] for row in ROWS]
    assert load_prompts(tmp_path, "validation_human")[0].id == "my_validation_human:0"


def test_parts_that_do_not_fit(tmp_path: Path) -> None:
    write(tmp_path / "train-00001-of-00002.parquet", ROWS)
    with pytest.raises(DatasetError, match="expected 2 parts of split 'train', found train-00001"):
        load_prompts(tmp_path)
    write(tmp_path / "train-00000-of-00002.parquet", [{"instruction": ""}])
    with pytest.raises(DatasetError, match=r"train-00000-of-00002\.parquet: row 0 .*is empty"):
        load_prompts(tmp_path)
    write(tmp_path / "train.jsonl", ROWS)
    with pytest.raises(DatasetError, match=r"more than one file for split 'train': .*train\.jsonl"):
        load_prompts(tmp_path)


def test_folders_of_save_to_disk(tmp_path: Path) -> None:
    table = hub.Dataset.from_list(ROWS)
    table.with_format("numpy").save_to_disk(tmp_path / "rows")
    for split in ("train", "validation_human"):
        assert load_prompts(tmp_path / "rows", split) == PROMPTS
    assert dataset_splits(tmp_path / "rows") == ("train",)
    splits = hub.DatasetDict(train=table.select([1]), test=table, validation_seen=table)
    splits.save_to_disk(tmp_path / "sets")
    assert dataset_splits(tmp_path / "sets") == ("train", "validation_seen")
    assert load_prompts(tmp_path / "sets") == [
        Prompt("sets:train:0", PROMPTS[1].instruction),
    ]
    with pytest.raises(DatasetError, match="no split 'validation_human', found train, test, val"):
        load_prompts(tmp_path / "sets", "validation_human")
    for file in (tmp_path / "rows").glob("*.arrow"):
        file.write_bytes(b"")
    with pytest.raises(DatasetError, match="not a valid `save_to_disk` folder"):
        load_prompts(tmp_path / "rows")


COLUMN_ROWS = [
    {"prompt": "Old.", "task": "Sort.", "text": "b a", "nr": "x", "completion": "a b"},
    {"task": "Sing.", "messages": [{"role": "user", "content": "Ignored."}], "nr": "y"},
]


@pytest.mark.parametrize("suffix", [".json", ".jsonl", ".csv", ".parquet"])
def test_columns_are_read_as_fields(tmp_path: Path, suffix: str) -> None:
    rows = COLUMN_ROWS if suffix in (".json", ".jsonl") else COLUMN_ROWS[:1]
    columns = {"task": "instruction", "text": "input", "nr": "id"}
    prompts = load_prompts(write(tmp_path / f"rows{suffix}", rows), "train", columns)
    expected = [Prompt("x", "Sort.", "b a", "a b"), Prompt("y", "Sing.")]
    assert prompts == expected[: len(rows)]


def test_columns_may_hold_conversations(tmp_path: Path) -> None:
    turns = [{"role": "user", "content": "Say a."}, {"role": "assistant", "content": "a"}]
    path = write(tmp_path / "rows.json", [{"chat": turns}])
    assert load_prompts(path, columns={"chat": "messages"}) == [
        Prompt("rows:0", "Say a.", output="a")
    ]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"task": "instructoin"}, "did you mean instruction"),
        ({"task": "input", "text": "input"}, "each field can have only one column"),
        ({"tsk": "instruction"}, "no row has the column 'tsk'"),
    ],
)
def test_wrong_columns(tmp_path: Path, columns: dict[str, str], message: str) -> None:
    rows = [{"instruction": "Sort.", "task": "a", "text": "b"}]
    with pytest.raises(ValueError, match=message):
        load_prompts(write(tmp_path / "rows.json", rows), "train", columns)


@pytest.mark.parametrize("dataset", ["micro", [Prompt("0", "Sort.")]])
def test_prompts_that_are_no_rows_have_no_columns(dataset: object) -> None:
    with pytest.raises(ValueError, match="has no columns"):
        load_prompts(dataset, "train", {"task": "instruction"})
