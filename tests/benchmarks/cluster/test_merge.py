from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench_agents import Learner
from bench_fixtures import AGENTS, change_part, make_generator, tree, untimed
from benchmarks.cluster.jobs import share_of
from benchmarks.cluster.merge import merge
from benchmarks.records import RunFolder
from benchmarks.roster import find_agents
from benchmarks.runner import Benchmark
from benchmarks.suites import Suite
from pcrl_gym.errors import RunFolderError


def run(suite: Suite, out: Path, shard: str = "1/1", agents: list[str] = AGENTS) -> None:
    Benchmark(
        suite,
        find_agents(agents),
        out,
        train_minutes=None,
        train_episodes=2,
        shard=shard,
        generator=make_generator(),
    ).run()


@pytest.mark.parametrize("count", [2, 5])
def test_merged_shards_equal_an_unsharded_run(
    suite: Suite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int
):
    monkeypatch.setattr(Learner, "trained", [])
    run(suite, tmp_path / "whole")
    trained = sorted(Learner.trained)
    Learner.trained.clear()
    shards = [tmp_path / f"shard{number}" for number in range(1, count + 1)]
    for number, shard in enumerate(shards, start=1):
        run(suite, shard, f"{number}/{count}")
    assert sorted(Learner.trained) == trained  # every agent in one shard alone
    done = [len(list(shard.glob("records/*/*.parquet"))) for shard in shards]
    assert sum(done) == len(list((tmp_path / "whole").glob("records/*/*.parquet")))
    assert all(done)
    rows = merge(shards, tmp_path / "merged")
    assert len(rows) == 6
    assert untimed(tmp_path / "merged") == untimed(tmp_path / "whole")
    assert RunFolder(tmp_path / "merged").settings == RunFolder(tmp_path / "whole").settings
    assert tree(tmp_path / "merged") == {f for f in tree(tmp_path / "whole") if "answers" not in f}
    told = json.loads((tmp_path / "merged" / "provenance.json").read_text())
    assert [one["shard"] for one in told["runs"]] == [f"{n}/{count}" for n in range(1, count + 1)]


def test_merging_again_adds_what_was_finished_since(suite: Suite, tmp_path: Path):
    run(suite, tmp_path / "a", "1/2", ["keep_all"])
    assert len(merge([tmp_path / "a"], tmp_path / "out")) == 1
    run(suite, tmp_path / "b", "2/2", ["keep_all"])
    assert len(merge([tmp_path / "b"], tmp_path / "out")) == 2
    assert len(merge([tmp_path / "a", tmp_path / "b"], tmp_path / "out")) == 2
    told = json.loads((tmp_path / "out" / "provenance.json").read_text())
    assert [one["shard"] for one in told["runs"]] == ["1/2", "2/2"]


def test_different_results_of_one_part_are_refused(suite: Suite, tmp_path: Path):
    for name in "ab":
        run(suite, tmp_path / name, agents=["keep_all"])
    change_part(tmp_path / "a", "keep_all", lambda records: records[:1])
    with pytest.raises(RunFolderError, match="different results of the same part"):
        merge([tmp_path / "a", tmp_path / "b"], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_other_settings_are_refused(suite: Suite, tmp_path: Path):
    import dataclasses

    run(suite, tmp_path / "a", agents=["keep_all"])
    run(dataclasses.replace(suite, limit=3), tmp_path / "b", agents=["keep_all"])
    with pytest.raises(RunFolderError, match="limit: "):
        merge([tmp_path / "a", tmp_path / "b"], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_folder_is_not_merged_into_itself(suite: Suite, tmp_path: Path):
    run(suite, tmp_path / "a", agents=["keep_all"])
    with pytest.raises(ValueError, match="another --out"):
        merge([tmp_path / "a"], tmp_path / "a")
    with pytest.raises(ValueError, match="at least one"):
        merge([], tmp_path / "b")


@pytest.mark.parametrize("text", ["3", "0/2", "3/2", "a/b", "1/0"])
def test_shards_that_cannot_be(text: str):
    with pytest.raises(ValueError, match="must look like"):
        share_of(text)
