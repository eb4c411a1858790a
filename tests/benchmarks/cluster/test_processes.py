from __future__ import annotations

import dataclasses
import json
import os
import pickle
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from agents.runs.evaluation import AgentError
from bench_fixtures import AGENTS, make_generator, tree, untimed
from benchmarks.cluster.processes import run_on_processes
from benchmarks.records import RunFolder
from benchmarks.roster import find_agents
from benchmarks.runner import Benchmark
from benchmarks.suites import Suite

ROOT = Path(__file__).parents[3]


def benchmark(suite: Suite, out: Path, agents: list[str]) -> Benchmark:
    suite = dataclasses.replace(suite, limit=8)
    return Benchmark(suite, find_agents(agents), out, train_episodes=2, generator=make_generator())


def test_two_processes_give_the_result_of_one(suite: Suite, tmp_path: Path, capsys):
    one, two = tmp_path / "one", tmp_path / "two"
    expected = benchmark(suite, one, AGENTS).run()
    rows = run_on_processes(benchmark(suite, two, AGENTS), 2)
    assert untimed(two) == untimed(one)
    assert RunFolder(two).settings == RunFolder(one).settings
    assert len(rows) == len(expected) == 6
    assert tree(two) == tree(one)
    assert len(json.loads((two / "provenance.json").read_text())["runs"]) == 1
    assert capsys.readouterr().err.count("done: ") == 8
    assert run_on_processes(benchmark(suite, two, AGENTS), 2) == rows  # nothing is left to do


def test_a_failure_names_its_job_and_keeps_the_others(suite: Suite, tmp_path: Path, capsys):
    wrong = benchmark(suite, tmp_path / "out", ["keep_all", "bench_agents:WrongShape", "random"])
    with pytest.raises(AgentError, match="Agent wrong-shape"):
        run_on_processes(wrong, 1)
    assert {r.agent for r in RunFolder(tmp_path / "out").records()} == {"keep_all"}
    assert "failed: wrong-shape, seed 0, validation_seen\n" in capsys.readouterr().err


@pytest.mark.slow
def test_a_process_that_is_killed_is_an_error(suite: Suite, tmp_path: Path):
    with pytest.raises(ChildProcessError, match="a process was killed"):
        run_on_processes(benchmark(suite, tmp_path / "out", ["bench_agents:Deadly"]), 1)


SCRIPT = """
import pickle, sys
from benchmarks.cluster.processes import run_on_processes
run_on_processes(pickle.load(sys.stdin.buffer), 2)
"""


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_no_process_outlives_the_first_one(suite: Suite, tmp_path: Path, number: signal.Signals):
    endless = benchmark(suite, tmp_path / "out", ["bench_agents:Endless"])
    path = os.pathsep.join(map(str, (ROOT, ROOT / "tests")))
    first = subprocess.Popen(
        [sys.executable, "-c", SCRIPT],
        env={**os.environ, "PYTHONPATH": path},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    first.stdin.write(pickle.dumps(endless))
    first.stdin.close()
    assert [first.stdout.readline() for _ in range(2)] == [b"at work\n"] * 2
    first.send_signal(number)
    assert first.stdout.read() == b""  # the end is there once no process holds the pipe
    assert first.wait() != 0
