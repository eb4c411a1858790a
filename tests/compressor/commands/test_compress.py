"""What `pcrl-gym compress` reads beside lines of text, and what it says besides the texts."""

from __future__ import annotations

import csv
import io
import json
import os
import sys
from pathlib import Path

import pytest

from cli_fixtures import model as model
from cli_fixtures import run as run
from pcrl_gym.compressor.compression import Compression
from pcrl_gym.compressor.compressor import Compressor
from pcrl_gym.compressor.tidying import tidy
from policies import TEXT

HALF = ("--rate", "0.5")


@pytest.fixture
def short(model: str):
    """A text as the command writes it."""
    compressor = Compressor.from_pretrained(model, device="cpu")

    def shorter(text: str, **options: object) -> str:
        done = compressor(text, **options or {"rate": 0.5})
        assert isinstance(done, Compression)
        return tidy(text, done.kept_spans)

    return shorter


def test_output_has_no_stray_spaces_unless_it_is_exact(run):
    given = b"Could you please sort these, now: b a\n"
    keep = ("--rate", "1", "--keep", "sort", "--keep", "b a")
    assert run(given, *keep)[1] == b"sort b a\n"
    assert run(given, *keep, "--exact")[1] == b" sort  b a\n"


def test_a_whole_file_is_one_prompt(run, short, tmp_path: Path):
    text = f"{TEXT}\n\n{TEXT}"
    (tmp_path / "prompt.txt").write_text(text + "\r\n\n", newline="")
    status, out, err = run(b"", str(tmp_path / "prompt.txt"), "--whole-file", *HALF)
    assert (status, out.decode(), err) == (0, short(text) + "\r\n\n", "")
    assert run(text.encode(), "--whole-file", *HALF)[1].decode() == short(text)
    assert run(b"", "--whole-file") == (0, b"", "")
    status, out, err = run(b"a\nb\nc\xff", "--whole-file")
    assert (status, out) == (1, b"")
    assert "line 3 is not UTF-8: byte 0xff at position 2" in err


def test_a_field_of_json_lines(run, short):
    rows = [
        {"id": 1, "prompt": TEXT, "none": None, "deep": {"é": [1.5, TEXT]}},
        {"prompt": "", "id": "\ud800"},
    ]
    given = f"{json.dumps(rows[0])}\n\n{json.dumps(rows[1])}\r\n".encode()
    status, out, err = run(given, "--field", "prompt", *HALF)
    assert (status, err) == (0, "")
    first, blank, second, _ = out.decode().split("\n")
    assert json.loads(first) == rows[0] | {"prompt": short(TEXT)}
    assert "é" in first
    assert blank == ""
    assert second == '{"prompt": "", "id": "\\ud800"}\r'


@pytest.mark.parametrize(
    ("row", "field"),
    [
        ({"a": {"b": TEXT}}, "a.b"),
        ({"a": [{"b": 1}, {"b": TEXT}]}, "a.1.b"),
        ({"a.b": TEXT, "a": {"b": "other"}}, "a.b"),
        ({"a": {"b.c": TEXT}}, "a.b.c"),
    ],
)
def test_dotted_fields_lie_deeper(run, short, row: dict, field: str):
    out = run(json.dumps(row).encode(), "--field", field, *HALF)[1].decode()
    assert out == json.dumps(row).replace(TEXT, short(TEXT))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"prompt": ', "line 3 is not valid JSON: Expecting value"),
        ('{"promt": "a", "id": 1}', "line 3 has no field 'prompt'; did you mean promt?"),
        ('{"id": 1}', "line 3 has no field 'prompt'; known: id"),
        ("[]", "line 3 has no field 'prompt'"),
        ('{"prompt": ["a"]}', """line 3 needs a string in 'prompt', got ["a"]"""),
        ('{"prompt": "\\ud800"}', "line 3: text[0] is not valid Unicode"),
        ("9" * 5000, "line 3 is not valid JSON"),
    ],
)
def test_wrong_lines_are_named_after_those_before(run, line: str, message: str):
    given = f'{{"prompt": "one"}}\n\n{line}\n{{"prompt": "two"}}\n'.encode()
    status, out, err = run(given, "--field", "prompt", "--rate", "0")
    assert (status, out) == (1, b'{"prompt": "one"}\n\n')
    assert err.startswith("error: ")
    assert message in err


