"""Leave one out drops the units that the original answer needs least, and asks once per unit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import models
from agents.leave_one_out import LeaveOneOutAgent
from fakes import CountingGenerator
from pcrl_gym.envs.task import Task, make_task
from pcrl_gym.errors import GeneratorError
from pcrl_gym.prompts.prompt import Prompt


def task_of(*instructions: str, cache: Path | None = None) -> tuple[Task, CountingGenerator]:
    prompts = [Prompt(id=str(i), instruction=text) for i, text in enumerate(instructions)]
    generator = CountingGenerator(answer=lambda _: "beta delta")
    generator.tokenizer = models.gpt2_tokenizer()
    generator.fingerprint = "counting"
    return make_task(dataset=prompts, generator=generator, unit="word", cache=cache), generator


def left(agent: LeaveOneOutAgent, task: Task) -> list[str]:
    agent.attach(task)
    episodes = task.episodes[:]
    masks = agent.act(*task.begin(episodes))
    return [e.compress(mask[: len(e)]) for e, mask in zip(episodes, masks, strict=True)]


def test_the_cheapest_units_go_first() -> None:
    task, _ = task_of("alpha beta gamma delta")
    (text,) = left(LeaveOneOutAgent(rate=0.5), task)
    assert "beta" in text
    assert "delta" in text
    assert "alpha" not in text
    assert "gamma" not in text


def test_units_are_asked_for_once_per_task_whatever_the_rate() -> None:
    task, generator = task_of("alpha beta gamma delta", "beta and delta")
    units = sum(int(episode.droppable.sum()) for episode in task.episodes[:])
    left(LeaveOneOutAgent(rate=0.25), task)
    asked = sum(map(len, generator.likelihood_calls))
    assert asked <= units + 2  # the originals, and equal texts once
    left(LeaveOneOutAgent(rate=0.75), task)
    assert sum(map(len, generator.likelihood_calls)) == asked


def test_costs_are_kept_on_disk_with_the_answers(tmp_path: Path) -> None:
    prompts = "alpha beta gamma delta", "beta and delta"
    task, generator = task_of(*prompts, cache=tmp_path / "answers.db")
    texts = left(LeaveOneOutAgent(rate=0.5), task)
    assert generator.likelihood_calls
    again, generator = task_of(*prompts, "beta only", cache=tmp_path / "answers.db")
    assert left(LeaveOneOutAgent(rate=0.5), again)[:2] == texts
    assert [len(call) for call in generator.likelihood_calls] == [1, 2]  # the new prompt alone


def test_an_interrupted_measurement_resumes(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr("agents.costs.MAX_AT_ONCE", 4)
    prompts = "alpha beta gamma delta", "beta and also delta"
    task, generator = task_of(*prompts, cache=tmp_path / "answers.db")
    ask, asked = generator.log_likelihood, []

    def fail_late(texts: Any, answers: Any) -> list[float]:
        if len(asked) == 2:  # the first prompt and its masks
            raise GeneratorError("gone")
        asked.append(texts)
        return ask(texts, answers)

    monkeypatch.setattr(generator, "log_likelihood", fail_late)
    with pytest.raises(GeneratorError, match="gone"):
        left(LeaveOneOutAgent(), task)
    again, generator = task_of(*prompts, cache=tmp_path / "answers.db")
    left(LeaveOneOutAgent(), again)
    again_asked = {text for call in generator.likelihood_calls for text in call}
    assert len(asked[1]) == 4
    assert not again_asked & set(asked[1])


def test_what_is_wrong_is_said() -> None:
    with pytest.raises(ValueError, match="rate"):
        LeaveOneOutAgent(rate=1.5)
    task, generator = task_of("alpha beta")
    with pytest.raises(RuntimeError, match=r"leave_one_out queries .*attach\(task\)"):
        LeaveOneOutAgent().act(*task.begin(task.episodes[:]))
    other, _ = task_of("gamma delta")
    agent = LeaveOneOutAgent()
    agent.attach(other)
    with pytest.raises(ValueError, match="not in the attached task"):
        agent.act(*task.begin(task.episodes[:]))
    assert generator.likelihood_calls == []
