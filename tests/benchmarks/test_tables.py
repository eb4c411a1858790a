from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from bench_fixtures import SETTINGS, frame, record
from benchmarks.records import RunFolder
from benchmarks.tables import (
    COLUMNS,
    ORACLE_NOTE,
    format_leaderboard,
    make_rows,
    print_table,
    write_leaderboard,
)
from imports import ROOT
from pcrl_gym.errors import RunFolderError


def two_seeds():
    """Seed 0 earns 1.0 and 0.0, seed 1 earns 0.5 and 0.5."""
    return [
        record(prompt_id="p0", reward=1.0, similarity=1.0, compression_ratio=0.5, compress_ms=1.0),
        record(
            prompt_id="p1",
            reward=0.0,
            similarity=0.9,
            compression_ratio=0.0,
            original_tokens=102,
            compressed_tokens=102,
            gold_rouge_l=0.0,
            compress_ms=3.0,
        ),
        record(seed=1, prompt_id="p0", gold_rouge_l=0.5),
        record(seed=1, prompt_id="p1", gold_rouge_l=0.5),
    ]


def test_row_by_hand():
    (row,) = make_rows(frame(two_seeds()), SETTINGS)
    others = {"suite", "split", "generator", "oracle", "ranks_by"}
    assert row.keys() == {column.key for column in COLUMNS} | others
    assert (row["agent"], row["suite"], row["split"]) == ("a", "toy v2", "seen")
    assert (row["generator"], row["seeds"], row["n"]) == ("fake", 2, 2)
    assert row["reward"] == 0.5
    low, high = row["reward_ci"]
    assert 0.0 <= low < 0.5 < high <= 1.0
    assert row["compression_ratio"] == pytest.approx((0.5 + 0.0 + 0.5 + 0.5) / 4)
    assert row["compression_ratio_micro"] == pytest.approx(15 / 130)
    assert row["similarity"] == pytest.approx(3.9 / 4)
    assert row["survival_rate"] == 0.75
    assert row["gold_rouge_l"] == pytest.approx(0.5)
    assert row["compress_ms"] == 2.0
    assert row["oracle"] is False
    assert row["reward_iqm"] == 0.5  # of 0, 0.5, 0.5, 1 the middle two
    assert row["compression_ratio_second"] == pytest.approx(3 / 6)
    assert (row["requested_rate"], row["drop_rate"]) == (None, 0.5)
    assert row["exact_match"] == 1.0
    assert row["normalized_score"] is None  # without keep_all and search


def test_normalized_score_goes_from_keep_all_to_search():
    records = [
        record(agent=agent, reward=reward)
        for agent, reward in (("keep_all", 0.2), ("a", 0.4), ("search", 0.6))
    ]
    scores = {row["agent"]: row["normalized_score"] for row in make_rows(frame(records), SETTINGS)}
    assert scores == pytest.approx({"keep_all": 0.0, "a": 0.5, "search": 1.0})
    alone = make_rows(frame(records[:2]), SETTINGS)
    assert [row["normalized_score"] for row in alone] == [None, None]


def test_further_figures_are_a_table_of_their_own():
    rows = make_rows(frame(two_seeds()), SETTINGS)
    text = format_leaderboard(rows, details=True)
    for header in ("IQM reward", "ratio (2nd tokenizer)", "exact match", "ROUGE-2 cut"):
        assert header in text
    assert "survival" not in text


def test_rows_come_split_by_split_best_first():
    records = [
        record(split="unseen", agent="b", reward=0.1),
        record(agent="a", reward=0.2),
        record(agent="b", reward=0.3),
        record(agent="c", reward=0.3),
    ]
    rows = make_rows(frame(records), SETTINGS)
    found = [f"{row['split']} {row['agent']}" for row in rows]
    assert found == ["seen b", "seen c", "seen a", "unseen b"]


@pytest.mark.parametrize(
    "records",
    [
        [record(seed=0), record(seed=1, prompt_id="p1")],
        [record(seed=0), record(seed=1), record(seed=1, prompt_id="p1")],
        [record(), record()],
    ],
)
def test_seeds_with_other_prompts_are_refused(records):
    with pytest.raises(RunFolderError, match="different or duplicate prompts"):
        make_rows(frame(records), SETTINGS)


def test_without_gold_the_cell_is_blank_or_the_column_left_out():
    (row,) = make_rows(frame([record(gold="", gold_rouge_l=None)]), SETTINGS)
    assert row["gold_rouge_l"] is row["exact_match"] is None
    assert "gold ROUGE-L" not in format_leaderboard([row])
    (other,) = make_rows(frame([record()]), SETTINGS)
    line = format_leaderboard([other, row]).splitlines()[-1]
    assert [cell.strip() for cell in line.split("|")][-3:-1] == ["", "2.000"]


