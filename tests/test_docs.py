"""README and manual are true: their Python runs, their commands parse, their links lead somewhere.

The Python blocks of a page run from top to bottom in one namespace and in an empty folder. A `text`
block right after one is what it prints. Models and servers that a page names are replaced by the
small local ones of `STAND_INS`. Commands of `sh` blocks are parsed, not run.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import os
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cyclopts import CycloptsError

import pcrl_gym
from agents.base import AGENTS, parse_agent
from agents.runs.config_file import config_names
from benchmarks.suites import SUITES
from fault_server import FaultServer
from imports import EXTRAS, ROOT
from pcrl_gym.envs.options import TaskOptions

MANUAL = ROOT / "docs"
README = ROOT / "README.md"
PAGES = [README, *sorted(MANUAL.glob("*.md"))]
BLOCK = re.compile(r"^```(\w*)[^\n]*\n(.*?)^```$", re.DOTALL | re.MULTILINE)
INCLUDED = re.compile(r'^--8<-- "(.+)"$', re.MULTILINE)

# What a page may name, and the fixture that takes its place.
STAND_INS = {
    "http://localhost:8000/v1": "server_url",
    "Qwen/Qwen3-0.6B": "llama_folder",
    "distilroberta-base": "roberta_folder",
    "smollm2": "llama_folder",
}
# Programs of others, which these tests know nothing about.
FOREIGN = {"cd", "echo", "git", "inspect", "uvicorn", "vf-eval"}


def blocks(page: Path, *languages: str) -> list[tuple[str, str]]:
    """Language and content of the blocks of a page."""
    found = BLOCK.findall(page.read_text(encoding="utf-8"))
    return [block for block in found if block[0] in languages]


@pytest.fixture
def server_url() -> Iterator[str]:
    with FaultServer() as server:
        yield server.url


@pytest.fixture
def run_page(request, tmp_path, monkeypatch, capsys):
    """Run the Python of a page; gives its names and all that it printed."""

    def run(page: Path) -> tuple[dict[str, Any], str]:
        monkeypatch.chdir(tmp_path)
        names: dict[str, Any] = {"__name__": page.stem}
        everything = printed = ""
        ran = False
        for language, content in blocks(page, "python", "text", "sh", "yaml", "json"):
            if language == "text" and ran:
                assert _visible(printed) == _visible(content), f"{page.name} prints something else"
            ran = language == "python" and not INCLUDED.search(content)
            if not ran:
                continue
            for written, fixture in STAND_INS.items():
                if written in content:
                    content = content.replace(written, str(request.getfixturevalue(fixture)))
            capsys.readouterr()
            exec(compile(content, f"{page.name}, a Python block", "exec"), names)
            printed = capsys.readouterr().out
            everything += printed
        return names, everything

    return run


def _visible(text: str) -> list[str]:
    return [line.rstrip() for line in text.rstrip().splitlines()]


with_python = pytest.mark.parametrize(
    "page",
    [page for page in PAGES if page != README and blocks(page, "python")],
    ids=lambda page: page.stem,
)


@with_python
def test_the_python_of_a_page_runs_and_prints_what_it_says(page: Path, run_page):
    run_page(page)


@with_python
def test_files_that_a_page_shows_are_examples_which_another_test_runs(page: Path):
    shown = [path for _, content in blocks(page, "python") for path in INCLUDED.findall(content)]
    assert all(path.startswith("examples/") and (ROOT / path).is_file() for path in shown)


def test_the_readme_plays_an_episode_and_its_agent_keeps_everything(run_page):
    names, printed = run_page(README)
    assert names["terminated"]
    assert names["info"]["compressed_prompt"] in printed
    mask = np.array([[1, 1, 0]])
    assert (names["DropNothing"]().act({"attention_mask": mask}, [{}]) == mask).all()


def _parse(module: str, arguments: list[str]) -> dict[str, Any]:
    """What a command line calls its function with."""
    app = importlib.import_module(module).app
    try:
        _, bound, _ = app.parse_args(arguments, exit_on_error=False, print_error=False)
    except CycloptsError as error:
        pytest.fail(f"{module} {shlex.join(arguments)}: {error}")
    return bound.arguments


def commands(page: Path) -> Iterator[list[str]]:
    """The simple commands of a page's shell blocks, as words; redirections are left out."""
    for _, content in blocks(page, "sh"):
        for line in content.replace("\\\n", " ").splitlines():
            lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
            lexer.whitespace_split = True
            words: list[str] = []
            tokens = iter(lexer)
            for token in tokens:
                if token in {"|", "&&", "||", ";", "&"}:
                    yield words
                    words = []
                elif token in {"<", ">", ">>"}:
                    next(tokens)
                else:
                    words.append(token)
            yield words


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_commands_of_a_page_parse(page: Path):
    for words in commands(page):
        while words and re.fullmatch(r"\w+=.*", words[0]):
            words = words[1:]  # the environment of the command
        if words:
            program, *arguments = [words[0].removeprefix(".venv/bin/"), *words[1:]]
            _check_command(program, arguments)


