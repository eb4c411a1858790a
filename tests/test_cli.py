"""The command line: lines in, lines out, as they come."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from cyclopts import App

import agents.__main__
import benchmarks.__main__
from cli_fixtures import model as model
from cli_fixtures import run as run
from imports import ROOT
from pcrl_gym.cli import main
from pcrl_gym.cli_tools import make_app, run_app
from pcrl_gym.compressor.commands.records import read_lines
from pcrl_gym.compressor.compressor import Compressor
from pcrl_gym.errors import DatasetError, GeneratorError, MissingExtraError
from policies import TEXT


def process(model: str, *arguments: str, **settings: Any) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "pcrl_gym.cli", "compress", "--model", model, *arguments],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        **settings,
    )


def test_each_line_is_one_prompt(run, model: str):
    expected = Compressor.from_pretrained(model, device="cpu")(TEXT, rate=0.5).text.encode()
    given = f"{TEXT}\n\n{TEXT}\r\n{TEXT}".encode()
    status, out, err = run(given, "--rate", "0.5", "--exact")
    assert (status, err) == (0, "")
    assert out == expected + b"\n\n" + expected + b"\r\n" + expected


def test_keeping_all_is_the_identity(run):
    given = " a \n\n\t\r\n\x00\x1b[31m\rb \x85\u2028c\n שלום 🙂<|endoftext|>".encode()
    assert run(given, "--rate", "0") == (0, given, "")
    assert run(b"", "--rate", "0") == (0, b"", "")


def test_a_file_and_batches_give_the_same(run, tmp_path: Path):
    lines = "\n".join(f"{TEXT} {i}" for i in range(40)).encode() + b"\n"
    (tmp_path / "prompts.txt").write_bytes(lines)
    status, out, _ = run(b"", str(tmp_path / "prompts.txt"), "--batch-size", "7")
    assert status == 0
    assert out.count(b"\n") == 40
    assert run(lines)[1] == run(lines, "-")[1] == out
    status, _, errors = run(lines, "--force-keep", "-")  # no file: the text to keep is missing
    assert (status, "--force-keep" in errors) == (2, True)


def test_numbers_come_out_whole(run):
    arguments = ("--keep-digits", "--rate", "1")
    given = b"Is it -5 or (3)4 in SGX1234A at 12:30 or 1,250.75\n"
    expected = b" -5  (3)4  SGX1234A  12:30  1,250.75\n"
    assert run(given, *arguments, "--exact") == (0, expected, "")
    assert run(given, *arguments) == (0, expected.lstrip(), "")  # 12 and 30 must not become 12 30


def test_what_is_protected_stays(run):
    given = b"Please sort 12 apples and Mr. Smith\n"
    out = run(given, *"--rate 1 --keep-digits --force-keep Smith --force-keep Ple".split())[1]
    assert all(word in out for word in (b"Please", b"12", b"Smith"))
    assert b"apples" not in out


def test_json_has_an_object_per_line(run, model: str):
    status, out, _ = run(f"{TEXT} 你好\n\n".encode(), "--json", "--rate", "0.5")
    assert status == 0
    rows = [json.loads(line) for line in out.decode().split("\n")[:-1]]
    expected = Compressor.from_pretrained(model, device="cpu")([f"{TEXT} 你好", ""], rate=0.5)
    assert len(rows) == 2
    for row, one in zip(rows, expected, strict=True):
        assert row["text"] == one.text
        assert row["dropped_spans"] == [list(span) for span in one.dropped_spans]
        assert row["drop_rate"] == one.drop_rate
        assert row["compression_ratio"] == one.compression_ratio
        assert row["keep_probabilities"] == pytest.approx(one.keep_probabilities, abs=1e-5)
    assert "你好" in out.decode()


def test_show_marks_what_is_dropped(run, monkeypatch: pytest.MonkeyPatch):
    given = b"one two three four\n\n"
    out = run(given, "--show", "--rate", "1", "--force-keep", "two")[1].decode()
    assert out == "~~one~~ two ~~three four~~\n\n"
    assert run(given, "--show", "--rate", "0")[1] == given
    monkeypatch.setattr("pcrl_gym.rendering.text.stdout_takes_color", lambda: True)
    assert (
        b"\x1b[9;31mone\x1b[0m two" in run(given, "--show", "--rate", "1", "--force-keep", "two")[1]
    )


def test_bytes_that_are_no_text_are_told_after_the_lines_before(run):
    status, out, err = run(b"one\ntwo\nthr\xffee\nfour\n", "--rate", "0")
    assert (status, out) == (1, b"one\ntwo\n")
    assert "error: line 3 is not UTF-8: byte 0xff at position 4" in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--rate", "2"], "for --rate. Must be <= 1"),
        (["--rate", "much"], "--rate"),
        (["--batch-size", "0"], "for --batch-size"),
        (["--force-keep", ""], "must not be empty"),
        (["--json", "--show"], "Mutually exclusive arguments: {--json, --show}"),
        (["--unknown"], "Unknown option: --unknown"),
    ],
)
def test_wrong_arguments_exit_with_2(capsys, arguments: list[str], message: str):
    assert main(["compress", *arguments]) == 2
    assert message in capsys.readouterr().err


def test_missing_files_and_models_exit_with_2(run, model: str, tmp_path: Path):
    status, out, err = run(b"", str(tmp_path / "none.txt"))
    assert (status, out) == (2, b"")
    assert err == f"error: No such file or directory: {tmp_path / 'none.txt'}\n"
    assert run(b"", str(tmp_path))[0] == 2
    status, _, err = run(b"a", "--model", str(tmp_path))
    assert status == 2
    assert err.startswith("error: ")
    assert "compressor.json" in err
    status, _, err = run(b"a", "--device", "abacus")
    assert (status, "device 'abacus' cannot be used" in err) == (2, True)


MIXED = (
    b"Could you please sort these words for me: pear, fig, apple\n"
    b"Hi team, I was charged twice for my subscription last month (invoice 20-4431).\n"
    b"SELECT name, COUNT(*) FROM orders WHERE created_at > '2024-01-01' GROUP BY name;\n"
    b"Please repeat this: fig\n"
)


def test_one_warning_tells_that_lines_are_of_another_kind(run):
    status, out, err = run(MIXED, "--model", "micro")
    assert status == 0
    assert out.count(b"\n") == 4
    assert err.count("\n") == 1
    assert err.startswith("warning: line 2 is unlike the prompts that micro was trained on")
    status, out, err = run(MIXED, "--model", "micro", "--json")
    told = [json.loads(line)["in_domain"] for line in out.splitlines()]
    assert told == [True, False, False, True]
    assert err.count("\n") == 1
    first = MIXED.split(b"\n")[0] + b"\n"
    assert run(first, "--model", "micro")[2] == ""


def test_strict_stops_at_the_first_line_of_another_kind(run):
    first = MIXED.split(b"\n")[0] + b"\n"
    expected = run(first, "--model", "micro")[1]
    status, out, err = run(MIXED, "--model", "micro", "--strict")
    assert (status, out) == (1, expected)
    assert err.startswith("error: line 2 is unlike the prompts that micro was trained on")
    assert run(first, "--model", "micro", "--strict") == (0, expected, "")


def test_strict_needs_a_policy_that_knows_its_prompts(run):
    assert run(b"a\n", "--json")[2] == ""  # nothing is known, so nothing is warned of
    status, out, err = run(b"a\n", "--strict")
    assert (status, out) == (2, b"")
    assert "--strict needs statistics of the training prompts" in err


def test_lines_are_answered_before_the_input_ends(model: str):
    with process(model, "--rate", "0") as running:
        assert running.stdin
        assert running.stdout
        for line in (b"first\n", b"\n", "zweite Zeile ü\n".encode()):
            running.stdin.write(line)
            running.stdin.flush()
            assert running.stdout.readline() == line
        running.stdin.write(b"no line end")
        running.stdin.close()
        assert running.stdout.read() == b"no line end"
        assert running.wait() == 0


@pytest.mark.skipif(os.name == "nt", reason="pipes end differently")
def test_a_reader_that_leaves_is_no_error(model: str):
    with process(model, "--rate", "0") as running:
        assert running.stdin
        assert running.stdout
        assert running.stderr
        running.stdin.write(b"first\n")
        running.stdin.flush()
        assert running.stdout.readline() == b"first\n"
        running.stdout.close()
        running.stdin.write(b"second\n" * 1000)
        running.stdin.close()
        assert running.stderr.read() == b""
        assert running.wait() == 0


@pytest.mark.parametrize(
    ("command", "listed"),
    [
        (main, ("compress", "demo", "pcrl-gym compress --show")),
        (agents.__main__.main, ("train", "export", "python -m agents train scst")),
        (benchmarks.__main__.main, ("run", "table", "python -m benchmarks run --suite micro")),
    ],
)
def test_without_a_command_help_is_shown_and_with_version_the_version(command, listed, capsys):
    assert command([]) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert all(text in told.err for text in listed)
    assert command(["--help"]) == 0
    assert capsys.readouterr().out == told.err
    assert command(["--version"]) == 0
    assert capsys.readouterr().out == f"pcrl_gym {version('pcrl-gym')}\n"


@pytest.mark.parametrize(
    ("error", "status", "told"),
    [
        (ValueError("wrong"), 2, "error: wrong\n"),
        (DatasetError("no rows"), 2, "error: no rows\n"),
        (MissingExtraError("install it"), 2, "error: install it\n"),
        (FileNotFoundError(2, "No such file", "a"), 2, "error: No such file: a\n"),
        (PermissionError(13, "Permission denied", "a"), 2, "error: Permission denied: a\n"),
        (GeneratorError("no answer"), 1, "error: no answer\n"),
        (OSError(28, "No space left on device"), 1, "error: [Errno 28] No space left on device\n"),
        (BrokenPipeError("of a server"), 1, "error: of a server\n"),
        (KeyboardInterrupt(), 130, "Interrupted.\n"),
    ],
)
def test_exit_statuses_follow_one_rule(error: BaseException, status: int, told: str, capfd):
    def work() -> None:
        raise error

    assert run_app(app_of(work), ["work"]) == status
    assert capfd.readouterr().err == told


def test_bugs_keep_their_traceback_and_work_its_status():
    def work(bug: bool = False, status: int | None = None) -> int | None:
        return {}["a"] if bug else status

    app = app_of(work)
    with pytest.raises(KeyError):
        run_app(app, ["work", "--bug"])
    assert [run_app(app, ["work"]), run_app(app, ["work", "--status", "1"])] == [0, 1]


def app_of(work: Callable[..., int | None]) -> App:
    """A command line with one command."""
    app = make_app("tool", "Test.", "tool work")
    app.command(work, name="work")
    return app


def test_lines_end_at_line_feeds_alone():
    class Trickle(io.BytesIO):
        def read1(self, size: int = -1) -> bytes:
            return super().read(3)

    given = b"ab\rc\n\n\x0bdefghi\x0c\nj"
    lines = [line for part in read_lines(Trickle(given)) for line in part]
    assert lines == [b"ab\rc\n", b"\n", b"\x0bdefghi\x0c\n", b"j"]
    assert list(read_lines(io.BytesIO(b""))) == []
    assert list(read_lines(io.BytesIO(given))) == [lines[:3], lines[3:]]
