from __future__ import annotations

import json
from pathlib import Path

import pyarrow.parquet
import pytest

from bench_fixtures import SETTINGS, record
from benchmarks.records import Record, RunFolder, check_settings
from pcrl_gym.errors import RunFolderError

ODD = record(
    prompt="\u2028 \U0001f600 \udc80 \x00 مرحبا", gold_cut=None, gold_rouge_l=None, dropped=()
)


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    return RunFolder.open(tmp_path / "out", SETTINGS)


def write(folder: RunFolder, *records: Record) -> Path:
    of = (records[0].agent, records[0].split, records[0].seed)
    with folder.write_part(*of) as write_record:
        for one in records:
            write_record(one)
    return folder.part(*of)


def test_records_are_read_as_they_were_written(folder: RunFolder):
    write(folder, ODD, record(prompt_id="p1"))
    assert list(folder.records()) == [ODD, record(prompt_id="p1")]
    lines = list(folder.json_lines())
    assert "".join(lines).isascii()
    one, other = map(json.loads, lines)
    assert Record(**one | {"dropped": ()}) == ODD
    assert Record(**other | {"dropped": ((13, 16),)}) == record(prompt_id="p1")


def test_the_frame_has_a_column_per_attribute_and_gaps_for_missing_figures(folder: RunFolder):
    write(folder, ODD, record(dropped=((0, 2), (13, 16))))
    frame = folder.frame()
    assert list(frame.columns) == list(Record.__slots__)
    assert frame["dropped"].tolist() == [[], [(0, 2), (13, 16)]]
    assert frame["gold_cut"].isna().tolist() == [True, False]
    assert frame["log_likelihood"].isna().all()
    assert frame["reward"].dtype == frame["gold_cut"].dtype == float
    assert frame["seed"].dtype == int


def test_rows_come_by_split_agent_seed_and_prompt(folder: RunFolder):
    for split in ("unseen", "seen"):
        for agent, seed in (("b", 0), ("a", 10), ("a", 2)):
            of = {"split": split, "agent": agent, "seed": seed}
            write(folder, record(**of, prompt_id="z"), record(**of, prompt_id="k"))
    frame = folder.frame()
    keys = list(zip(frame["split"], frame["agent"], frame["seed"], strict=True))
    order = [("a", 2), ("a", 10), ("b", 0)]
    assert keys[::2] == [(split, *of) for split in ("seen", "unseen") for of in order]
    assert frame["prompt_id"].tolist() == ["z", "k"] * 6
    some = folder.frame(agents=["b"], splits=["seen"])
    assert set(zip(some["agent"], some["split"], strict=True)) == {("b", "seen")}
    assert some.index.tolist() == [0, 1]


def test_what_has_no_results_is_named(folder: RunFolder):
    with pytest.raises(RunFolderError, match="has no results yet"):
        folder.frame()
    write(folder, record())
    with pytest.raises(ValueError, match="no results for the agents x, z, only for a"):
        folder.frame(agents=["z", "a", "x"][::-1])
    with pytest.raises(ValueError, match="no results for the splits unseen, only for seen"):
        folder.frame(splits=["unseen"])


def test_other_tools_read_the_files(folder: RunFolder):
    table = pyarrow.parquet.read_table(write(folder, record()))
    (row,) = table.to_pylist()
    assert row["prompt"] == record().prompt
    assert row["dropped"] == [{"start": 13, "end": 16}]


@pytest.mark.parametrize("value", [float("nan"), float("-inf"), None])
def test_figures_must_be_there_and_finite(folder: RunFolder, value):
    with pytest.raises(ValueError, match="reward"):
        write(folder, record(reward=value))
    with pytest.raises(ValueError, match="much"):
        write(folder, record(reward="much"))
    assert not folder.has_results


