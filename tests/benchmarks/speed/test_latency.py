"""What compression costs: the arithmetic, the file, the command."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.__main__ import main
from benchmarks.speed.latency import Latency, milliseconds, table
from pcrl_gym.episodes.tokenizers import load_tokenizer
from policies import compressor


def test_time_per_prompt_is_that_of_the_fastest_repetition():
    calls: list[list[int]] = []
    ticks = iter([0.0, 5.0, 10.0, 12.0, 20.0, 23.0])
    found = milliseconds(lambda part: calls.append(list(part)), range(5), 2, 3, lambda: next(ticks))
    assert found == 400.0  # 2 seconds, 5 prompts
    assert calls == [[0, 1]] + [[0, 1], [2, 3], [4]] * 3


def test_share_and_table_by_hand():
    row = Latency(batch=32, compress_ms=0.5, generate_ms=4.0)
    assert row.share == 0.125
    assert table([row]).splitlines()[2] == "| 32 | 0.50 | 4.00 | 12.5 % |"


def test_the_command_writes_all_figures(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    folder = tmp_path / "policy"
    compressor(load_tokenizer("micro")).save_pretrained(folder)
    out = tmp_path / "new" / "latency.json"
    command = ["latency", "--policy", str(folder), "--prompts", "3", "--repeats", "1"]
    command += ["--device", "cpu", "--out", str(out)]
    assert main(command) == 0
    assert "| prompts per call |" in capsys.readouterr().out
    told = json.loads(out.read_text())
    assert [row["batch"] for row in told["latencies"]] == [1, 32]
    for row in told["latencies"]:
        assert row["compress_ms"] > 0
        assert row["share"] == pytest.approx(row["compress_ms"] / row["generate_ms"])
    assert (told["device"], told["generator"], told["prompts_measured"]) == ("cpu", "micro", 3)
    assert {"git", "libraries", "gpu", "platform"} <= told["provenance"].keys()
    assert main(command) == 2
    assert "exists and is not overwritten" in capsys.readouterr().err


def test_a_missing_policy_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["latency", "--policy", str(tmp_path)]) == 2
    assert "holds no saved compressor" in capsys.readouterr().err
