"""The paper's configurations, with a tiny model of the same architecture for each large one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from agents.__main__ import main
from agents.runs.config_file import load_config
from agents.runs.folder import TrainingFolder
from agents.runs.material import load_material
from pcrl_gym.scoring.rewards import make_reward

PAPER = {
    "gpt2-xl": ("gpt2", "alpaca_plus", 3e-5),
    "flan-t5-xl": ("t5", "alpaca_plus", 3e-5),
    "llama2-7b-chat": ("llama", "gpteacher", 1e-5),
}
"""Per configuration the builder of its stand-in, its data and its learning rate."""

TEXTS = (
    ("Write the words in reverse order.", "apple, banana, cherry"),
    ("What is the opposite of hot?", ""),
    ("Sort the numbers from the smallest to the largest.", "3 14 15 92 65 35"),
    ("Is it true that the sun rises in the east? Say yes or no.", ""),
)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A folder of two splits; one prompt of each is too long."""
    for split, repeats in (("train", 8), ("validation_seen", 1)):
        rows = [
            {"instruction": f"{text} {number}", "input": given}
            for number in range(repeats)
            for text, given in TEXTS
        ]
        rows.append({"instruction": "apple " * 130, "input": ""})
        (tmp_path / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return tmp_path


@pytest.fixture(params=sorted(PAPER))
def stand_in(
    request: pytest.FixtureRequest, data: Path, roberta_folder: Path
) -> tuple[str, list[str]]:
    """Name of a configuration, and what takes the place of what is too large or not at hand."""
    name = request.param
    generator = request.getfixturevalue(f"{PAPER[name][0]}_folder")
    settings = [
        f"task.dataset={data}",
        f"task.generator={generator}",
        f"task.tokenizer={roberta_folder}",
        f"agent.encoder={roberta_folder}",
        "run.updates=2",
    ]
    return name, settings


@pytest.mark.parametrize("name", sorted(PAPER))
def test_the_settings_are_those_that_the_paper_published(name: str) -> None:
    config = load_config("scst", name)
    agent, task = config.agent, config.task
    assert (agent.encoder, agent.freeze_encoder, agent.head_size) == (
        "distilroberta-base", True, 4096,
    )  # fmt: skip
    assert (agent.samples, agent.baseline, agent.batch_size) == (4, "greedy", 32)
    assert (agent.weight_decay, agent.max_grad_norm) == (1e-6, 0.5)
    assert (agent.entropy_coefficient, agent.final_entropy) == (0.001, None)
    assert (agent.lr, agent.final_lr) == (PAPER[name][2], 1.0)
    assert (task.tokenizer, task.dataset) == ("distilroberta-base", PAPER[name][1])
    assert (task.max_units, task.max_prompt_tokens, task.max_new_tokens) == (128, 128, 30)
    reward: Any = make_reward(task.reward)
    assert (reward.threshold, reward.penalty) == (0.9, -0.01)


@pytest.mark.filterwarnings("ignore:.*prompts are left out as too long")
def test_two_updates_with_a_model_of_the_same_architecture(
    stand_in: tuple[str, list[str]], tmp_path: Path
) -> None:
    name, settings = stand_in
    out = tmp_path / "run"
    command = [
        "train",
        "scst",
        "--config",
        name,
        "--out",
        str(out),
        "--quiet",
        "--loggers",
        "jsonl",
    ]
    assert main([*command, "--set", *settings]) == 0
    folder = TrainingFolder(out)
    updates = [row for row in folder.rows() if row["kind"] == "update"]
    # Per update 32 prompts with four drawn masks and the likeliest one each.
    assert [row["episodes"] for row in updates] == [160, 320]
    assert all(-0.01 <= row["reward"] <= 1.0 for row in updates)
    evaluated = [row for row in folder.rows() if row["kind"] == "evaluation"]
    assert len(evaluated) == (name != "llama2-7b-chat")
    assert (folder.last / "network.safetensors").is_file()


@pytest.mark.filterwarnings("ignore:.*prompts are left out as too long")
def test_answers_are_short_in_training_and_long_in_evaluation(
    stand_in: tuple[str, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    name, settings = stand_in
    tasks: list[Any] = []
    monkeypatch.setattr("agents.runs.material.mean_scores", lambda agent, task: tasks.append(task))
    material = load_material(load_config("scst", name, settings))
    with pytest.warns(UserWarning, match=r"1 of 33 prompts .*max_prompt_tokens is 128 .*:32'"):
        env: Any = material.make_env(1)
    assert env.task.scorer.max_new_tokens == 30
    rendered = env.task.episodes[0].text
    assert rendered.startswith(
        "<s><|im_start|>user\nWrite" if name == "llama2-7b-chat" else "Instruction: Write"
    )
    if material.evaluate is None:
        assert name == "llama2-7b-chat"
        return
    material.evaluate(None)  # type: ignore[arg-type]
    assert tasks[0].scorer.max_new_tokens == 128
