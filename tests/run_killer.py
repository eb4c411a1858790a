"""Kills runs by SIGKILL before chosen changes of files, resumes them, and tells what was lost.

    python tests/run_killer.py FOLDER STEP

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
from pcrl_gym.storage.atomic import recover_folder, write_file

CHANGES = {"open", "os.rename", "os.remove", "os.rmdir", "os.mkdir"}


def forked(path: Path, kill_before: int | None, counts: Path) -> int:
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
        run_agents.run(path)
        counts.write_text(str(seen))
    except BaseException:
        traceback.print_exc()
        os._exit(1)
    os._exit(0)


def main(folder: Path, step: int) -> None:
    torch.set_num_threads(1)  # threads of a pool do not survive a fork
    # What a picture looks like is tested elsewhere; drawing takes most of the time.
    agents.runs.run.draw = lambda rows, path: write_file(path, b"picture")
    counts = folder / "count"
    assert forked(folder / "unbroken", None, counts) == 0
    total = int(counts.read_text())
    unbroken = TrainingFolder(folder / "unbroken")
    for kill_before in range(1, total + 1, step):
        run = TrainingFolder(folder / f"killed-{kill_before}")
        assert forked(run.path, kill_before, counts) == signal.SIGKILL
        done = max((row["updates"] for row in run.rows()), default=0)
        for stored in (run.last, run.best):
            recover_folder(stored)
        progress = run.last / "progress.json"
        kept = json.loads(progress.read_text())["updates"] if progress.is_file() else 0
        assert forked(run.path, None, counts) == 0
        same = {
            "last": run_agents.weights(run.last) == run_agents.weights(unbroken.last),
            "best": run_agents.weights(run.best) == run_agents.weights(unbroken.best),
            "rows": run_agents.figures(run) == run_agents.figures(unbroken),
            "files": sorted(f.name for f in run.path.iterdir())
            == sorted(f.name for f in unbroken.path.iterdir()),
        }
        told = {"killed_before": kill_before, "of": total, "done": done, "kept": kept}
        print(json.dumps(told | {"same": same}), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
