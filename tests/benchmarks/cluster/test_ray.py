from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from agents.runs.evaluation import AgentError
from bench_fixtures import AGENTS, make_generator, tree, untimed
from benchmarks.__main__ import main
from benchmarks.cluster.ray import files_of, run_on_cluster, write_files
from benchmarks.records import RunFolder
from benchmarks.roster import find_agents
from benchmarks.runner import Benchmark
from benchmarks.suites import Suite
from fakes import CountingGenerator
from ray_fakes import MortalFake


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """A local cluster for all tests, so that not each of them starts one."""
    pytest.importorskip("ray")
    from pcrl_gym.generators.ray.cluster import connected

    with connected() as ray:
        yield ray


def benchmark(suite: Suite, out: Path, generator: CountingGenerator | None = None, **options: Any):
    options = {"agents": AGENTS, "train_minutes": None, "train_episodes": 2, **options}
    agents = find_agents(options.pop("agents"))
    return Benchmark(suite, agents, out, generator=generator or make_generator(), **options)


def test_the_files_of_a_job_go_elsewhere_and_come_back(suite: Suite, tmp_path: Path):
    one, other = tmp_path / "one", tmp_path / "other"
    local = benchmark(suite, one, agents=["bench_agents:Learner", "random"])
    local.run()
    job = local.jobs()[0]
    files = files_of(job, one)
    assert set(files) == {f for f in tree(one) if "learner" in f and "seed0" in f}
    assert files_of(job, other) == {}
    write_files(other, files | {"settings.json": (one / "settings.json").read_bytes()})
    assert files_of(job, other) == files


def test_shards_and_workers_exclude_each_other(tmp_path: Path, capsys):
    command = ["run", "--suite", "micro-ci", "--agents", "random", "--out", str(tmp_path / "out")]
    assert main([*command, "--ray", "2", "--shard", "1/2"]) == 2
    assert "Mutually exclusive" in capsys.readouterr().err
    assert main([*command, "--ray", "0"]) == 2


@pytest.mark.slow
def test_two_workers_give_the_result_of_a_local_run(cluster: Any, suite: Suite, tmp_path: Path):
    local, spread = tmp_path / "local", tmp_path / "spread"
    agents = [*AGENTS, "compressor:target=string:capwords"]
    expected = benchmark(suite, local, agents=agents).run()
    rows = run_on_cluster(benchmark(suite, spread, agents=agents), workers=2)
    assert untimed(spread) == untimed(local)
    assert RunFolder(spread).settings == RunFolder(local).settings
    timeless = [{k: v for k, v in row.items() if k != "compress_ms"} for row in rows]
    assert timeless == [{k: v for k, v in row.items() if k != "compress_ms"} for row in expected]
    assert tree(spread) == {file for file in tree(local) if "answers" not in file}
    for seed in range(suite.seeds):
        place = f"training/learner-seed{seed}/last/knows"
        assert (spread / place).read_text() == (local / place).read_text()
    # One entry per worker, with its machine.
    told = json.loads((spread / "provenance.json").read_text())["runs"]
    assert 1 <= len(told) <= 2


@pytest.mark.slow
def test_an_unfinished_run_goes_on_without_doing_anything_twice(
    cluster: Any, suite: Suite, tmp_path: Path
):
    out = tmp_path / "out"
    benchmark(suite, out, agents=["random"]).run()
    learner = benchmark(suite, out, agents=["bench_agents:Learner"])
    for job in learner.jobs():
        learner.train(job)
    next((out / "records" / "random").glob("*seed1*")).unlink()
    trained = {f: f.read_bytes() for f in (out / "training").rglob("*") if f.is_file()}
    before = {f: f.read_bytes() for f in (out / "records").rglob("*.parquet")}
    rows = run_on_cluster(benchmark(suite, out, agents=["random", "bench_agents:Learner"]), 2)
    assert {(r["agent"], r["split"], r["seeds"]) for r in rows} == {
        (agent, split, 2) for agent in ("random", "learner") for split in suite.splits
    }
    assert len(before) == 3
    assert all(file.read_bytes() == content for file, content in {**before, **trained}.items())
    once = {f: f.stat().st_mtime_ns for f in (out / "records").rglob("*.parquet")}
    assert run_on_cluster(benchmark(suite, out, agents=["random", "bench_agents:Learner"])) == rows
    assert {f: f.stat().st_mtime_ns for f in (out / "records").rglob("*.parquet")} == once


@pytest.mark.slow
def test_a_job_whose_worker_is_killed_is_done_again(cluster: Any, suite: Suite, tmp_path: Path):
    def mortal(name: str, deaths: int) -> MortalFake:
        fake = MortalFake(tmp_path / name, deaths)
        fake.tokenizer = make_generator().tokenizer
        return fake

    lines = (Path(suite.dataset) / "validation_seen.jsonl").read_text()
    (Path(suite.dataset) / "validation_seen.jsonl").write_text(lines.replace("seen 3", "fatal 3"))
    suite = dataclasses.replace(suite, limit=8)
    expected = benchmark(suite, tmp_path / "local", mortal("none", 0), agents=["keep_all"]).run()
    assert len(expected) == 2
    run_on_cluster(benchmark(suite, tmp_path / "once", mortal("one", 1), agents=["keep_all"]), 2)
    assert (tmp_path / "one").read_text() == "x"
    assert untimed(tmp_path / "once") == untimed(tmp_path / "local")
    with pytest.raises(Exception, match=r"keep_all, seed 0, validation_seen: its process died 3 t"):
        run_on_cluster(benchmark(suite, tmp_path / "never", mortal("nine", 9), agents=["keep_all"]))
    parts = list((tmp_path / "never").glob("records/*/*.parquet"))
    assert [part.name for part in parts] == ["validation_unseen-seed0.parquet"]  # the other is kept


@pytest.mark.slow
def test_what_a_job_raises_is_raised_and_the_rest_is_kept(
    cluster: Any, suite: Suite, tmp_path: Path
):
    wrong = benchmark(suite, tmp_path / "out", agents=["keep_all", "bench_agents:WrongShape"])
    with pytest.raises(AgentError, match="Agent wrong-shape"):
        run_on_cluster(wrong, workers=1)
    assert {r.agent for r in RunFolder(tmp_path / "out").records()} == {"keep_all"}


@pytest.fixture
def one_thread() -> Iterator[None]:
    """As a worker with one CPU computes: sums of floats depend on the number of threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.slow
def test_the_command_trains_and_evaluates_on_workers(
    cluster: Any, one_thread: None, tmp_path: Path, capsys
):
    common = ["run", "--suite", "micro-ci", "--agents", "scst,random", "--train-episodes", "256"]
    for out, more in (("local", []), ("spread", ["--ray", "2"])):
        assert main([*common, *more, "--out", str(tmp_path / out)]) == 0
    assert "scst" in capsys.readouterr().out
    assert untimed(tmp_path / "spread") == untimed(tmp_path / "local")
    one, other = (
        {f.relative_to(tmp_path / out): f.read_bytes() for f in weights}
        for out in ("local", "spread")
        if (weights := list((tmp_path / out / "training").rglob("network.safetensors")))
    )
    assert one == other
    assert len(one) >= 2
