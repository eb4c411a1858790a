"""Committed standings are of the suites as they are now, and pages show what was measured."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest

from benchmarks.suites import SUITES, suite_of
from benchmarks.tables import format_leaderboard
from imports import ROOT

PAGE = ROOT / "benchmarks" / "leaderboard"
STANDING = ("micro", "micro-seq2seq")


def told(suite: str, file: str) -> Any:
    return json.loads((PAGE / suite / file).read_text(encoding="utf-8"))


@pytest.mark.parametrize("suite", STANDING)
def test_they_are_of_the_suites_as_they_are_now(suite: str):
    settings = told(suite, "settings.json")
    frozen = SUITES[suite]
    made_of = dataclasses.replace(suite_of(settings), tags=frozen.tags, checksums=frozen.checksums)
    assert made_of == frozen
    assert settings["checksums"].items() <= frozen.checksums.items()
    assert len(settings["agents"]) == 9


def test_the_readme_shows_the_split_of_known_families():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    board = (PAGE / "leaderboard.md").read_text(encoding="utf-8")
    for suite in STANDING:
        rows = [row for row in told(suite, "summary.json") if row["split"] == "validation_seen"]
        table = format_leaderboard(rows)
        assert table in board, "make standings wrote them together"
        shown = table.replace("### ", "#### ")
        assert shown in readme, f"README.md is to show, between its marks, this:\n{shown}"


def test_the_page_on_real_text_shows_the_committed_figures():
    page = (ROOT / "docs" / "real-text.md").read_text(encoding="utf-8")
    figures = ROOT / "benchmarks" / "results" / "real-text"
    boards = sorted(figures.glob("*/leaderboard.md"))
    assert len(boards) == 3
    for board in boards:
        for part in board.read_text(encoding="utf-8").split("### ")[1:]:
            assert part.partition("\n")[2].strip() in page
    words = (figures / "t0-causal" / "dropped.md").read_text(encoding="utf-8")
    assert words.split("#### by word class")[1].split("####")[0].strip() in page

    def percent(share: float) -> str:
        return f"{100 * share:.1f} %"

    for folder, generator in {"gpt2-mini": "causal", "t5-mini": "encoder-decoder"}.items():
        evaluation = json.loads((figures / folder / "evaluation.json").read_text(encoding="utf-8"))
        for split, of in evaluation.items():
            answers = [percent(of[who + "exact_match"]) for who in ("", "majority_")]
            answers += [f"{of[who + 'rouge_l']:.3f}" for who in ("", "majority_")]
            answers += [f"{of['distinct_answers']}"]
            known = [f"{of['known_texts']}", f"{of['contaminated']}"]
            known += [
                percent(of[f"{kind}_{who}exact_match"])
                for kind in ("contaminated", "clean")
                for who in ("", "majority_")
            ]
            for cells in (answers, known):
                assert f"| {' | '.join([generator, split, *cells])} |" in page
