from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench_fixtures import SETTINGS, record
from benchmarks.records import (
    Record,
    RunFolder,
    RunFolderError,
    check_agent_name,
    check_settings,
)


def test_record_survives_json():
    odd = record(prompt="\u2028 \U0001f600 \udc80 \x00 مرحبا", gold_rouge_l=None, dropped=())
    line = odd.to_json()
    assert line.isascii()
    assert "\n" not in line
    assert Record.from_json(line) == odd
    assert Record.from_json(record().to_json()) == record()


def test_record_refuses_figures_that_are_not_finite():
    with pytest.raises(ValueError, match="JSON compliant"):
        record(reward=float("nan")).to_json()


def test_line_with_other_keys_is_refused():
    values = json.loads(record().to_json())
    del values["reward"]
    values["rewrad"] = 1.0
    with pytest.raises(ValueError, match=r"missing \['reward'\], unknown \['rewrad'\]"):
        Record.from_json(json.dumps(values))


def test_part_appears_when_it_is_complete(tmp_path: Path):
    folder = RunFolder.open(tmp_path / "out", SETTINGS)
    part = folder.part("a", "seen", 0)
    with folder.write_part("a", "seen", 0) as write:
        write(record())
        assert not part.exists()
        assert list(folder.records()) == []
    assert list(folder.records()) == [record()]


def test_broken_part_is_written_anew(tmp_path: Path):
    folder = RunFolder.open(tmp_path, SETTINGS)

    def killed():
        with folder.write_part("a", "seen", 0) as write:
            write(record())
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        killed()
    assert not folder.part("a", "seen", 0).exists()
    assert list(RunFolder(tmp_path).records()) == []
    with folder.write_part("a", "seen", 0) as write:
        write(record(prompt_id="p1"))
    assert [r.prompt_id for r in folder.records()] == ["p1"]


def test_trained_agent_appears_when_it_is_saved(tmp_path: Path):
    folder = RunFolder.open(tmp_path, SETTINGS)

    def full_disk():
        with folder.write_trained_agent("a", 0) as target:
            (target / "half").touch()
            raise OSError(28, "no space left")

    with pytest.raises(OSError, match="no space"):
        full_disk()
    assert not folder.trained_agent("a", 0).exists()
    with folder.write_trained_agent("a", 0) as target:
        (target / "whole").touch()
    assert [file.name for file in folder.trained_agent("a", 0).iterdir()] == ["whole"]


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
    assert "limit: null in the folder, 5 now" in message
    assert 'suite: "toy" in the folder, "other" now' in message
    assert "agent a: module:A in the folder, elsewhere:A now" in message
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
    assert list(RunFolder(tmp_path).records()) == []


def test_other_folders_and_files_are_refused(tmp_path: Path):
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(RunFolderError, match="no result folder"):
        RunFolder.open(tmp_path, SETTINGS)
    with pytest.raises(RunFolderError, match="is a file"):
        RunFolder.open(tmp_path / "thesis.tex", SETTINGS)
    with pytest.raises(RunFolderError, match="no result folder"):
        RunFolder(tmp_path)
    (tmp_path / "settings.json").write_text("{")
    with pytest.raises(RunFolderError, match="damaged"):
        RunFolder(tmp_path)


def test_damaged_line_is_named(tmp_path: Path):
    folder = RunFolder.open(tmp_path, SETTINGS)
    part = folder.part("a", "seen", 0)
    part.parent.mkdir(parents=True)
    part.write_text(record().to_json() + "\n{\n")
    with pytest.raises(RunFolderError, match=r"seen-seed0\.jsonl, line 2"):
        list(folder.records())


@pytest.mark.parametrize("name", ["", "a/b", "..", "ä", "a b", None])
def test_agent_names_must_fit_file_names(name):
    with pytest.raises(ValueError, match="must consist of"):
        check_agent_name(name)
