"""Fixtures: `pcrl-gym compress` with a small untrained policy."""

from __future__ import annotations

import io
import sys

import pytest

import models
from pcrl_gym.cli import main
from policies import compressor


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("cli") / "policy"
    compressor(models.gpt2_tokenizer(), max_units=24).save_pretrained(folder)
    return str(folder)


@pytest.fixture
def run(model: str, monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]):
    """Run the command with some input; status, output and errors come back."""

    def _run(given: bytes, *arguments: str) -> tuple[int, bytes, str]:
        stdin = io.TextIOWrapper(io.BufferedReader(io.BytesIO(given)))
        monkeypatch.setattr(sys, "stdin", stdin)
        status = main(["compress", "--model", model, "--device", "cpu", *arguments])
        sys.stdout.flush()
        out, err = capfdbinary.readouterr()
        return status, out, err.decode()

    return _run
