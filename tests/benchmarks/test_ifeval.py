from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks import ifeval
from benchmarks.gold import check_checks
from benchmarks.ifeval import constraints_kept
from pcrl_gym.errors import DatasetError, MissingExtraError
from pcrl_gym.named_datasets import load_prompts
from pcrl_gym.prompts.prompt import Prompt

ROW = {
    "id": "7",
    "instruction": "Write a line without commas, all in lower case.",
    "instruction_id_list": ["punctuation:no_comma", "change_case:english_lowercase"],
    "kwargs": [{}, {}],
}


@pytest.fixture
def prompt(tmp_path: Path) -> Prompt:
    (tmp_path / "rows.jsonl").write_text(json.dumps(ROW) + "\n")
    (read,) = load_prompts(tmp_path / "rows.jsonl")
    return read


def test_each_constraint_is_decided(prompt: Prompt) -> None:
    pytest.importorskip("if_verifiable")
    assert constraints_kept(prompt, "this is one line and it is short") == [True, True]
    assert constraints_kept(prompt, "this is, I think, one line") == [False, False]
    assert constraints_kept(prompt, "") == [False, False]


def test_the_frequency_of_a_sign_is_counted(tmp_path: Path) -> None:
    """`if_verifiable` itself would count a random letter."""
    pytest.importorskip("if_verifiable")
    frequency = {"letter": "#", "let_relation": "at least", "let_frequency": 2}
    row = {
        "id": "8",
        "instruction": "Write a tweet with two hashtags.",
        "instruction_id_list": ["keywords:letter_frequency"] * 10,
        "kwargs": [frequency] * 10,
    }
    (tmp_path / "rows.jsonl").write_text(json.dumps(row) + "\n")
    (prompt,) = load_prompts(tmp_path / "rows.jsonl")
    assert constraints_kept(prompt, "#a #b") == [True] * 10
    assert constraints_kept(prompt, "aa bb cc dd ee ff gg hh ii jj kk ll #") == [False] * 10


def test_other_prompts_have_none() -> None:
    assert constraints_kept(Prompt(id="0", instruction="Say yes.", check="exact"), "yes") == []


def test_the_package_is_named_where_it_is_missing(
    prompt: Prompt, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ifeval, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"pip install -e .*ifeval"):
        check_checks([prompt])


def test_what_cannot_be_checked_is_said_first(prompt: Prompt) -> None:
    pytest.importorskip("if_verifiable")
    check_checks([prompt, Prompt(id="0", instruction="Say yes.", output="yes", check="exact")])
    unknown = replace(prompt, check=prompt.check.replace("no_comma", "no_dot"))
    with pytest.raises(DatasetError, match=r"prompt '7': unknown constraints punctuation:no_dot"):
        check_checks([unknown])
    with pytest.raises(DatasetError, match=r"prompt '7': unknown check 'right'.* rename the col"):
        check_checks([replace(prompt, check="right")])
