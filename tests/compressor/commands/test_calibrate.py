"""The command `pcrl-gym calibrate`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pcrl_gym import Compressor, load_prompts
from pcrl_gym.cli import main
from policies import TEXT


def test_it_writes_a_policy_whose_lines_carry_the_certificate(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    prompts = load_prompts("micro", "validation_seen")[:30]
    data = tmp_path / "prompts.jsonl"
    rows = [{"instruction": p.instruction, "input": p.input} for p in prompts]
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    out = tmp_path / "safe"
    command = ["calibrate", str(data), "--generator", "micro", "--model", "micro"]
    command += ["--device", "cpu", "--out", str(out)]
    assert main([*command, "--risk", "0.01"]) == 2
    assert "30 prompts are too few" in capsys.readouterr().err
    assert main([*command, "--risk", "0.2", "--lost-by", "likelyhood"]) == 2
    assert "did you mean likelihood" in capsys.readouterr().err
    assert not out.exists()
    assert main([*command, "--risk", "0.2", "--confidence", "0.9"]) == 0
    printed = capsys.readouterr().out
    certificate = Compressor.from_pretrained(out, device="cpu").certificate
    assert printed.startswith(f"{certificate}\n")
    assert (certificate.risk, certificate.confidence, certificate.prompts) == (0.2, 0.9, 30)
    assert certificate.rate > 0.0
    assert certificate.data == str(data)
    assert len(certificate.generator_fingerprint) == 64
    (tmp_path / "a.txt").write_text(f"{TEXT}\n")
    lines = ["compress", str(tmp_path / "a.txt"), "--model", str(out), "--device", "cpu", "--json"]
    assert main(lines) == 0
    assert json.loads(capsys.readouterr().out)["certificate"] == certificate.to_dict()
    assert main(command) == 2
    assert "contains a saved compressor" in capsys.readouterr().err
