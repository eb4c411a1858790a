"""What compression costs: the arithmetic, and a run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.speed import latency
from benchmarks.speed.latency import run
from pcrl_gym.episodes.tokenizers import load_tokenizer
from policies import compressor


def test_time_per_prompt_is_that_of_the_fastest_repetition(monkeypatch: pytest.MonkeyPatch):
    calls: list[list[int]] = []
    ticks = iter([0.0, 5.0, 10.0, 12.0, 20.0, 23.0])
    monkeypatch.setattr(latency, "perf_counter", lambda: next(ticks))
    found = latency.milliseconds(lambda part: calls.append(list(part)), range(5), 2, 3)
    assert found == 400.0  # 2 seconds, 5 prompts
    assert calls == [[0, 1]] + [[0, 1], [2, 3], [4]] * 3


def test_a_run_writes_all_figures(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    folder = tmp_path / "policy"
    compressor(load_tokenizer("micro")).save_pretrained(folder)
    out = tmp_path / "new" / "latency.json"
    options = {"policy": str(folder), "prompts": 3, "repeats": 1, "device": "cpu", "out": str(out)}
    run(**options)
    assert "| prompts per call |" in capsys.readouterr().out
    stored = json.loads(out.read_text())
    assert [row["batch"] for row in stored["latencies"]] == [1, 32]
    for row in stored["latencies"]:
        assert row["compress_ms"] > 0
        assert row["share"] == pytest.approx(row["compress_ms"] / row["generate_ms"])
    found = [stored[key] for key in ("device", "generator", "prompts_measured")]
    assert found == ["cpu", "micro", 3]
    asked = {"generator": "micro", "split": "validation_seen", "new_tokens": 30}
    assert stored["settings"] == options | asked
    assert {"started", "git", "libraries", "gpu", "platform"} <= stored["provenance"].keys()
    with pytest.raises(ValueError, match="already exists and is not overwritten"):
        run(**options)


def test_a_missing_policy_is_an_error(tmp_path: Path):
    with pytest.raises(ValueError, match="does not contain a saved compressor"):
        run(policy=str(tmp_path))