def test_table_is_aligned_and_names_suite_split_and_generator(capsys):
    text = format_leaderboard(make_rows(frame(two_seeds()), SETTINGS))
    title, _, *table = text.splitlines()
    assert title == "### toy v2, seen (generator: fake)"
    assert len({len(line) for line in table}) == 1
    assert set(table[1]) == set("|-: ")
    print_table([])
    assert format_leaderboard([]) == capsys.readouterr().out == "No finished results yet.\n"


def test_agents_that_see_answers_are_marked_and_explained():
    oracle = SETTINGS | {"agents": {"a": "module:A", "b": "module:B, oracle"}}
    records = [record(), record(agent="b"), record(split="unseen")]
    rows = make_rows(frame(records), oracle)
    assert {row["agent"]: row["oracle"] for row in rows} == {"a": False, "b": True}
    seen, unseen = format_leaderboard(rows).split("### ")[1:]
    names = [line.split("|")[1].strip() for line in seen.splitlines() if line.startswith("|")]
    assert names[2:] == ["a", "b *"]
    assert seen.endswith("|\n\n" + ORACLE_NOTE + "\n")
    assert ORACLE_NOTE not in unseen
    table = [line for line in seen.splitlines() if line.startswith("|")]
    assert len({len(line) for line in table}) == 1


def test_files_are_written(tmp_path: Path):
    folder = RunFolder.open(tmp_path, SETTINGS)
    with folder.write_part("a", "seen", 0) as write:
        write(record())
    rows = write_leaderboard(folder)
    assert json.loads((tmp_path / "summary.json").read_text()) == json.loads(json.dumps(rows))
    assert (tmp_path / "leaderboard.md").read_text() == format_leaderboard(rows)
    assert (tmp_path / "details.md").read_text() == format_leaderboard(rows, details=True)


LONG = "an-agent-with-a-name-of-40-characters-or-more"


def many_rows():
    """An oracle, two agents that are equal in reward, and one with a long name that is slow."""
    records = [
        record(agent="keep_all", reward=0.0, gold=""),
        record(agent="search", reward=0.9),
        record(agent="b", reward=0.25, compress_ms=12345.0),
        record(agent=LONG, reward=0.25),
    ]
    settings = SETTINGS | {"agents": {"search": "search, oracle"}}
    return make_rows(frame(records), settings)


def in_terminal(monkeypatch: pytest.MonkeyPatch, columns: int) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", str(columns))
    for name in ("NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize("details", [False, True])
def test_printed_tables_fit_100_columns_and_lose_nothing(capsys, details: bool):
    print_table(many_rows(), details=details)
    text = capsys.readouterr().out
    assert "\x1b" not in text
    assert max(map(len, text.splitlines())) <= 100
    assert text.startswith("toy v2, seen (generator: fake)\n")
    assert ORACLE_NOTE.strip() in text
    for figure in ["0.900 [0.900, 0.900]"] + ([] if details else ["12345.000", "0.278"]):
        assert figure in text
    first = [line.split(" ")[0] for line in text.splitlines()]
    assert LONG in "".join(first)


def test_the_best_of_each_column_is_green(capsys, monkeypatch: pytest.MonkeyPatch):
    in_terminal(monkeypatch, columns=200)
    print_table(many_rows())
    text = capsys.readouterr().out
    green = "\x1b[1;32m"
    (search,) = (line for line in text.splitlines() if line.startswith("search *"))
    (b,) = (line for line in text.splitlines() if line.startswith("b "))
    assert green not in search
    assert f"{green}0.250 [0.250, 0.250]" in b
    assert f"{green}0.278" in b
    assert f"{green}12345" not in b
    assert text.count(f"{green}0.250") == 2
    assert all(len(line) <= 100 for line in re.sub(r"\x1b\[[0-9;]*m", "", text).splitlines())


def test_table_command_needs_no_model(tmp_path: Path):
    folder = RunFolder.open(tmp_path, SETTINGS)
    with folder.write_part("a", "seen", 0) as write:
        write(record())
    program = (
        "import sys; from benchmarks.__main__ import main; code = main(['table', sys.argv[1]]); "
        "assert not {'torch', 'transformers', 'datasets'} & set(sys.modules); sys.exit(code)"
    )
    command = [sys.executable, "-c", program, str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "toy v2, seen" in done.stdout