def test_part_appears_when_it_is_complete(folder: RunFolder):
    with folder.write_part("a", "seen", 0) as write_record:
        write_record(record())
        assert not folder.has_results
    assert list(folder.records()) == [record()]

    def killed():
        with folder.write_part("a", "seen", 1) as write_record:
            write_record(record(seed=1))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        killed()
    assert folder.parts() == [folder.part("a", "seen", 0)]


def cut(part: Path) -> None:
    part.write_bytes(part.read_bytes()[:-9])


def flip_a_bit(part: Path) -> None:
    content = bytearray(part.read_bytes())
    content[content.index(b"Instruction")] ^= 1
    part.write_bytes(content)


def rename_a_column(part: Path) -> None:
    table = pyarrow.parquet.read_table(part)
    names = ["rewrad" if name == "reward" else name for name in table.column_names]
    pyarrow.parquet.write_table(table.rename_columns(names), part)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (cut, "cannot be read"),
        (flip_a_bit, "cannot be read"),
        (lambda part: part.write_bytes(b""), "cannot be read"),
        (rename_a_column, r"missing \[\('reward', 'double'\)\], unknown \[\('rewrad'"),
    ],
)
def test_damaged_parts_are_named(folder: RunFolder, damage, message: str):
    part = write(folder, record())
    damage(part)
    with pytest.raises(RunFolderError, match=message) as caught:
        folder.frame()
    assert str(caught.value).startswith(f"{part}: ")
    assert "Delete the file" in str(caught.value)


def test_folders_of_earlier_versions_are_refused(folder: RunFolder):
    part = folder.part("a", "seen", 0)
    part.parent.mkdir(parents=True)
    part.with_suffix(".jsonl").touch()
    with pytest.raises(RunFolderError, match="earlier version"):
        RunFolder(folder.path)


def test_same_settings_resume_and_agents_may_join(tmp_path: Path):
    RunFolder.open(tmp_path, SETTINGS)
    joined = RunFolder.open(tmp_path, SETTINGS | {"agents": {"b": "module:B"}})
    assert joined.settings["agents"] == {"a": "module:A", "b": "module:B"}


def test_other_settings_are_refused_by_name_and_change_nothing(tmp_path: Path):
    RunFolder.open(tmp_path, SETTINGS)
    before = (tmp_path / "settings.json").read_text()
    other = SETTINGS | {"limit": 5, "suite": "other", "agents": {"a": "elsewhere:A"}}
    with pytest.raises(RunFolderError) as caught:
        RunFolder.open(tmp_path, other)
    message = str(caught.value)
    assert "limit: None in the folder, 5 now" in message
    assert "suite: 'toy' in the folder, 'other' now" in message
    assert "agents.a: 'module:A' in the folder, 'elsewhere:A' now" in message
    assert "generator_name" not in message
    assert (tmp_path / "settings.json").read_text() == before


def test_some_settings_can_be_checked_before_the_others_are_known(tmp_path: Path):
    assert check_settings(tmp_path / "new", {"agents": {}}) is None
    RunFolder.open(tmp_path, SETTINGS)
    assert check_settings(tmp_path, {"limit": None, "agents": {}}) == SETTINGS
    with pytest.raises(RunFolderError, match="limit"):
        check_settings(tmp_path, {"limit": 1, "agents": {}})


def test_a_run_killed_before_its_settings_were_written_begins_anew(tmp_path: Path):
    (tmp_path / "settings.json.tmp").write_text("{")
    assert RunFolder.open(tmp_path, SETTINGS).settings == SETTINGS
    assert not RunFolder(tmp_path).has_results


def test_other_folders_and_files_are_refused(tmp_path: Path):
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(RunFolderError, match="not a result folder"):
        RunFolder.open(tmp_path, SETTINGS)
    with pytest.raises(RunFolderError, match="is a file"):
        RunFolder.open(tmp_path / "thesis.tex", SETTINGS)
    with pytest.raises(RunFolderError, match="not a result folder"):
        RunFolder(tmp_path)
    (tmp_path / "settings.json").write_text("{")
    with pytest.raises(RunFolderError, match="damaged"):
        RunFolder(tmp_path)