def test_a_column_of_a_csv_file(run, short, tmp_path: Path):
    long = "x" * 200_000  # more than the module `csv` reads by itself
    rows = [["id", "prompt"], ["1", TEXT], [], ['2, "b"', f"a\n{TEXT}"], [long, ""]]
    file = io.StringIO(newline="")
    csv.writer(file, delimiter=";").writerows(rows)
    (tmp_path / "rows.csv").write_bytes(b"\xef\xbb\xbf" + file.getvalue().encode())
    limit = csv.field_size_limit()
    arguments = (str(tmp_path / "rows.csv"), "--field", "prompt", *HALF)
    status, out, err = run(b"", *arguments)
    assert (status, err, csv.field_size_limit()) == (0, "", limit)
    rows[1][1], rows[3][1] = short(TEXT), short(f"a\n{TEXT}")
    expected = io.StringIO(newline="")
    csv.writer(expected, delimiter=";").writerows(rows)
    assert out.decode() == "\ufeff" + expected.getvalue()
    assert run(b"", *arguments, "--show")[1].decode().startswith("\ufeffid;prompt\r\n")
    told = [json.loads(line)["original"] for line in run(b"", *arguments, "--json")[1].splitlines()]
    assert told == [TEXT, f"a\n{TEXT}", ""]


@pytest.mark.parametrize(
    ("content", "status", "out", "message"),
    [
        (b"id,promt\n1,a\n", 2, b"", "no column 'prompt'; did you mean promt?"),
        (b"", 2, b"", "no column 'prompt'"),
        (b"id,prompt\n1,a\n2\n", 1, b"id,prompt\n1,a\n", "line 3 has 1 cells, but the first line "),
        (b'id,prompt\n1,"a\nb"\n2,b,c\n', 1, b'id,prompt\n1,"a\nb"\n', "line 4 has 3 cells"),
        (b'id,prompt\n1,a\n2,"b\n', 1, b"id,prompt\n1,a\n", "line 3 is not a valid CSV row"),
        (b"id,prompt\n1,a\n2,\xff\n", 1, b"id,prompt\n1,a\n", "line 3 is not UTF-8"),
    ],
)
def test_wrong_csv_files_are_refused(
    run, tmp_path: Path, content: bytes, status: int, out: bytes, message: str
):
    (tmp_path / "rows.csv").write_bytes(content)
    given = run(b"", str(tmp_path / "rows.csv"), "--field", "prompt", "--rate", "0")
    assert given[:2] == (status, out)
    assert message in given[2]


CHAT = [
    {"role": "system", "content": TEXT},
    {"role": "user", "content": [{"type": "text", "text": TEXT}, {"type": "image"}]},
]


def test_chat_messages_in_lines_and_in_a_file(run, short, tmp_path: Path):
    def shorter(messages: list[dict]) -> list[dict]:
        return json.loads(json.dumps(messages).replace(TEXT, short(TEXT)))

    expected = [CHAT[0], *shorter(CHAT[1:])]
    lines = [{"id": 1, "messages": CHAT}, CHAT, {"chat": CHAT}]
    given = "\n".join(map(json.dumps, lines[:2])).encode()
    status, out, err = run(given, "--messages", *HALF)
    assert (status, err) == (0, "")
    assert [json.loads(line) for line in out.splitlines()] == [
        {"id": 1, "messages": expected},
        expected,
    ]
    out = run(json.dumps(lines[2]).encode(), "--messages", "--field", "chat", *HALF)[1]
    assert json.loads(out) == {"chat": expected}
    (tmp_path / "chat.json").write_text(json.dumps(CHAT, indent=1) + "\n")
    out = run(b"", str(tmp_path / "chat.json"), "--messages", *HALF)[1]
    assert out.decode() == json.dumps(expected, indent=2) + "\n"
    done = json.loads(run(given, "--messages", "--json", *HALF)[1].splitlines()[0])
    assert [one["original"] for one in done["compressions"]] == [TEXT]
    assert done["original_tokens"] > done["compressed_tokens"]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{}", "line 2 has no field 'messages'"),
        ('{"messages": "a"}', "line 2 has no chat messages: messages must be a list"),
        ("[1]", "line 2 has no chat messages: messages[0] must look like"),
    ],
)
def test_lines_without_messages_are_refused(run, line: str, message: str):
    status, out, err = run(f"\n{line}\n".encode(), "--messages")
    assert (status, out) == (1, b"\n")
    assert message in err


