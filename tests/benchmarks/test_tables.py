from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from bench_fixtures import SETTINGS, record
from benchmarks.records import RunFolder
from benchmarks.tables import ORACLE_NOTE, format_leaderboard, make_rows, write_leaderboard
from pcrl_gym.errors import RunFolderError

ROOT = Path(__file__).parents[2]


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
    (row,) = make_rows(two_seeds(), SETTINGS)
    assert list(row) == [
        "agent",
        "suite",
        "split",
        "generator",
        "seeds",
        "n",
        "reward",
        "reward_ci",
        "reward_iqm",
        "reward_iqm_ci",
        "normalised_score",
        "compression_ratio",
        "compression_ratio_micro",
        "compression_ratio_second",
        "requested_rate",
        "drop_rate",
        "similarity",
        "survival_rate",
        "exact_match",
        "gold_rouge_1",
        "gold_rouge_2",
        "gold_rouge_l",
        "cut_rouge_1",
        "cut_rouge_2",
        "cut_rouge_l",
        "compress_ms",
        "oracle",
        "ranks_by",
    ]
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
    assert row["normalised_score"] is None  # without keep_all and search


def test_normalised_score_goes_from_keep_all_to_search():
    records = [
        record(agent=agent, reward=reward)
        for agent, reward in (("keep_all", 0.2), ("a", 0.4), ("search", 0.6))
    ]
    scores = {row["agent"]: row["normalised_score"] for row in make_rows(records, SETTINGS)}
    assert scores == pytest.approx({"keep_all": 0.0, "a": 0.5, "search": 1.0})
    alone = make_rows(records[:2], SETTINGS)
    assert [row["normalised_score"] for row in alone] == [None, None]


def test_further_figures_are_a_table_of_their_own():
    rows = make_rows(two_seeds(), SETTINGS)
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
    rows = make_rows(records, SETTINGS)
    assert [(row["split"], row["agent"]) for row in rows] == [
        ("seen", "b"),
        ("seen", "c"),
        ("seen", "a"),
        ("unseen", "b"),
    ]


def test_seeds_with_other_prompts_are_refused():
    with pytest.raises(RunFolderError, match="different prompts"):
        make_rows([record(seed=0), record(seed=1, prompt_id="p1")], SETTINGS)


def test_without_gold_the_cell_is_blank():
    (row,) = make_rows([record(gold="", gold_rouge_l=None)], SETTINGS)
    assert row["gold_rouge_l"] is None
    line = format_leaderboard([row]).splitlines()[-1]
    assert [cell.strip() for cell in line.split("|")][-3:-1] == ["", "2.000"]


def test_table_is_aligned_and_names_suite_split_and_generator():
    text = format_leaderboard(make_rows(two_seeds(), SETTINGS))
    title, _, *table = text.splitlines()
    assert title == "### toy v2, seen (generator: fake)"
    assert len({len(line) for line in table}) == 1
    assert set(table[1]) == set("|-: ")
    assert format_leaderboard([]) == "No finished results yet.\n"


def test_agents_that_see_answers_are_marked_and_explained():
    """The mark comes from the settings of the folder: records alone do not tell."""
    oracle = SETTINGS | {"agents": {"a": "module:A", "b": "module:B, oracle"}}
    records = [record(), record(agent="b"), record(split="unseen")]
    rows = make_rows(records, oracle)
    assert {row["agent"]: row["oracle"] for row in rows} == {"a": False, "b": True}
    seen, unseen = format_leaderboard(rows).split("### ")[1:]
    names = [line.split("|")[1].strip() for line in seen.splitlines() if line.startswith("|")]
    assert names[2:] == ["a", "b *"]
    assert seen.endswith("|\n\n" + ORACLE_NOTE + "\n")
    assert ORACLE_NOTE not in unseen
    table = [line for line in seen.splitlines() if line.startswith("|")]
    assert len({len(line) for line in table}) == 1


def test_title_tells_that_prompts_were_left_out():
    text = format_leaderboard(make_rows(two_seeds(), SETTINGS | {"limit": 64}))
    assert text.startswith("### toy v2, limit 64, seen (generator: fake)\n")


def test_files_are_written(tmp_path: Path):
    folder = RunFolder.open(tmp_path, SETTINGS)
    with folder.write_part("a", "seen", 0) as write:
        write(record())
    rows = write_leaderboard(folder)
    assert json.loads((tmp_path / "summary.json").read_text()) == json.loads(json.dumps(rows))
    assert (tmp_path / "leaderboard.md").read_text() == format_leaderboard(rows)
    assert (tmp_path / "details.md").read_text() == format_leaderboard(rows, details=True)


def test_table_command_needs_no_model(tmp_path: Path):
    folder = RunFolder.open(tmp_path, SETTINGS)
    with folder.write_part("a", "seen", 0) as write:
        write(record())
    program = (
        "import sys; from benchmarks.__main__ import main; code = main(['table', sys.argv[1]]); "
        "assert not {'torch', 'transformers', 'datasets'} & set(sys.modules); sys.exit(code)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "toy v2, seen" in done.stdout
