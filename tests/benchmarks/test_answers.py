"""`python -m benchmarks answers`: all original prompts of a split, once, in a file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.__main__ import main
from pcrl_gym import make_task
from pcrl_gym.generators.hf import HFGenerator


@pytest.fixture
def data(tmp_path: Path) -> Path:
    rows = [{"instruction": f"Write {n} words"} for n in range(7)]
    rows += [rows[0], {"instruction": "very long " * 300}]
    file = tmp_path / "data.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return file


def test_an_interrupted_run_goes_on_and_a_task_asks_nothing_more(
    data: Path, tmp_path: Path, gpt2_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    monkeypatch.setattr("benchmarks.commands.tuning._BATCH", 3)
    asked: list[str] = []
    plain = HFGenerator.generate_from

    def interrupted(self, prompts, *rest):
        if asked:
            raise KeyboardInterrupt
        asked.extend(prompts)
        return plain(self, prompts, *rest)

    def counted(self, prompts, *rest):
        asked.extend(prompts)
        return plain(self, prompts, *rest)

    cache = tmp_path / "answers.db"
    command = [
        *("answers", "--dataset", str(data), "--generator", str(gpt2_folder), "--device", "cpu"),
        *("--cache", str(cache), "--max-new-tokens", "5"),
    ]
    with monkeypatch.context() as patch:
        patch.setattr(HFGenerator, "generate_from", interrupted)
        with pytest.warns(UserWarning, match="1 of 9 prompts are left out"):
            assert main(command) == 130
    assert len(asked) == 3
    monkeypatch.setattr(HFGenerator, "generate_from", counted)
    with pytest.warns(UserWarning, match="left out"):
        assert main(command) == 0
    assert "8 prompts: 4 answered now" in capsys.readouterr().out
    assert len(asked) == len(set(asked)) == 7
    with pytest.warns(UserWarning, match="left out"):
        task = make_task(
            dataset=data, generator=str(gpt2_folder), max_new_tokens=5, cache=cache, device="cpu"
        )
    scores = task.scorer(task.episodes[:], [[] for _ in range(8)])
    assert scores.similarity.tolist() == [1.0] * 8
    assert len(asked) == 7