def test_a_budget_names_the_line_that_cannot_be_met(run, short):
    text = short(TEXT, target_tokens=9)
    assert run(f"{TEXT}\na\n".encode(), "--target-tokens", "9")[1].decode() == f"{text}\na\n"
    given = f"a\n{TEXT}\nb\n".encode()
    status, out, err = run(given, "--target-tokens", "2", "--keep", "these three")
    assert (status, out) == (1, b"a\n")
    assert err.startswith("error: line 2: target_tokens=2 is too low: ")


def test_savings_are_summed_up_on_stderr(run, bert_folder: Path):
    given = f"{TEXT}\n{TEXT}\n".encode()
    status, out, err = run(given, "--rate", "1", "--price", "2.5", "--exact")
    n = json.loads(run(f"{TEXT}\n".encode(), "--json")[1])["original_tokens"]
    saved = f"${n * 2.5 / 1000:.4f} saved per 1,000 calls at $2.50 per million tokens"
    assert (status, out, err) == (0, b"\n\n", f"2 prompts: 100% fewer tokens, {saved}\n")
    told = run(given, *HALF, "--count-with", str(bert_folder))[2]
    assert told.startswith("2 prompts: ")
    assert "fewer tokens (" in told
    assert "$" not in told


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--rate", "0.5", "--target-tokens", "5"], "Mutually exclusive arguments: {--rate, --tar"),
        (["--target-tokens", "0"], "for --target-tokens"),
        (["--keep", "("], "keep[0] is not a valid regular expression"),
        (["--protect", "all"], "--protect"),
        (["--price", "-1"], "for --price"),
        (["--price", "nan"], "for --price"),
        (["--field", ""], "--field must not be empty"),
        (["--count-with", "o9-missing"], "pip install 'pcrl-gym[tiktoken]'"),
        (["--json", "--exact"], "Mutually exclusive arguments: {--json, --exact}"),
    ],
)
def test_wrong_arguments_are_no_matter_of_a_line(
    run, monkeypatch: pytest.MonkeyPatch, arguments: list[str], message: str
):
    monkeypatch.setitem(sys.modules, "tiktoken", None)
    status, out, err = run(b"a\n", *arguments)
    assert (status, out) == (2, b"")
    assert message in err


def test_a_csv_file_is_not_one_prompt(run, tmp_path: Path):
    (tmp_path / "rows.csv").write_text("prompt\na\n")
    status, _, err = run(b"", str(tmp_path / "rows.csv"), "--field", "prompt", "--whole-file")
    assert (status, "--whole-file cannot be combined with" in err) == (2, True)
    out = run(b"", str(tmp_path / "rows.csv"), "--rate", "0")[1]
    assert out == b"prompt\na\n"  # without a field, lines


def test_constraints_are_kept(run):
    given = b"Please write at most three words but not more, as JSON\n"
    out = run(given, "--rate", "1", "--protect", "constraints", "--keep", "P.e")[1]
    assert out == b"Please at most three words but not more, JSON\n"


def test_wide_terminals_show_both_texts(run, monkeypatch: pytest.MonkeyPatch):
    given = b"one two three four\n"
    arguments = ("--show", "--rate", "1", "--keep", "two")
    monkeypatch.setattr("pcrl_gym.compressor.commands.output.stdout_columns", lambda: 120)
    out = run(given, *arguments)[1].decode()
    assert out.count("\n") == 1
    left, right = out.split(maxsplit=3)[:3], out.split()[-1]
    assert (left, right) == (["~~one~~", "two", "~~three"], "two")
    monkeypatch.setattr("pcrl_gym.compressor.commands.output.stdout_columns", lambda: 99)
    assert run(given, *arguments)[1] == b"~~one~~ two ~~three four~~\n"


@pytest.mark.parametrize("terminal", [True, False])
def test_progress_is_shown_to_people_alone(
    run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, terminal: bool
):
    (tmp_path / "prompts.txt").write_text(f"{TEXT}\n" * 20)
    path = str(tmp_path / "prompts.txt")
    monkeypatch.setattr(sys, "stderr", Terminal(2, terminal))
    status, out, err = run(b"", path, *HALF)
    assert (status, out.count(b"\n")) == (0, 20)
    assert ("%|" in err) is terminal
    assert "%|" not in run(b"a\n", *HALF)[2]  # from standard input


class Terminal(io.TextIOWrapper):
    """A stream that may say that it is a terminal."""

    def __init__(self, number: int, terminal: bool) -> None:
        super().__init__(os.fdopen(os.dup(number), "wb", 0), encoding="utf-8", write_through=True)
        self._terminal = terminal

    def isatty(self) -> bool:
        return self._terminal
