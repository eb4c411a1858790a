"""`benchmarks/on_gpu.sh`: one part after the other, whatever goes wrong, and a report of all."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from benchmarks.speed.on_gpu import add_part
from imports import ROOT

SCRIPT = ROOT / "benchmarks" / "on_gpu.sh"
needs_bash = pytest.mark.skipif(
    shutil.which("bash") is None or shutil.which("timeout") is None, reason="needs bash, timeout"
)

STAND_IN = """\
#!{bash}
# Notes what it is asked to run; sees no GPU, and fails where it is told to.
[[ $1 == -c ]] && exit 1
echo "$*" >> "{notes}"
if [[ $3 == "${{BROKEN:-}}" ]]; then exit 3; fi
if [[ $3 == finetune ]]; then mkdir -p "${{@: -1}}/model"; fi
"""


@pytest.fixture
def stand_in(tmp_path: Path) -> Path:
    """A program in Python's place."""
    file = tmp_path / "python"
    text = STAND_IN.format(bash=shutil.which("bash"), notes=tmp_path / "notes")
    file.write_text(text, encoding="utf-8")
    file.chmod(0o755)
    return file


def run(stand_in: Path, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(SCRIPT), *arguments],
        env=os.environ | {"PYTHON": str(stand_in)} | settings,
        cwd=stand_in.parent,
        capture_output=True,
        text=True,
    )


@needs_bash
def test_parts_run_one_after_the_other_and_are_reported(stand_in: Path, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    done = run(stand_in, "out", "data", TRAINING_SECONDS="30")
    assert done.returncode == 0, done.stderr
    notes = (tmp_path / "notes").read_text().splitlines()
    throughput, finetune, training = notes[::2]
    assert "throughput --models micro --prompts 64" in throughput
    # Without a GPU the small model; paths as they were meant.
    assert f"finetune --from-config gpt2-mini --data {tmp_path}/data --minutes 2 " in finetune
    assert f"task.generator={tmp_path}/out/finetune/model run.minutes=0.5" in training
    for name, report in zip(("throughput", "finetune", "training"), notes[1::2], strict=True):
        assert report.startswith(f"-m benchmarks.speed.on_gpu {tmp_path}/out {name} 0 ")
    again = run(stand_in, "out")
    assert again.returncode == 2
    assert "exists; give a new folder" in again.stderr


@needs_bash
def test_a_part_that_fails_is_named_and_the_others_are_done(stand_in: Path, tmp_path: Path) -> None:
    done = run(stand_in, "out", BROKEN="finetune")
    assert done.returncode == 1
    assert "error: failed or stopped: finetune (exit status 3)" in done.stderr
    notes = (tmp_path / "notes").read_text().splitlines()
    assert "--data micro" in notes[2]
    assert notes[3].startswith(f"-m benchmarks.speed.on_gpu {tmp_path}/out finetune 3 ")
    assert "task.generator=micro " in notes[4]  # there is no tuned one


@needs_bash
def test_it_says_how_it_is_used() -> None:
    done = subprocess.run([str(SCRIPT)], capture_output=True, text=True)
    assert done.returncode == 2
    assert "benchmarks/on_gpu.sh OUTDIR [DATA]" in done.stdout


def test_the_report_takes_figures_from_the_files_of_the_parts(tmp_path: Path) -> None:
    (tmp_path / "throughput.json").write_text(json.dumps({"finished": False, "cases": [1]}))
    add_part(tmp_path, "throughput", 124, 240)
    (tmp_path / "training").mkdir()
    rows = [
        {"kind": "update", "updates": 1, "episodes": 256, "seconds": 4.0, "reward": 0.1},
        {"kind": "update", "updates": 2, "episodes": 512, "seconds": 8.0, "reward": 0.2},
        {"kind": "evaluation", "updates": 2, "reward": 0.3},
    ]
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    (tmp_path / "training" / "metrics.jsonl").write_text(lines)
    add_part(tmp_path, "finetune", 1, 2)
    report = add_part(tmp_path, "training", 0, 12)
    assert {"git", "gpu", "libraries", "platform"} <= set(report["machine"])
    assert report == json.loads((tmp_path / "on_gpu.json").read_text())
    parts = report["parts"]
    assert parts["throughput"]["outcome"] == "stopped"
    assert parts["throughput"]["figures"] == {"finished": False, "cases": [1]}
    assert (parts["finetune"]["outcome"], parts["finetune"]["figures"]) == ("failed", None)
    figures = parts["training"]["figures"]
    assert figures["masks_per_second"] == 64.0
    assert (figures["first_update"], figures["evaluations"]) == (rows[0], rows[2:])
