from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import pytest

from bench_fixtures import change_part, frame, record
from benchmarks.__main__ import main
from benchmarks.evaluate import token_counter
from benchmarks.records import RunFolder
from benchmarks.validate import validate, wrong_figures
from pcrl_gym.scoring.rewards import make_reward
from pcrl_gym.scoring.rouge import UNICODE_ROUGE_L


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two agents on the small variant of micro."""
    out = tmp_path_factory.mktemp("runs") / "good"
    agents = ["--agents", "keep_all,stopwords,random", "--seeds", "2"]
    assert main(["run", "--suite", "micro-ci", *agents, "--out", str(out)]) == 0
    return out


@pytest.fixture
def folder(good: Path, tmp_path: Path) -> Path:
    """A copy that may be damaged."""
    return Path(shutil.copytree(good, tmp_path / "copy"))


def change(folder: Path, **changes) -> None:
    """Change the first record of stopwords, of its second prompt with something dropped."""
    change_part(folder, "stopwords", lambda r: [r[0], dataclasses.replace(r[1], **changes), *r[2:]])


def test_a_good_folder_is_valid(good: Path, capsys):
    report = validate(good, share=0.5)
    assert report.problems == []
    assert "384 records (50%) answered again by micro" in report.text()
    assert main(["validate", str(good)]) == 0
    assert capsys.readouterr().out.endswith("The folder is valid.\n")


def test_rewritten_prompts_and_failures_are_valid(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
):
    """A compressor cuts, rewrites, answers and fails by turns."""
    (tmp_path / "my_shortener.py").write_text(
        "def shorten(text):\n"
        "    turn = len(text) % 4\n"
        "    if turn == 0:\n"
        "        raise ValueError('no')\n"
        "    return [text[5:], 'Do: ' + text, text[::2]][turn - 1]\n"
    )
    monkeypatch.chdir(tmp_path)
    command = ["run", "--suite", "micro-ci", "--compressor", "my_shortener:shorten"]
    with pytest.warns(UserWarning, match="ValueError: no; the original is sent"):
        assert main([*command, "--out", "runs"]) == 0
    assert "compressor-shorten" in capsys.readouterr().out
    report = validate(tmp_path / "runs", share=0.2)
    assert report.problems == []
    records = list(RunFolder(tmp_path / "runs").records())
    assert {record.failed for record in records} == {record.rewritten for record in records}
    assert {record.failed for record in records} == {0, 1}
    for one in records:
        assert (one.failed == 0) or (one.compressed_prompt == one.prompt)


def test_a_leak_says_nothing_about_its_answer():
    leaked = record(leaked=1, rewritten=1, failed=0, similarity=0.0, compressed_output="other")
    assert not len(wrong_figures(frame([leaked]), make_reward("linear"), UNICODE_ROUGE_L, len))


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"second_original_tokens": 1}, "second_original_tokens does not follow"),
        ({"second_compressed_tokens": 1}, "second_compressed_tokens does not follow"),
        ({"reward": 0.99}, "reward does not follow"),
        ({"similarity": 0.123}, "similarity"),
        ({"compression_ratio": 0.9}, "compression_ratio"),
        ({"compressed_prompt": "sort"}, "compressed_prompt"),
        ({"dropped": ((5, 3),)}, "dropped"),
        ({"dropped": ((5, 9), (9, 12))}, "dropped"),
        ({"dropped": ((5, 9999),)}, "dropped"),
        ({"gold_rouge_2": 0.123}, "gold_rouge_2"),
        ({"gold": "something else"}, "gold answer or source"),
        ({"drop_rate": 2.0}, "drop_rate"),
        ({"prompt_id": "nobody"}, "duplicate or unknown"),
    ],
)
def test_changed_records_are_found(folder: Path, changes, problem: str, capsys):
    change(folder, **changes)
    assert main(["validate", str(folder)]) == 1
    told = capsys.readouterr().out
    assert problem in told
    assert "problem(s)." in told


def test_invented_answers_are_found(folder: Path):
    """All figures follow from the answers, but the generator never gave them."""
    change_part(
        folder,
        "stopwords",
        lambda records: [
            dataclasses.replace(
                r, compressed_output=r.output, similarity=1.0, reward=r.compression_ratio
            )
            for r in records
        ],
    )
    problems = validate(folder, share=1.0).problems
    assert any("the generator answers" in problem for problem in problems)


@pytest.mark.parametrize(
    ("key", "value", "problem"),
    [
        ("version", 1, "version is 1, but suite micro-ci v4 has 4"),
        ("keep_digits", True, "keep_digits is True, but suite micro-ci v4 has False"),
        ("force_keep", ["not"], "force_keep is ('not',), but suite micro-ci v4 has ()"),
        ("reward", "linear", "reward is 'linear'"),
        ("seeds", 1, "1 seeds, but the suite has 2"),
        ("generator_fingerprint", "x", "different weights"),
        ("splits", None, "cannot be read"),
        ("reward", "nobody", "cannot be read: ValueError: unknown reward 'nobody'"),
        ("measure", "nobody", "cannot be read: ValueError: measure must be one of"),
        ("max_units", "many", "cannot be read: ValueError: settings.max_units: expected"),
        ("agents", {"random": None}, "cannot be read"),
        ("checksums", {}, "settings.json lacks checksums.validation_human, checksums.validation_s"),
    ],
)
def test_other_rules_are_found(folder: Path, key: str, value, problem: str):
    file = folder / "settings.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {key: value}))
    assert problem in validate(folder, share=0.01).text()


@pytest.mark.parametrize("key", ["checksums", "generator_fingerprint"])
def test_missing_settings_are_found(folder: Path, key: str):
    file = folder / "settings.json"
    settings = json.loads(file.read_text())
    del settings[key]
    file.write_text(json.dumps(settings))
    assert f"cannot be read: ValueError: settings.json lacks {key}" in validate(folder).text()


def test_other_data_is_found(folder: Path):
    file = folder / "settings.json"
    settings = json.loads(file.read_text())
    settings["checksums"]["validation_seen"] = "0" * 64
    file.write_text(json.dumps(settings))
    text = validate(folder, share=0.01).text()
    assert "validation_seen has a different checksum" in text
    assert "validation_seen of micro is not the data of the run" in text


def test_missing_parts_and_summaries_are_found(folder: Path):
    (folder / "records" / "random" / "validation_human-seed1.parquet").unlink()
    (folder / "summary.json").write_text("{")
    problems = validate(folder, share=0.01).problems
    assert "random, seed 1 has no records of validation_human" in problems
    assert "summary.json does not follow from the records" in problems


@pytest.mark.parametrize(("factor", "told"), [(1 + 1e-15, False), (1 + 1e-6, True)])
def test_summaries_of_other_machines_may_differ_by_rounding(
    folder: Path, factor: float, told: bool
):
    file = folder / "summary.json"
    rows = json.loads(file.read_text())
    row = next(row for row in rows if row["agent"] == "random")
    row["reward_ci"][1] *= factor
    row["similarity"] *= factor
    file.write_text(json.dumps(rows[::-1]))
    problems = validate(folder, share=0.01).problems
    assert ("summary.json does not follow from the records" in problems) == told


def test_left_out_prompts_are_found(folder: Path):
    change_part(folder, "stopwords", lambda records: records[3:])
    problems = validate(folder, share=0.01).problems
    assert "stopwords, seed 0: validation_seen lacks 3 prompts" in problems


def test_other_prompts_are_found(folder: Path):
    """Prompt and rest are changed alike, so that all figures follow from the record."""
    change(folder, prompt="sort", compressed_prompt="sort", dropped=(), drop_rate=0.0)
    assert "the prompt is not the dataset's" in validate(folder, share=0.01).text()


def test_dropped_template_is_found(folder: Path):
    change_part(
        folder,
        "keep_all",
        lambda r: [
            dataclasses.replace(
                r[0], dropped=((0, 13),), compressed_prompt=r[0].prompt[13:], drop_rate=0.1
            ),
            *r[1:],
        ],
    )
    assert "parts of the template were dropped" in validate(folder, share=0.01).text()


def test_damaged_parts_and_other_folders_are_told(folder: Path, tmp_path: Path):
    (folder / "records" / "random" / "validation_seen-seed1.parquet").write_bytes(b"PAR1")
    assert "random/validation_seen-seed1.parquet: cannot be read" in validate(folder).text()
    assert "cannot be read" in validate(tmp_path).text()


def test_figures_by_hand():
    reward = make_reward("threshold")
    right = record()
    # "say" dropped: 5 of 10 tokens that are paid for, and the answer is the same.
    odd = {"prompt": "\udc80", "compressed_prompt": "\udc81", "dropped": ((0, 1),)}
    changed = [{"reward": 0.4}, {"dropped": ()}, {"gold_cut": None}, odd]
    records = [right, *(record(**change) for change in changed)]
    wrong = wrong_figures(frame(records), reward, UNICODE_ROUGE_L, token_counter("bytes"))
    assert [set(wrong.columns[of]) for of in wrong.to_numpy()] == [
        set(),
        {"reward"},
        {"compressed_prompt", "drop_rate"},
        {"cut_rouge_1", "cut_rouge_2", "cut_rouge_l"},
        {"compressed_prompt", "second_original_tokens", "second_compressed_tokens"},
    ]
