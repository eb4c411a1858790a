"""Compressors beside what others lose where they save as much."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pandas
import pytest

from bench_fixtures import SETTINGS, frame, record
from benchmarks.analyses import arena
from benchmarks.analyses.analysis import (
    Analysis,
    Table,
    read_analyses,
    read_analysis,
    write_analysis,
)
from benchmarks.arena.packages import PACKAGES, arena_agents
from benchmarks.markdown import align, cell
from benchmarks.records import RunFolder
from benchmarks.roster import find_agents
from imports import ROOT

# Losses at ratios of 0.2 and 0.4.
CURVE = pandas.DataFrame(
    {
        "agent": ["policy", "policy", "self_information", "self_information"],
        "ratio": [0.2, 0.4, 0.2, 0.4],
        "likelihood loss": [0.1, 0.2, 0.2, 0.6],
    }
)
SPLITS = ("seen", "unseen")
AGENTS = {
    "compressor-f": "compressor:requirements=none/zip.txt,target=m:f",
    "compressor-rate0.1-f": "compressor:rate=0.1,requirements=none/zip.txt,target=m:f",
    "stopwords": "stopwords",
}
MEASURED = {"compressor-f": (0.3, 0.5), "compressor-rate0.1-f": (0.1, 0.11), "stopwords": (0.5, 1)}


def records() -> pandas.DataFrame:
    """Two splits on which each agent saves and loses the same for two prompts."""
    return frame(
        [
            record(
                agent=agent,
                split=split,
                prompt_id=prompt,
                compression_ratio=saved,
                likelihood_loss=float(loss) + (0.01 if prompt == "p1" else -0.01),
            )
            for agent, (saved, loss) in MEASURED.items()
            for split in SPLITS
            for prompt in ("p0", "p1")
        ]
    )


def test_of_each_package_the_setting_that_loses_least_beside_the_yardstick_is_shown() -> None:
    """At 0.3 self_information loses 0.4, so the default is 0.1 worse; at 0.1 it loses 0.1."""
    found = arena.analyse(
        records(), SETTINGS | {"agents": AGENTS}, dict.fromkeys(SPLITS, CURVE),
        {"compressor-rate0.1-f": 0.25},
    )  # fmt: skip
    assert list(found.tables) == ["seen", "unseen"]
    rows = found.tables["unseen"].frame().set_index("agent")
    assert list(rows.index) == ["f 0.1", "stopwords"]
    own = rows.loc["f 0.1"]
    assert own["likelihood loss"] == pytest.approx(0.11)
    assert own["low"] == pytest.approx(0.10)
    assert own["high"] == pytest.approx(0.12)
    assert own["policy's"] == pytest.approx(0.05)
    assert own["self_information's"] == pytest.approx(0.1)
    assert own["flips"] == 0.25
    assert rows.loc["stopwords"].isna()[["policy's", "self_information's", "flips"]].all()


def test_agents_that_are_no_compressors_stand_under_their_names() -> None:
    for meaning in ("search:budget=2, oracle", "scst, train 1f, 9 episodes", "policy:rate=0.2"):
        assert arena.package_of("a", meaning) == arena.label_of("a", meaning) == "a"


def test_curves_without_gold_quality_are_compared_by_loss_alone() -> None:
    measured = records().assign(gold_score=1.0, original_gold_score=1.0)
    found = arena.analyse(measured, SETTINGS | {"agents": AGENTS}, dict.fromkeys(SPLITS, CURVE), {})
    columns = found.tables["seen"].columns
    assert {"gold quality", "policy's"} < set(columns)
    assert "policy's gold" not in columns
    gold = CURVE.assign(**{"gold quality": 0.5})
    found = arena.analyse(measured, SETTINGS | {"agents": AGENTS}, dict.fromkeys(SPLITS, gold), {})
    assert found.tables["seen"].frame()["policy's gold"].dropna().tolist() == [0.75]


def test_the_analysis_compares_with_its_own_curves_or_the_published_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = RunFolder.open(tmp_path / "mine", SETTINGS | {"agents": {"a": "a"}})
    for split in SETTINGS["splits"]:
        with folder.write_part("a", split, 0) as write:
            write(record(split=split, compression_ratio=0.1, likelihood_loss=0.3))
    published = RunFolder.open(tmp_path / "published", SETTINGS).path
    tables = {"seen": Table.of(CURVE), "unseen": Table.of(CURVE)}
    write_analysis(published, Analysis("rates", "Curves", "", tables))
    monkeypatch.setattr(arena, "standings", lambda settings: RunFolder(published))
    arena.run(folder.path)
    [found] = read_analyses(folder.path)
    shown = found.tables["seen"]
    assert shown.frame()["policy's"].tolist() == [0.05]
    assert "MB" not in shown.columns
    tables = {"seen": Table.of(shown.frame().assign(MB=7))}
    write_analysis(folder.path, Analysis("arena", "Arena of another machine", "", tables))
    sizes = arena.run(folder.path).tables["unseen"].frame()["MB"]
    assert sizes.tolist() == [7]
    own = CURVE.assign(**{"likelihood loss": 2 * CURVE["likelihood loss"]})
    tables = {"seen": Table.of(own), "unseen": Table.of(own)}
    write_analysis(folder.path, Analysis("rates", "Own curves", "", tables))
    assert arena.run(folder.path).tables["seen"].frame()["policy's"].tolist() == [0.1]
    tables = {split: Table.of(own.assign(agent="mine")) for split in tables}
    write_analysis(folder.path, Analysis("rates", "Curves without references", "", tables))
    assert arena.run(folder.path).tables["seen"].frame()["policy's"].tolist() == [0.05]
    assert (folder.path / "analyses" / "arena.png").is_file()


def test_standings_without_curves_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = RunFolder.open(tmp_path / "mine", SETTINGS)
    monkeypatch.setattr(arena, "standings", lambda settings: folder)
    with pytest.raises(ValueError, match=r"toy have no curves: run `benchmarks analyse"):
        arena.run(folder.path)


def test_every_setting_of_the_arena_is_an_agent() -> None:
    requirements = ROOT / "benchmarks" / "arena" / "requirements"
    entries = find_agents(arena_agents())
    assert len(entries) == sum(map(len, PACKAGES.values()))
    assert all(1 <= len(settings) <= 3 for settings in PACKAGES.values())
    assert {file.stem for file in requirements.iterdir()} == set(PACKAGES)
    for package in PACKAGES:
        pinned = (requirements / f"{package}.txt").read_text(encoding="utf-8")
        assert "--hash=sha256:" in pinned


def test_the_pages_show_the_committed_figures() -> None:
    committed = ROOT / "benchmarks" / "arena" / "instruct"
    found = read_analysis(committed, "arena")
    assert found is not None
    page = (ROOT / "docs" / "arena.md").read_text(encoding="utf-8")
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    table = found.tables["validation_human"]
    cells = [list(table.columns), *([cell(value) for value in row] for row in table.rows)]
    assert align(cells) in page
    human = found.tables["validation_human"].frame()
    shown = human[human["saved"] >= 0.05]
    assert len(shown) >= 10
    for _, row in shown.iterrows():
        keys = ("saved", "likelihood loss", "policy's", "gold quality", "policy's gold")
        figures = [row[key] for key in keys]
        line = [row["agent"], *(cell(value if value == value else None) for value in figures)]
        assert re.search(r"\| " + r" +\| +".join(map(re.escape, line)) + r" +\|", readme), line


@pytest.mark.parametrize(
    ("file", "split", "columns"),
    [
        (
            "arena/micro/analyses/arena.json",
            "validation_human",
            ("saved", "similarity", "low", "high", "scst's", "self_information's", "net saving"),
        ),
        (
            "results/arena/alpaca-plus/arena.json",
            "validation_unseen",
            ("saved", "likelihood loss", "low", "high", "policy's", "self_information's",
             "gold quality", "policy's gold", "net saving"),
        ),
    ],
)  # fmt: skip
def test_the_page_shows_the_figures_of_other_suites(
    file: str, split: str, columns: tuple[str, ...]
) -> None:
    text = (ROOT / "benchmarks" / file).read_text(encoding="utf-8")
    rows = Table(**json.loads(text)["tables"][split]).frame()
    rows = rows[rows["saved"] >= 0.05]
    assert len(rows) >= 10
    shown = [
        [row["agent"], *(cell(None if pandas.isna(row[key]) else row[key]) for key in columns)]
        for _, row in rows.iterrows()
    ]
    page = (ROOT / "docs" / "arena.md").read_text(encoding="utf-8")
    assert align([["agent", *columns], *shown]) in page
