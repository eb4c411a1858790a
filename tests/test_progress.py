"""Progress bars: tqdm's own on a terminal, lines in a log file."""

from __future__ import annotations

import io
import re
import sys

import pytest

import pcrl_gym.progress
from pcrl_gym.progress import progress_bar


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_log_file_gets_few_lines_and_no_carriage_return(capsys: pytest.CaptureFixture[str]):
    with progress_bar(total=3000, unit="prompt") as bar:
        for part in ("keep_all, seed 0", "random, seed 0", "random, seed 1"):
            bar.set_description(part)
            for _ in range(1000):
                bar.update()
    told = capsys.readouterr().err
    assert "\r" not in told
    assert "\x1b" not in told
    shown = [re.sub(r"\|.*\|| \[.*", "", line) for line in told.splitlines()]
    assert shown == [
        "0% 0/3000",
        "keep_all, seed 0:   0% 0/3000",
        "random, seed 0:  33% 1000/3000",
        "random, seed 1:  67% 2000/3000",
        "random, seed 1: 100% 3000/3000",
    ]


def test_a_line_comes_as_often_as_it_may(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(pcrl_gym.progress, "SECONDS", 0.0)
    with progress_bar(total=3) as bar:
        for _ in range(3):
            bar.update()
    assert len(capsys.readouterr().err.splitlines()) >= 4


def test_bars_within_bars_are_lines_too(capsys: pytest.CaptureFixture[str]):
    with progress_bar(total=1, desc="run") as outer:
        with progress_bar(total=2, desc="train scst", leave=None) as inner:
            inner.update(2)
        outer.update()
    lines = capsys.readouterr().err.splitlines()
    assert [line.split(":")[0] for line in lines] == ["run", *["train scst"] * 2, "run"]
    assert "100%" in lines[2]


def test_a_terminal_gets_a_bar_that_is_drawn_over(monkeypatch: pytest.MonkeyPatch):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    with progress_bar(total=2, desc="run") as bar:
        bar.update(2)
    told = terminal.getvalue()
    assert "\rrun: 100%" in told
    assert told.count("\n") == 1


def test_what_is_disabled_shows_nothing(capsys: pytest.CaptureFixture[str]):
    with progress_bar(total=0, disable=True) as bar:
        bar.set_description("run")
    assert capsys.readouterr().err == ""