def _check_command(program: str, arguments: list[str]) -> None:
    program = "python" if program == "python3" else program
    if program == "pcrl-gym":
        _parse("pcrl_gym.cli", [word for word in arguments if word != "-"])
    elif program == "make":
        targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
        assert {word for word in arguments if "=" not in word} <= set(targets)
    elif program == "python" and arguments[:3] == ["-m", "pip", "install"]:
        asked = re.findall(r"\[([\w,]+)\]", " ".join(arguments))
        assert {extra for group in asked for extra in group.split(",")} <= set(EXTRAS)
    elif program == "python" and arguments[0] == "-m":
        module = arguments[1]
        if module in {"agents", "benchmarks"}:
            _check_names(arguments[2], _parse(f"{module}.__main__", arguments[2:]))
        else:
            assert importlib.util.find_spec(module), f"unknown module {module}"
    elif program == "python":
        assert (ROOT / arguments[0]).is_file()
    elif (ROOT / program).is_file():
        assert os.access(ROOT / program, os.X_OK)
    else:
        assert program in FOREIGN, f"unknown program {program}"


def _check_names(command: str, options: dict[str, Any]) -> None:
    """Suites, agents and configurations that a command names are there."""
    if command == "run":
        assert options.get("suite") in [None, *SUITES]
        names = [parse_agent(agent)[0] for agent in options.get("agents", ())]
        assert all(name in AGENTS or ":" in name for name in names)
    if command == "train":
        assert options["agent"] in AGENTS
        config = options.get("config", "scst-micro")
        assert config in config_names() or config.endswith(".yaml")


def test_links_of_the_readme_lead_somewhere():
    links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", README.read_text(encoding="utf-8"))
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_the_page_of_the_environment_lists_every_argument_and_its_default(monkeypatch):
    monkeypatch.syspath_prepend(str(MANUAL / "_tools"))
    page = (MANUAL / "environment.md").read_text(encoding="utf-8")
    section = page.partition("## Arguments\n")[2].partition("\n## ")[0]
    assert importlib.import_module("arguments").table() in section
    listed = dict(re.findall(r"^\| `(\w+)` \| `(.+?)` \|", section, re.MULTILINE))
    there = {f.name: repr(f.default).replace("'", '"') for f in dataclasses.fields(TaskOptions)}
    assert listed == there | {"render_mode": "None"}


def test_every_public_name_is_in_the_reference():
    pages = [page.read_text(encoding="utf-8") for page in (MANUAL / "api").glob("*.md")]
    described = re.findall(r"^::: ([\w.]+)$", "\n".join(pages), re.MULTILINE)
    modules = {name for name in described if not name.rpartition(".")[2][0].isupper()}
    last = {name.rpartition(".")[2] for name in described}
    for name in set(pcrl_gym.__all__) - {"__version__"}:
        value = getattr(pcrl_gym, name)
        assert name in last or value.__module__ in modules, f"{name} is not in docs/api"


def test_the_pictures_are_what_the_script_draws(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(MANUAL / "_tools"))
    importlib.import_module("pictures").main(tmp_path)
    drawn = {path.name: path.read_text(encoding="utf-8") for path in tmp_path.iterdir()}
    pictures = (MANUAL / "pictures").iterdir()
    assert {path.name: path.read_text(encoding="utf-8") for path in pictures} == drawn
