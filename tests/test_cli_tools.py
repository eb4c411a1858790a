"""What the command lines share: lists, options that are passed on only if they are given, help."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any

import pytest
from cyclopts import App, Parameter

import agents.__main__
import benchmarks.__main__
import pcrl_gym.cli
from imports import ROOT
from pcrl_gym.cli_tools import Names, flags_of, make_app, resumable, run_app, split_list

APPS = {
    "pcrl-gym": pcrl_gym.cli.app,
    "python -m agents": agents.__main__.app,
    "python -m benchmarks": benchmarks.__main__.app,
}


@dataclass
class Kind:
    """Some options.

    Attributes:
        size: How large.
        fast: Whether it is fast.
    """

    size: int = 3
    fast: bool = True
    columns: Mapping[str, str] | None = None
    inner: int = field(default=1, init=False)
    other: int = 1


Flags = flags_of(Kind, Kind.__doc__, without=("other",))
seen: dict[str, Any] = {}


def do(
    folder: str = "",
    /,
    *,
    names: Names = (),
    options: Annotated[Flags | None, Parameter(name="*")] = None,
) -> None:
    """Do it.

    Args:
        folder: Where.
        names: Which.
    """
    seen.update(folder=folder, names=names, options=options)


def run(*words: str) -> dict[str, Any]:
    """Run a command line and return what its function was called with."""
    app = make_app("tool", "Test.", "tool do")
    app.command(do)
    seen.clear()
    assert run_app(app, ["do", *words]) == (0 if seen else 2)
    return dict(seen)


@pytest.mark.parametrize(
    ("words", "names"),
    [
        (["a", "b:rate=0.2", "c"], ("a", "b:rate=0.2", "c")),
        (["a,b", "c"], ("a", "b", "c")),
        (["a, b,"], ("a", "b")),
        (["b:x=1,y=2"], ("b:x=1,y=2",)),
        (['b:x="u,v"'], ('b:x="u,v"',)),
        (["m:Class:x=1", "m:Other,n:Class"], ("m:Class:x=1", "m:Other", "n:Class")),
        (["x=1,y=2"], ("x=1", "y=2")),
        ([""], ()),
    ],
)
def test_lists_are_words_or_between_commas_where_there_are_no_settings(words, names):
    assert run("here", "--names", *words) == {"folder": "here", "names": names, "options": None}


@pytest.mark.parametrize(
    "word", ["b:x=1,a", "a,b:x=1", "b:x=1,c:y=2", "m:Class,b:x=1", "b:x=1,m:Class:y=2"]
)
def test_settings_in_a_list_with_commas_ask_for_spaces(word: str, capsys):
    with pytest.raises(ValueError, match="separate names with spaces"):
        split_list(word)
    assert run("--names", word) == {}
    assert capsys.readouterr().err.startswith("error: Invalid value for --names: ")


def test_only_what_is_given_is_passed_on():
    assert run()["options"] is None
    assert run("--size", "4")["options"] == {"size": 4}
    words = ("--columns", "task=instruction", "a=b", "--no-fast", "--names", "a", "--", "here")
    columns = {"task": "instruction", "a": "b"}
    expected = {"columns": columns, "fast": False}
    assert run(*words) == {"folder": "here", "names": ("a",), "options": expected}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--columns", "task"], "--columns: expected KEY=VALUE, got 'task'"),
        (["--sise", "4"], "Unknown option: --sise. Did you mean --size?"),
        (["--other", "4"], "Unknown option: --other"),
        (["--inner", "4"], "Unknown option: --inner"),
        (["--names"], "--names requires at least 1 element"),
    ],
)
def test_wrong_arguments_are_one_line(words: list[str], message: str, capsys):
    assert run(*words) == {}
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert message in error
    assert error.count("\n") == 1
    assert not error.endswith(".\n")


@pytest.mark.parametrize(
    ("result", "status", "printed"), [(None, 0, ""), (1, 1, ""), ("a\n", 0, "a\n")]
)
def test_what_a_command_returns_is_its_status_or_printed(result, status, printed, capsys):
    app = make_app("tool", "Test.", "tool")
    app.command(lambda: result, name="give")
    assert run_app(app, ["give"]) == status
    assert capsys.readouterr().out == printed


def test_interrupted_commands_that_continue_say_so(capsys):
    @resumable()
    def interrupted() -> None:
        raise KeyboardInterrupt

    app = make_app("tool", "Test.", "tool")
    app.command(interrupted)
    assert run_app(app, ["interrupted"]) == 130
    assert "Interrupted. Run the same command again to continue." in capsys.readouterr().err


def commands(app: App, words: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], App]]:
    """Every command below an app with the words that lead to it."""
    for name in app:
        if not name.startswith("-"):
            yield (*words, name), app[name]
            yield from commands(app[name], (*words, name))


EVERY = [(name, *found) for name, app in APPS.items() for found in commands(app)]


@pytest.mark.parametrize(("program", "words", "command"), EVERY, ids=lambda value: str(value)[:40])
def test_the_help_of_a_command_says_what_each_option_is_and_ends_with_an_example(
    program: str, words: tuple[str, ...], command: App, capsys
):
    assert run_app(APPS[program], [*words, "--help"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    example = command.help_epilogue
    assert example.startswith(f"Example: `{program} {' '.join(words)}")
    assert shown.endswith(example.partition("`")[2].rstrip("`").strip())
    arguments = example.partition(f"{program} ")[2].rstrip("`").partition(" >")[0].split()
    if command.default_command:
        APPS[program].parse_args(arguments, exit_on_error=False, print_error=False)
        documented = command.assemble_argument_collection(parse_docstring=True)
        assert [one.name for one in documented if one.show and not one.parameter.help] == []


@pytest.mark.parametrize("module", ["pcrl_gym.cli", "agents.__main__", "benchmarks.__main__"])
def test_commands_are_listed_without_what_is_slow_to_import(module: str):
    script = (
        f"import sys\nfrom {module} import app\n"
        "def visit(app):\n    for name in app:\n        visit(app[name])\n"
        "visit(app)\n"
        "slow = {'torch', 'transformers', 'datasets', 'pandas', 'scipy', 'matplotlib'}\n"
        "print(slow & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout == "set()\n"
