"""Committed standings are of the suites as they are now, and pages show what was measured."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest

from benchmarks.leaderboard import format_leaderboard
from benchmarks.suites import SUITES, suite_of
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
    for evaluation in sorted(figures.glob("*/evaluation.json")):
        for split, of in json.loads(evaluation.read_text(encoding="utf-8")).items():
            shares = "exact_match", "contaminated_exact_match", "clean_exact_match"
            exact, told, rest = (f"{100 * of[key]:.1f} %" for key in shares)
            assert f"| {split} | {exact} |" in page
            assert f"| {told} | {rest} |" in page
