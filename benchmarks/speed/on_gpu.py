"""The report of `benchmarks/on_gpu.sh`: what each part measured, and with what.

`python -m benchmarks.speed.on_gpu OUTDIR PART STATUS SECONDS` adds a part to OUTDIR/on_gpu.json.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from benchmarks.provenance import machine
from pcrl_gym.storage.atomic import write_file

STOPPED = (124, 137)  # how `timeout` ends when the time is up, and when it had to kill


def add_part(out: Path, part: str, status: int, seconds: int) -> dict[str, Any]:
    """Add a part to the report, which is there from the first part on.

    Args:
        out: Folder of the measurements.
        part: "throughput", "finetune" or "training".
        status: Exit status of its command.
        seconds: Wall-clock time it took, loading included.

    Returns:
        The report: `machine`, see `benchmarks.provenance.machine`, and `parts` by name, each with
        `outcome` ("done", "stopped" by its time limit, "failed"), `seconds` and `figures`.
    """
    file = out / "on_gpu.json"
    report = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {"parts": {}}
    outcome = "done" if status == 0 else "stopped" if status in STOPPED else "failed"
    measured = {"seconds": seconds, "figures": FIGURES[part](out)}
    report = {"machine": machine(), **report}
    report["parts"][part] = {"outcome": outcome, "status": status, **measured}
    write_file(file, json.dumps(report, indent=2) + "\n")
    return report


def _throughput(out: Path) -> Any:
    stored = _read(out / "throughput.json")
    return stored and {"finished": stored["finished"], "cases": stored["cases"]}


def _finetune(out: Path) -> Any:
    stored = _read(out / "finetune" / "training.json")
    if stored is None:
        return None
    kept = {key: value for key, value in stored.items() if key not in ("git", "libraries")}
    return kept | {"evaluation": _read(out / "finetune" / "evaluation.json")}


def _training(out: Path) -> Any:
    file = out / "training" / "metrics.jsonl"
    if not file.is_file():
        return None
    rows = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    updates = [row for row in rows if row["kind"] == "update"]
    if not updates:
        return None
    return {
        "masks_per_second": updates[-1]["episodes"] / updates[-1]["seconds"],
        "first_update": updates[0],
        "last_update": updates[-1],
        "evaluations": [row for row in rows if row["kind"] == "evaluation"],
    }


FIGURES = {"throughput": _throughput, "finetune": _finetune, "training": _training}
"""Figures from the parts' own files, None without one: speed of each way; what tuning took, and how
well the result answers; masks scored and learned from per second, and what they earned."""


def _read(file: Path) -> Any:
    return json.loads(file.read_text(encoding="utf-8")) if file.is_file() else None


if __name__ == "__main__":
    folder, name, exit_status, took = sys.argv[1:]
    add_part(Path(folder), name, int(exit_status), int(took))
