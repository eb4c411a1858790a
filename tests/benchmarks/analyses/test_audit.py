"""Agents are audited on what they leave of the user's part of a prompt."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from agents.keep_all import KeepAllAgent
from agents.stopwords import StopWordAgent
from bench_fixtures import SETTINGS
from benchmarks.__main__ import main
from benchmarks.analyses.analysis import read_analysis
from benchmarks.analyses.audit import add, audit_agent
from benchmarks.records import RunFolder
from fakes import CountingGenerator
from pcrl_gym.audit.pairs import FlipPair
from pcrl_gym.envs.task import Task, make_task
from pcrl_gym.prompts.prompt import Prompt

PAIRS = [
    FlipPair("not", "Who has not paid output", "Who has paid output"),
    FlipPair("number", "Give me 3 words", "Give me 5 words"),
]


def task_of_pairs() -> Task:
    """A task whose prompts are both sides of every pair."""
    prompts = [
        Prompt(f"{i}{side}", text)
        for i, pair in enumerate(PAIRS)
        for side, text in enumerate((pair.first, pair.second))
    ]
    return make_task(dataset=prompts, generator=CountingGenerator(), tokenizer="micro")


def test_flips_of_agents() -> None:
    """Words of the template, such as "Output", do not count."""
    task = task_of_pairs()
    audits = [
        audit_agent(agent, agent.name, task, PAIRS) for agent in (StopWordAgent(), KeepAllAgent())
    ]
    assert [found.total.flips for found in audits] == [1, 0]
    [flip] = audits[0].flips
    assert flip.pair.kind == "not"
    assert "Output" not in flip.first
    analysis = None
    for found in audits:
        analysis = add(analysis, found)
    assert analysis is not None
    assert list(analysis.tables) == ["all classes", "stopwords", "keep_all"]
    whole = analysis.tables["all classes"]
    assert whole.columns[:4] == ("agent", "pairs", "flips", "share")
    assert [row[:4] for row in whole.rows] == [("keep_all", 2, 0, 0.0), ("stopwords", 2, 1, 0.5)]
    again = add(analysis, audit_agent(KeepAllAgent(), "stopwords", task, PAIRS))
    assert [row[:3] for row in again.tables["all classes"].rows] == [
        ("stopwords", 2, 0),
        ("keep_all", 2, 0),
    ]


class Failing(KeepAllAgent):
    name = "failing"

    def act(self, observations, infos):
        raise ValueError("no idea")


class Shouting:
    """Returns texts, and fails on one of them."""

    name = "shouting"

    def rewrite(self, texts: Sequence[str]) -> list[str | None]:
        return [None if "5" in text else text.replace("not ", "").upper() for text in texts]


def test_agents_that_rewrite_are_audited_on_their_texts() -> None:
    """Where they fail the original is sent, which is no flip."""
    found = audit_agent(Shouting(), "shouting", task_of_pairs(), PAIRS)
    [flip] = found.flips
    assert flip.first == "WHO HAS PAID OUTPUT"


def test_a_folder_is_audited_under_its_rules(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also where its dataset had columns of its own, and a pair is too long for the suite."""
    long = FlipPair("not", f"{'word ' * 300} not", "word " * 300)
    monkeypatch.setattr("benchmarks.analyses.audit.default_pairs", lambda: [*PAIRS, long])
    data = tmp_path / "data.jsonl"
    data.write_text('{"text": "Sort: fig, pear"}\n')
    rules = ["--dataset", str(data), "--split", "validation_seen", "--generator", "micro"]
    rules += ["--columns", "text=instruction", "--max-prompt-tokens", "100"]
    folder = tmp_path / "out"
    assert main(["run", "--agents", "keep_all", "--out", str(folder), *rules]) == 0
    for agent in ("stopwords", "keep_all"):
        with pytest.warns(UserWarning, match="left out as too long"):
            assert main(["analyse", "audit", str(folder), "--agents", agent]) == 0
    tables = json.loads((folder / "analyses" / "audit.json").read_text(encoding="utf-8"))["tables"]
    assert tables["stopwords"]["rows"][-1][:3] == ["all", 2, 1]
    assert [row[0] for row in tables["all classes"]["rows"]] == ["keep_all", "stopwords"]
    assert "Flip audit" in capsys.readouterr().out
    fails = f"{__name__}:Failing"
    with pytest.warns(UserWarning, match="left out as too long"):
        assert main(["analyse", "audit", str(folder), "--agents", "truncation", fails]) == 2
    found = read_analysis(folder, "audit")
    assert found is not None
    assert "truncation" in found.tables
    monkeypatch.setattr("benchmarks.analyses.audit.default_pairs", lambda: PAIRS[:1])
    assert main(["analyse", "audit", str(folder), "--agents", "keep_all"]) == 2
    assert "pairs of another version" in capsys.readouterr().err


def test_agents_that_ask_the_generator_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = RunFolder.open(tmp_path / "out", SETTINGS).path
    assert main(["analyse", "audit", str(folder), "--agents", "search"]) == 2
    assert (
        "agents that query the generator cannot be audited: remove search"
        in capsys.readouterr().err
    )
