"""Kills runs by SIGKILL before chosen changes of files, resumes them, and tells what was lost.

    python tests/run_killer.py FOLDER STEP training|benchmark

Forks one process per run, so that libraries are imported once. Prints one JSON object per line:
`killed_before`, the updates that were done and stored when it was killed, and whether the resumed
run equals the unbroken one.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import traceback
from pathlib import Path

import torch

import agents.runs.run
import run_agents
from agents.runs.folder import TrainingFolder
from bench_fixtures import make_generator, untimed
from benchmarks.roster import find_agents
from benchmarks.runner import Benchmark
from benchmarks.suites import Suite
from pcrl_gym.storage.atomic import recover_folder, write_file

CHANGES = {"open", "os.rename", "os.remove", "os.rmdir", "os.mkdir"}


def benchmark(path: Path) -> None:
    """Train and evaluate a small agent as `benchmarks run` does."""
    data = path.parent / "data"
    data.mkdir(exist_ok=True)
    for split in ("train", "validation_seen"):
        rows = [{"instruction": f"Please sort the words, {split} {n}"} for n in range(9)]
        (data / f"{split}.json").write_text(json.dumps(rows))
    options = {"splits": ("validation_seen",), "generator": "counting", "max_units": 48, "seeds": 1}
    suite = Suite(id="toy", version=1, dataset=str(data), **options)
    agents = find_agents(["bench_agents:Small"])
    generator = make_generator()
    Benchmark(suite, agents, path, train_episodes=8 * 12, generator=generator).run()


RUNS = {"training": (run_agents.run, "."), "benchmark": (benchmark, "training/small-seed0")}
"""Per kind what runs in a folder, and where in it the training is."""


def forked(kind: str, path: Path, kill_before: int | None, counts: Path) -> int:
    """Run in a child; kill it before its n-th change in the folder. Returns its wait status."""
    child = os.fork()
    if child:
        return os.waitpid(child, 0)[1]
    seen = 0

    def hook(event: str, args: tuple) -> None:
        nonlocal seen
        if event in CHANGES and str(args[0]).startswith(str(path)):
            seen += 1
            if seen == kill_before:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)
    try:
        RUNS[kind][0](path)
        counts.write_text(str(seen))
    except BaseException:
        traceback.print_exc()
        os._exit(1)
    os._exit(0)


def main(folder: Path, step: int, kind: str) -> None:
    torch.set_num_threads(1)  # threads of a pool do not survive a fork
    # What a picture looks like is tested elsewhere; drawing takes most of the time.
    agents.runs.run.draw = lambda rows, path: write_file(path, b"picture")
    counts = folder / "count"
    assert forked(kind, folder / "unbroken", None, counts) == 0
    total = int(counts.read_text())
    unbroken = TrainingFolder(folder / "unbroken" / RUNS[kind][1])
    for kill_before in range(1, total + 1, step):
        path = folder / f"killed-{kill_before}"
        run = TrainingFolder(path / RUNS[kind][1])
        assert forked(kind, path, kill_before, counts) == signal.SIGKILL
        done = max((row["updates"] for row in run.rows()), default=0)
        for stored in (run.last, run.best):
            recover_folder(stored)
        progress = run.last / "progress.json"
        kept = json.loads(progress.read_text())["updates"] if progress.is_file() else 0
        assert forked(kind, path, None, counts) == 0
        same = {
            "last": run_agents.weights(run.last) == run_agents.weights(unbroken.last),
            "best": run_agents.weights(run.weights) == run_agents.weights(unbroken.weights),
            "records": kind == "training" or untimed(path) == untimed(folder / "unbroken"),
            "rows": run_agents.figures(run) == run_agents.figures(unbroken),
            "files": sorted(f.name for f in run.path.iterdir())
            == sorted(f.name for f in unbroken.path.iterdir()),
        }
        told = {"killed_before": kill_before, "of": total, "done": done, "kept": kept}
        print(json.dumps(told | {"same": same}), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3])
