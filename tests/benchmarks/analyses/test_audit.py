"""Agents are audited on what they leave of the user's part of a prompt."""

from __future__ import annotations

from pathlib import Path

import pytest

from agents.keep_all import KeepAllAgent
from agents.stopwords import StopWordAgent
from bench_fixtures import SETTINGS
from benchmarks.__main__ import main
from benchmarks.analyses.audit import analyse, audit_agent
from benchmarks.records import RunFolder
from fakes import CountingGenerator
from pcrl_gym.audit.pairs import FlipPair
from pcrl_gym.envs.task import make_task
from pcrl_gym.prompts.prompt import Prompt

PAIRS = [
    FlipPair("not", "Who has not paid output", "Who has paid output"),
    FlipPair("number", "Give me 3 words", "Give me 5 words"),
]


def test_flips_of_agents() -> None:
    """The template's own words, such as "Output", stand for nobody's."""
    prompts = [
        Prompt(f"{i}{side}", text)
        for i, pair in enumerate(PAIRS)
        for side, text in enumerate((pair.first, pair.second))
    ]
    task = make_task(dataset=prompts, generator=CountingGenerator(), tokenizer="micro")
    audits = [
        audit_agent(agent, agent.name, task, PAIRS) for agent in (StopWordAgent(), KeepAllAgent())
    ]
    assert [found.total.failed for found in audits] == [1, 0]
    [failure] = audits[0].failures
    assert failure.pair.kind == "not"
    assert "Output" not in failure.first
    tables = analyse(audits).tables
    assert list(tables) == ["all classes", "stopwords", "keep_all"]
    assert tables["all classes"].rows[0][:4] == ("keep_all", 2, 0, 0.0)


def test_agents_that_ask_the_generator_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = RunFolder.open(tmp_path / "out", SETTINGS).path
    assert main(["analyse", "audit", str(folder), "--agents", "search"]) == 2
    assert "search ask the generator for answers; leave them out" in capsys.readouterr().err
