"""One part after the other, whatever goes wrong, and a report of all."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from benchmarks.speed import on_gpu

UPDATES = [
    {"kind": "update", "updates": 1, "episodes": 256, "seconds": 4.0, "reward": 0.1},
    {"kind": "evaluation", "updates": 1, "reward": 0.3},
]


def test_parts_run_one_after_the_other_and_are_reported(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    """Measuring is stopped, tuning ends with a model, and training fails."""
    out, asked = tmp_path / "a b", []

    def execute(command: list[str], **options: Any) -> Any:
        asked.append(command[3:])
        if command[3] == "speed":
            (out / "throughput.json").write_text(json.dumps({"finished": False, "cases": [1]}))
            raise subprocess.TimeoutExpired(command, options["timeout"])
        if command[3] == "finetune":
            (out / "finetune" / "model").mkdir(parents=True)
            return subprocess.CompletedProcess(command, 0)
        (out / "training").mkdir()
        lines = "".join(json.dumps(row) + "\n" for row in UPDATES)
        (out / "training" / "metrics.jsonl").write_text(lines + '{"torn')
        return subprocess.CompletedProcess(command, 2)

    monkeypatch.setattr(on_gpu, "machine", lambda: {"gpu": None})
    monkeypatch.setattr(subprocess, "run", execute)
    assert on_gpu.run(str(out), data="my prompts", encoder="bert") == 1
    throughput, finetune, training = asked
    # Without a GPU the small models; paths with spaces stay whole.
    assert throughput[:4] == ["speed", "throughput", "--models", "micro"]
    assert throughput[-1] == f"{out}/throughput.json"
    assert finetune[:5] == ["finetune", "--from-config", "gpt2-mini", "--data", "my prompts"]
    assert {"scst-minilm", "agent.encoder=bert", f"task.generator={out}/finetune/model"} <= {
        *training
    }
    report = json.loads((out / "on_gpu.json").read_text())
    assert report["machine"] == {"gpu": None}
    parts = report["parts"].values()
    assert [part["outcome"] for part in parts] == ["stopped", "done", "failed"]
    assert [part["status"] for part in parts] == [None, 0, 2]
    assert [part["figures"] for part in parts] == [
        {"throughput.json": {"finished": False, "cases": [1]}},
        {"finetune/training.json": None, "finetune/evaluation.json": None},
        {"training/metrics.jsonl": UPDATES},
    ]
    with pytest.raises(ValueError, match="choose a new folder"):
        on_gpu.run(str(out))
