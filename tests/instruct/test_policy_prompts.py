"""The prompts of the shipped policy's training: which are taken, and from where."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random
from zipfile import ZipFile

import pytest

from pcrl_gym.instruct import policy_prompts
from pcrl_gym.instruct.policy_prompts import PER_TASK, evals_prompts, main
from pcrl_gym.named_datasets import load_prompts
from pcrl_gym.prompts.prompt import Prompt

LONG = "Say which of these words comes last in the dictionary: pear, fig"


def chat(*turns: tuple[str, str]) -> str:
    return json.dumps({"input": [{"role": role, "content": text} for role, text in turns]})


@pytest.fixture
def wheel(tmp_path: Path) -> Path:
    files = {
        "words/a.jsonl": [chat(("system", "Be brief."), ("user", LONG)), '{"input": 3}', "no JSON"],
        "words/b.jsonl": [json.dumps({"input": LONG}), json.dumps({"input": "Too short"})],
        "many/a.jsonl": [json.dumps({"input": f"{LONG}, number {i}"}) for i in range(50)],
        "turns/a.jsonl": [chat(("user", LONG), ("assistant", "pear"), ("user", LONG))],
        "numbers/a.jsonl": [json.dumps({"input": "1 2 3 4 5 6 7 8 9 10"})],
        "ballots/a.jsonl": [json.dumps({"input": LONG})],
    }
    path = tmp_path / "evals.whl"
    with ZipFile(path, "w") as archive:
        for name, lines in files.items():
            archive.writestr(f"evals/registry/data/{name}", "\n".join(lines))
        archive.writestr("evals/other.jsonl", json.dumps({"input": LONG}))
    return path


def test_single_turns_of_the_right_length_are_taken(wheel: Path) -> None:
    found = list(evals_prompts(wheel, Random(0)))
    assert sum(one.source == "many" for one in found) == PER_TASK
    words = {(one.instruction, one.input) for one in found if one.source == "words"}
    assert words == {("Be brief.", LONG), (LONG, "")}
    assert {one.source for one in found} == {"many", "words"}


def test_the_same_seed_writes_the_same(
    wheel: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    twice = "The first sentence has six words. The second one has six, too."
    own = [Prompt("0", "Sort these.", twice), Prompt("1", LONG)]
    monkeypatch.setattr(policy_prompts, "SHORT", 20)
    monkeypatch.setattr(policy_prompts, "FACTS", 10)
    monkeypatch.setattr(policy_prompts, "instruct_prompts", lambda split: own)
    for name in ("chat", "t0", "questions"):
        (tmp_path / name).mkdir()
        row = {"instruction": f"From {name}", "output": "x"}
        (tmp_path / name / "train.jsonl").write_text(json.dumps(row) + "\n")
    folders = {"chat": tmp_path / "chat", "t0": tmp_path / "t0"}
    folders["questions"] = tmp_path / "questions"
    for name, seed in (("one", 0), ("same", 0), ("other", 1)):
        main(evals=wheel, **folders, out=tmp_path / name, seed=seed)
    one, same, other = (
        (tmp_path / name / "train.jsonl").read_text() for name in ("one", "same", "other")
    )
    assert one == same != other
    prompts = load_prompts(tmp_path / "one", "train")
    # The one of the world that evals has, too, is there once.
    made = ("short", "facts")
    assert sum(prompt.source not in made for prompt in prompts) == 2 + PER_TASK + 1 + 3
    assert sum(prompt.source == "facts" for prompt in prompts) == 10
    assert 10 < sum(prompt.source == "short" for prompt in prompts) <= 20
    with pytest.raises(SystemExit, match="one exists: give another folder"):
        main(evals=wheel, **folders, out=tmp_path / "one")
