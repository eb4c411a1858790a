"""Compressors in processes of their own: what they return, and what becomes of failures."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from pcrl_gym.compressor import worker_process
from pcrl_gym.compressor.worker_process import (
    CompressorFailure,
    WorkerProcess,
    environment_python,
)

MODULE = '''
import os
import time

print("imported")


def first_word(text):
    """Prints, fails, ends and sleeps on demand."""
    print("asked")
    if text == "raise":
        raise LookupError("no such word")
    if text == "exit":
        os._exit(3)
    if text == "sleep":
        time.sleep(3600)
    return 3 if text == "number" else text.split()[0]


class Half:
    def compress(self, text, rate=None):
        return f"{text[: len(text) // 2]}{'' if rate is None else rate}"
'''


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_compressor.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)


@pytest.mark.usefixtures("module")
def test_texts_come_back_whatever_is_printed() -> None:
    process = WorkerProcess("my_compressor:first_word")
    assert process.compress("größer 🙂\nthan") == "größer"
    assert process.compress("two words") == "two"
    process.close()
    assert process.compress("again and again") == "again"
    assert WorkerProcess("my_compressor:Half").compress("abcd") == "ab"
    assert WorkerProcess("my_compressor:Half", rate=0.5).compress("abcd") == "ab0.5"


@pytest.mark.usefixtures("module")
def test_a_failure_costs_one_text() -> None:
    process = WorkerProcess("my_compressor:first_word")
    for text, message in {
        "raise": "LookupError: no such word",
        "exit": "its process has ended",
        "number": "TypeError: expected a string, got int",
    }.items():
        with pytest.raises(CompressorFailure, match=message):
            process.compress(text)
        assert process.compress("two words") == "two"


@pytest.mark.usefixtures("module")
def test_a_text_that_takes_too_long_is_a_failure() -> None:
    process = WorkerProcess("my_compressor:first_word", timeout=0.2)
    with pytest.raises(CompressorFailure, match=r"it took more than 0\.2 seconds"):
        process.compress("sleep")
    process.start()
    process.close()


@pytest.mark.usefixtures("module")
def test_a_compressor_that_does_not_come_back_is_a_failure() -> None:
    process = WorkerProcess("my_compressor:first_word")
    assert process.compress("two words") == "two"
    Path("my_compressor.py").write_text("raise OSError('gone')")
    process.close()
    for _ in range(2):
        with pytest.raises(CompressorFailure, match="cannot be used: OSError: gone"):
            process.compress("two words")


@pytest.mark.usefixtures("module")
def test_what_cannot_be_used_is_refused_at_the_start() -> None:
    with pytest.raises(ValueError, match=r"no_such:f' cannot be used: ValueError: .*no module"):
        WorkerProcess("no_such:f").start()
    with pytest.raises(ValueError, match=r"has no argument 'rate', got 0\.5"):
        WorkerProcess("my_compressor:first_word", rate=0.5).start()


def test_an_environment_is_made_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """pip itself is replaced: it would need the network."""
    commands: list[list[str]] = []

    def run(command: list[str], **options: object) -> object:
        commands.append(command)
        return type("Done", (), {"returncode": int("broken" in Path(command[-1]).read_text())})

    made = []
    monkeypatch.setattr(worker_process, "user_cache", lambda: tmp_path / "cache")
    monkeypatch.setattr(worker_process.subprocess, "run", run)
    monkeypatch.setattr(
        worker_process.venv, "create", lambda folder, **_: made.append(folder.mkdir(parents=True))
    )
    (tmp_path / "a.txt").write_text("fast-compressor==1.0\n")
    python = environment_python(tmp_path / "a.txt")
    assert environment_python(tmp_path / "a.txt") == python
    assert len(made) == len(commands) == 1
    assert commands[0][0] == str(python)
    (tmp_path / "b.txt").write_text("broken==1.0\n")
    with pytest.raises(ValueError, match=r"pip could not install the packages in .*b.txt"):
        environment_python(tmp_path / "b.txt")
    with pytest.raises(ValueError, match=r"there is no requirements file 'no\.txt'"):
        environment_python("no.txt")


@pytest.mark.slow
def test_a_compressor_lives_in_an_environment_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without packages, so that nothing is downloaded."""
    monkeypatch.setattr(worker_process, "user_cache", lambda: tmp_path / "cache")
    (tmp_path / "requirements.txt").write_text("# nothing\n")
    (tmp_path / "own.py").write_text("import sys\n\ndef where(text):\n    return sys.prefix\n")
    monkeypatch.chdir(tmp_path)
    python = environment_python(tmp_path / "requirements.txt")
    prefix = WorkerProcess("own:where", python).compress("x")
    assert Path(prefix) == python.parent.parent != Path(sys.prefix)
