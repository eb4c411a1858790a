"""Questions and padded requests that a model writes, here one that always writes the same."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pcrl_gym.instruct import questions
from pcrl_gym.prompts.prompt import Prompt

TEXT = (
    "The old mill stands by the river at the end of the village. It was built in 1870 by two "
    "brothers from the north. Today a baker lives there with her three children and a gray cat."
)


class Model:
    """Stands in for SmolLM2, and counts its calls."""

    calls = 0

    def __call__(self, turns, limit, seed):
        Model.calls += 1
        ends = {True: "built the mill? It was", False: "need a recipe for a cake with apples."}
        return [turn | {"text": ends["passage" in turn], "ended": True} for turn in turns]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "t0").mkdir()
    row = {"instruction": "Summarize.", "input": TEXT, "output": "x"}
    (tmp_path / "t0" / "train.jsonl").write_text(json.dumps(row) + "\n")
    monkeypatch.setattr(questions, "Writer", Model)
    monkeypatch.setattr(questions, "instruct_prompts", lambda split: [Prompt("0", "Hi", TEXT)])

    def write(openings: int = 6) -> list[dict[str, str]]:
        questions.main(t0=tmp_path / "t0", out=tmp_path / "out", openings=openings)
        lines = (tmp_path / "out" / "prompts" / "train.jsonl").read_text().splitlines()
        return [json.loads(line) for line in lines]

    return write


def test_a_question_ends_at_its_mark_and_comes_with_its_passage(run) -> None:
    rows = run()
    (asked,) = (row for row in rows if row["source"] == "question")
    text = f"{asked['instruction']} {asked['input']}"
    assert TEXT in text
    assert "built the mill?" in text
    assert "It was built the mill" not in text.replace(TEXT, "")
    assert sum(row["source"] == "opening" for row in rows) == 6


def test_a_finished_run_is_read_again_and_other_settings_are_refused(run) -> None:
    first = run()
    calls = Model.calls
    assert run() == first
    assert Model.calls == calls
    with pytest.raises(SystemExit, match="was begun with"):
        run(openings=7)
