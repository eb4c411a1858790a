"""What the command lines share: lists, and options that are passed on only if they are given."""

from __future__ import annotations

import argparse
from typing import Any

import pytest

from pcrl_gym.cli_tools import ListAction, add_command, make_parser, parse, shared, split_list

NAMES = shared("--names", action=ListAction)


def run(*words: str) -> dict[str, Any]:
    """Parse the words and return what the command was called with."""
    seen: dict[str, Any] = {}
    parser, commands = make_parser("tool", "Test.", "")
    command = add_command(commands, "do", lambda **given: seen.update(given), "work", NAMES)
    command.add_argument("folder", nargs="?")
    command.add_argument("--rates", action=ListAction, item=float)
    command.add_argument("--quiet", action="store_true")
    options = parse(parser, ["do", *words])
    assert options.handler(options) == 0
    return seen


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
    ],
)
def test_lists_are_words_or_between_commas_where_there_are_no_settings(
    words: list[str], names: tuple[str, ...]
) -> None:
    assert run("here", "--names", *words) == {"folder": "here", "names": names}


def test_an_empty_word_leaves_the_default() -> None:
    assert run("here", "--names", "") == {"folder": "here"}


@pytest.mark.parametrize(
    "word", ["b:x=1,a", "a,b:x=1", "b:x=1,c:y=2", "m:Class,b:x=1", "b:x=1,m:Class:y=2"]
)
def test_settings_in_a_list_with_commas_ask_for_spaces(
    word: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(ValueError, match="put spaces between names"):
        split_list(word)
    with pytest.raises(SystemExit):
        run("--names", word)
    assert "argument --names: " in capsys.readouterr().err


def test_items_are_converted_and_wrong_ones_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--rates", "0.1", "0.2,0.3")["rates"] == (0.1, 0.2, 0.3)
    with pytest.raises(SystemExit):
        run("--rates", "0.1", "high")
    assert "argument --rates: could not convert string to float: 'high'" in capsys.readouterr().err


def test_only_what_is_given_is_passed_on() -> None:
    assert run() == {}
    assert run("--quiet", "--names", "a", "--", "here") == {
        "quiet": True, "names": ("a",), "folder": "here",
    }  # fmt: skip


def test_the_description_is_the_help_unless_it_is_given() -> None:
    _, commands = make_parser("tool", "Test.", "")
    command = add_command(commands, "do", lambda: None, "call OpenAI")
    assert isinstance(command, argparse.ArgumentParser)
    assert command.description == "Call OpenAI."
