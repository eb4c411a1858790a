"""Publishing; committed standings are of the suites as they are now, pages show their figures."""

from __future__ import annotations

import dataclasses
import itertools
import json
import shutil
from pathlib import Path
from typing import Any

import pandas
import pytest

from bench_fixtures import SETTINGS, record
from benchmarks.cluster.merge import merge
from benchmarks.records import RunFolder, kept_text
from benchmarks.standings import join, publish, standings
from benchmarks.suites import SUITES, suite_of
from benchmarks.tables import format_leaderboard, make_rows, write_leaderboard
from imports import ROOT
from pcrl_gym.errors import RunFolderError


@pytest.fixture
def results(tmp_path: Path) -> RunFolder:
    """A finished folder of two agents; prompts lie in another order than their ids."""
    folder = RunFolder.open(tmp_path / "out", SETTINGS | {"agents": {"a": "m:A", "b": "m:B"}})
    for agent, split in itertools.product("ba", ("unseen", "seen")):
        with folder.write_part(agent, split, 0) as write:
            for prompt_id in ("z", "k"):
                write(record(agent=agent, split=split, prompt_id=prompt_id, dropped=((0, 2),)))
                of = {"agent": agent, "split": split, "prompt_id": f"{prompt_id}2"}
                write(record(**of, dropped=(), prompt="\udc80", compressed_prompt="\udc80"))
    (folder.path / "provenance.json").write_text('{"runs": []}')
    write_leaderboard(folder)
    return folder


def test_published_records_are_those_of_the_folder(results: RunFolder, tmp_path: Path):
    file = publish(results, tmp_path / "page" / "toy")
    assert {one.name for one in file.parent.iterdir()} == {
        "settings.json",
        "provenance.json",
        "summary.json",
        "records.parquet",
    }
    frame = results.frame()
    kept = list(map(kept_text, frame["prompt"], frame["dropped"]))
    frame["compressed_prompt"] = pandas.Series(kept, dtype=object)
    published = RunFolder(file.parent)
    pandas.testing.assert_frame_equal(published.frame(), frame, check_exact=True)
    file.write_bytes(b"PAR1")
    with pytest.raises(RunFolderError, match=r"records\.parquet: cannot be read"):
        published.frame()


def test_rewritten_prompts_are_published_with_their_texts(results: RunFolder, tmp_path: Path):
    with results.write_part("a", "seen", 0) as write:
        for prompt_id in ("z", "k"):
            write(record(agent="a", split="seen", prompt_id=prompt_id, dropped=((0, 2),)))
        odd = {"rewritten": 1, "compressed_prompt": "other \udc80 words", "dropped": ()}
        write(record(agent="a", split="seen", prompt_id="new", **odd))
    write_leaderboard(results)
    file = publish(results, tmp_path / "page" / "toy")
    own, published = results.frame(), RunFolder(file.parent).frame()
    rewritten = published["rewritten"] == 1
    assert published.loc[rewritten, "compressed_prompt"].tolist() == ["other \udc80 words"]
    kept = list(map(kept_text, published["prompt"], published["dropped"]))
    assert published["compressed_prompt"].where(~rewritten).dropna().tolist() == [
        text for text, new in zip(kept, rewritten, strict=True) if not new
    ]
    assert sorted(own["prompt_id"]) == sorted(published["prompt_id"])


def test_unfinished_folders_are_not_published(results: RunFolder, tmp_path: Path):
    (results.path / "summary.json").unlink()
    with pytest.raises(RunFolderError, match=r"lacks summary\.json"):
        publish(results, tmp_path / "page")
    assert not (tmp_path / "page").exists()


