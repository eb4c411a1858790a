"""A small result folder for the tests of the report."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from bench_fixtures import SETTINGS, record
from benchmarks.analyses.analysis import Analysis, Series, Table, write_analysis
from benchmarks.records import RunFolder

HOSTILE = "<script>alert(1)</script></script><img src=x onerror=alert(2)> \u2028 😀 fig\ud800 pear"
"""A prompt that would run if it were taken for HTML."""

AGENTS = {"keep_all": 0.0, "half": 0.5, "most": 0.75, "worse": 0.25, "search": 0.9}
"""Agents and the ratios they reach."""


def report_folder(path: Path, prompts: int = 30, **settings: Any) -> Path:
    """Write a folder with five agents on two splits, an analysis and two learning curves."""
    agents = dict.fromkeys(AGENTS, "module:Agent") | {"search": "module:Search, oracle"}
    folder = RunFolder.open(path, SETTINGS | {"agents": agents} | settings)
    for place, (agent, ratio) in enumerate(AGENTS.items()):
        similarity = {"worse": 0.3, "search": 1.0}.get(agent, 1.0 - ratio / 2)
        for split in SETTINGS["splits"]:
            with folder.write_part(agent, split, 0) as write:
                for number in range(prompts):
                    write(
                        record(
                            agent=agent,
                            split=split,
                            prompt_id=f"p{number}",
                            source="fruit" if number % 2 else "toy",
                            prompt=HOSTILE if number == 1 else f"😀 Count {number} pears\nnow",
                            dropped=((0, 8), (70, 72)) if number == 1 else ((2, 8),),
                            output=f"answer {number}",
                            compressed_output="<b>bold</b>" if number == 1 else f"answer {number}",
                            reward=round(0.1 * place + 0.001 * number, 4),
                            compression_ratio=ratio,
                            similarity=similarity,
                        )
                    )
    for seed in (0, 1):
        trained = path / "training" / f"most-seed{seed}"
        trained.mkdir(parents=True)
        rows = [
            {"kind": "update", "episodes": 64 * (update + 1), "seconds": 0.5 * (update + 1)}
            | {"reward": update / 300 or None}
            for update in range(250)
        ]
        rows.insert(100, {"kind": "evaluation", "episodes": 6400, "reward": 9.0})
        lines = [*map(json.dumps, rows), '{"kind": "upd']  # torn, as while training
        (trained / "metrics.jsonl").write_text("\n".join(lines), encoding="utf-8")
    line = Series("half", ((0.1, 0.9), (0.5, 0.7)))
    tables = {"seen": Table(("agent", "rate"), (("half", 0.5), ("<i>", None)))}
    write_analysis(path, Analysis("lines", "Rates", "By rate.", tables, (line,)))
    run = {"started": "2026-01-02T03:04:05+00:00", "git": {"commit": "f" * 40, "dirty": True}}
    (path / "provenance.json").write_text(json.dumps({"runs": [run]}), encoding="utf-8")
    return path
