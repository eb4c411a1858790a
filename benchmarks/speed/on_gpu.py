"""Series of measurements on one GPU, which continues even if a part fails."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from agents.runs.curve import read_rows
from benchmarks.provenance import machine
from pcrl_gym.storage.atomic import write_file

# By part: its time limit in seconds, its command, and result files for the report.
_PARTS = {
    "throughput": (
        240,
        "speed throughput --models {models} --prompts {prompts} --repeats 2 --masks random-15 "
        "--out {out}/throughput.json",
        ["throughput.json"],
    ),
    "finetune": (
        170,
        "finetune --from-config {shape} --data {data} --split validation_seen --minutes 2 "
        "--evaluate-limit {answered} --out {out}/finetune",
        ["finetune/training.json", "finetune/evaluation.json"],
    ),
    "training": (
        140,
        "train scst --config {config} --out {out}/training --loggers jsonl --set "
        "agent.encoder={encoder} task.tokenizer={tokenizer} task.dataset={data} "
        "task.generator={generator} run.minutes=1.5 run.episodes=null run.updates=null "
        "run.evaluate_every=1000000 run.evaluate_limit={evaluated}",
        ["training/metrics.jsonl"],
    ),
}
_CPU: dict[str, Any] = {"models": "micro", "shape": "gpt2-mini"}
_CPU |= {"prompts": 64, "answered": 50, "evaluated": 32}
_GPU: dict[str, Any] = {"models": "micro,gpt2-xl,flan-t5-xl,llama-7b", "shape": "gpt2-small"}
_GPU |= {"prompts": 128, "answered": 500, "evaluated": 256}


def run(out: str, /, *, data: str = "micro", encoder: str | None = None) -> int:
    """Measure throughput, tuning and training on one GPU in ten minutes; smaller on a CPU.

    Args:
        out: New folder for all results; its on_gpu.json has machine, versions, commit and metrics.
        data: Folder of prompts with answers in the splits train and validation_seen; or micro.
        encoder: Frozen text encoder of the policy, ID or folder; by default a small new one.

    Returns:
        The exit status: 1 if a part failed or was stopped by its time limit, else 0.
    """
    folder, tuned = Path(out), Path(out, "finetune", "model")
    if folder.exists():
        raise ValueError(f"{out} already exists; choose a new folder")
    folder.mkdir(parents=True)
    report: dict[str, Any] = {"machine": machine(), "parts": {}}
    values = (_GPU if report["machine"]["gpu"] else _CPU) | {"out": out, "data": data}
    values |= {"encoder": encoder or "auto", "tokenizer": encoder or "null"}
    values["config"] = "scst-minilm" if encoder else "scst-micro"
    for part, (limit, words, files) in _PARTS.items():
        values["generator"] = tuned if tuned.is_dir() else "micro"
        arguments = [word.format(**values) for word in words.split()]  # paths may have spaces
        log = folder / f"{part}.log"
        print(f"{part}: at most {limit} s, output in {log}", flush=True)
        began = time.monotonic()
        command = [sys.executable, "-m", "benchmarks", *arguments]
        try:
            with log.open("wb") as file:
                status = subprocess.run(command, stdout=file, stderr=file, timeout=limit).returncode
            outcome = "failed" if status else "done"
        except subprocess.TimeoutExpired:  # it was killed
            outcome, status = "stopped", None
        seconds = round(time.monotonic() - began)
        print(f"{part}: {outcome} after {seconds} s", flush=True)
        measured = {"outcome": outcome, "status": status, "seconds": seconds}
        measured["figures"] = {name: _read(folder / name) for name in files}
        report["parts"][part] = measured
        write_file(folder / "on_gpu.json", json.dumps(report, indent=2) + "\n")
    return int(any(part["outcome"] != "done" for part in report["parts"].values()))


def _read(file: Path) -> Any:
    """Return the JSON of a file, the rows of a metrics file, or None if there is no file."""
    if file.suffix == ".jsonl":
        return read_rows(file)
    return json.loads(file.read_text(encoding="utf-8")) if file.is_file() else None