def test_standings_are_found_by_suite_and_version(
    results: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("benchmarks.standings.PUBLISHED", tmp_path / "page")
    with pytest.raises(ValueError, match="no standings for toy v2, only for no suite"):
        standings(SETTINGS)
    publish(results, tmp_path / "page" / "toy")
    assert standings(results.settings).path == tmp_path / "page" / "toy"
    with pytest.raises(ValueError, match="no standings for toy v3, only for toy v2"):
        standings(SETTINGS | {"version": 3})
    frame, settings = join(results, ["standings"])
    assert settings["agents"] == {
        "a": "m:A", "b": "m:B", "a (standings)": "m:A", "b (standings)": "m:B",
    }  # fmt: skip
    assert set(frame["agent"]) == set(settings["agents"])


def test_folders_of_other_settings_are_not_joined(results: RunFolder, tmp_path: Path):
    other = RunFolder.open(tmp_path / "other", SETTINGS | {"limit": 5, "seeds": 9})
    with pytest.raises(RunFolderError) as caught:
        join(results, [other.path])
    assert str(caught.value).splitlines() == [
        "One table must have results of the same suite and prompts, but these differ:",
        f"  limit: 5 in {other.path}, None in {results.path}",
    ]


def copy(of: RunFolder, path: Path, **changes: Any) -> Path:
    """A copy with other settings, and without the records of other splits."""
    shutil.copytree(of.path, path)
    settings = of.settings | changes
    (path / "settings.json").write_text(json.dumps(settings))
    for part in path.glob("records/*/*.parquet"):
        if part.name.partition("-")[0] not in settings["splits"]:
            part.unlink()
    return path


def test_joined_are_the_splits_that_all_have(results: RunFolder, tmp_path: Path):
    results.settings["checksums"] = {"seen": "1", "unseen": "2"}
    some = {"splits": ["seen"], "checksums": {"seen": "1"}, "tokenizer": "a policy's"}
    part = copy(results, tmp_path / "part", **some)
    for one, other in ((results, part), (RunFolder(part), copy(results, tmp_path / "all"))):
        frame, settings = join(one, [other])
        assert set(frame["agent"]) == {"a", "b", f"a ({other.name})", f"b ({other.name})"}
        assert set(frame["split"]) == {"seen"}
        assert {row["split"] for row in make_rows(frame, settings)} == {"seen"}
    data = copy(results, tmp_path / "data", **some | {"checksums": {"seen": "3"}})
    with pytest.raises(RunFolderError, match=r"checksums\.seen: '3' in .*data, '1' in .*out$"):
        join(results, [data])
    none = copy(results, tmp_path / "none", splits=["other"])
    with pytest.raises(RunFolderError, match=r"splits: \['other'\] in .*none, \['seen', 'uns"):
        join(results, [none])


def test_folders_of_one_name_are_told_apart_by_their_paths(results: RunFolder, tmp_path: Path):
    twins = [str(copy(results, tmp_path / name / "mine")) for name in "xy"]
    frame, settings = join(results, [*twins, *twins])
    names = [a if path is None else f"{a} ({path})" for path in (None, *twins) for a in "ab"]
    assert list(settings["agents"]) == names
    assert {row["agent"] for row in make_rows(frame, settings)} == set(names)


def test_nothing_is_added_to_published_results(results: RunFolder, tmp_path: Path):
    """`frame` would read `records.parquet` alone."""
    published = publish(results, tmp_path / "page" / "toy").parent
    before = (published / "settings.json").read_bytes()
    told = f"{published} contains published results, .* `benchmarks table NEW --with {published}`"
    with pytest.raises(RunFolderError, match=told):
        RunFolder.open(published, SETTINGS | {"agents": {"c": "m:C"}})
    assert (published / "settings.json").read_bytes() == before
    for folders, out in (
        ([published], tmp_path / "new"),
        ([results.path, published], tmp_path / "new"),
        ([results.path], published),
    ):
        with pytest.raises(RunFolderError, match=told):
            merge(folders, out)
    assert not (tmp_path / "new").exists()


PAGE = ROOT / "benchmarks" / "leaderboard"
STANDING = {"micro": 9, "micro-seq2seq": 9, "instruct": 9}
"""Suites with committed standings, and how many agents stand there."""
SHOWN = {
    "instruct": (
        "validation_human",
        ["agent", "compression_ratio", "likelihood_loss", "gold_quality"],
    ),
    "micro": (
        "validation_seen",
        ["agent", "reward", "reward_ci", "compression_ratio", "survival_rate"],
    ),
}
"""Split of a suite whose table the README shows, and the columns."""


def told(suite: str, file: str) -> Any:
    return json.loads((PAGE / suite / file).read_text(encoding="utf-8"))


@pytest.mark.parametrize("suite", STANDING)
def test_they_are_of_the_suites_as_they_are_now(suite: str):
    settings = told(suite, "settings.json")
    frozen = SUITES[suite]
    made_of = dataclasses.replace(suite_of(settings), tags=frozen.tags, checksums=frozen.checksums)
    assert made_of == frozen
    assert settings["checksums"].items() <= frozen.checksums.items()
    assert len(settings["agents"]) == STANDING[suite]


def test_the_readme_shows_the_committed_tables():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    board = (PAGE / "leaderboard.md").read_text(encoding="utf-8")
    for suite, (split, columns) in SHOWN.items():
        rows = [row for row in told(suite, "summary.json") if row["split"] == split]
        assert format_leaderboard(rows) in board, "make standings wrote them together"
        shown = format_leaderboard(rows, keys=columns).partition("\n\n")[2]
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
        return f"{100 * share:.1f}%"

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
