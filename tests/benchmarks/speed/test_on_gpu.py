"""One part after the other, whatever goes wrong, and a report of all."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from benchmarks.speed import on_gpu

UPDATES = [
    {"kind": "update", "updates": 1, "episodes": 256, "seconds": 4.0, "reward": 0.1},
    {"kind": "evaluation", "updates": 1, "reward": 0.3},
]


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """What would be run; tuning ends with a model, and measuring is stopped."""
    asked: list[list[str]] = []

    def execute(command: list[str], limit: float, log: Path) -> tuple[str, int]:
        asked.append(command[3:])
        out = log.parent
        if command[3] == "speed":
            (out / "throughput.json").write_text(json.dumps({"finished": False, "cases": [1]}))
            return "stopped", 130
        if command[3] == "finetune":
            (out / "finetune" / "model").mkdir(parents=True)
        else:
            (out / "training").mkdir()
            lines = "".join(json.dumps(row) + "\n" for row in UPDATES)
            (out / "training" / "metrics.jsonl").write_text(lines)
        return "done", 0

    monkeypatch.setattr(on_gpu, "execute", execute)
    return asked


def test_parts_run_one_after_the_other_and_are_reported(
    commands: list[list[str]], tmp_path: Path
) -> None:
    out = tmp_path / "a b"
    assert on_gpu.run(str(out), data="my prompts", encoder="bert") == 1
    throughput, finetune, training = commands
    # Without a GPU the small models; paths with spaces stay whole.
    assert throughput[:4] == ["speed", "throughput", "--models", "micro"]
    assert throughput[-1] == f"{out}/throughput.json"
    assert finetune[:5] == ["finetune", "--from-config", "gpt2-mini", "--data", "my prompts"]
    assert {"scst-minilm", "agent.encoder=bert", f"task.generator={out}/finetune/model"} <= {
        *training
    }
    report = json.loads((out / "on_gpu.json").read_text())
    assert {"git", "gpu", "libraries", "platform"} <= set(report["machine"])
    parts = report["parts"]
    assert [parts[name]["outcome"] for name in parts] == ["stopped", "done", "done"]
    assert [parts[name]["figures"] for name in parts] == [
        {"throughput.json": {"finished": False, "cases": [1]}},
        {"finetune/training.json": None, "finetune/evaluation.json": None},
        {"training/metrics.jsonl": UPDATES},
    ]
    with pytest.raises(ValueError, match="give a new folder"):
        on_gpu.run(str(out))


@pytest.mark.parametrize(
    ("code", "limit", "outcome"),
    [
        ("print('x')", 60, ("done", 0)),
        ("raise SystemExit(3)", 60, ("failed", 3)),
        ("signal.pause()", 0.5, ("stopped", -2)),
    ],
)
def test_a_command_is_run_within_its_limit(
    code: str, limit: float, outcome: tuple[str, int], tmp_path: Path
) -> None:
    slow = f"import signal; signal.signal(signal.SIGINT, signal.SIG_DFL); {code}"
    log = tmp_path / "log"
    assert on_gpu.execute([sys.executable, "-S", "-c", slow], limit, log) == outcome
