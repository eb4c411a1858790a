"""Recorded masks give the row that the agent itself would have had."""

from __future__ import annotations

import json
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest

from agents.base import make_agent
from agents.recorded import RecordedAgent
from env_fixtures import ID, PROMPTS, options
from pcrl_gym.envs.recording import RecordMasks, VectorRecordMasks


def drop_third(observations) -> np.ndarray:
    """Every third droppable unit goes."""
    order = np.cumsum(observations["droppable"], axis=-1)
    drop = (observations["droppable"] == 1) & (order % 3 == 0)
    return (observations["attention_mask"] * ~drop).astype(np.int8)


def test_a_file_of_masks_acts_as_the_agent_did(tmp_path: Path, gpt2_tokenizer) -> None:
    env = RecordMasks(gym.make(ID, **options(gpt2_tokenizer)), tmp_path / "new" / "masks.jsonl")
    for index in range(len(PROMPTS)):
        observation, _ = env.reset(options={"index": index})
        env.step(drop_third(observation))
    task = env.unwrapped.task
    env.close()
    observations, infos = task.begin(task.episodes[:])
    for path in (tmp_path / "new" / "masks.jsonl", tmp_path / "new"):
        masks = make_agent(f"recorded:path={path}").act(observations, infos)
        np.testing.assert_array_equal(masks, drop_third(observations))


def test_the_vector_environment_writes_the_same_lines(tmp_path: Path, gpt2_tokenizer) -> None:
    given = options(gpt2_tokenizer)
    env = RecordMasks(gym.make(ID, **given), tmp_path / "one.jsonl")
    envs = VectorRecordMasks(
        gym.make_vec(ID, num_envs=len(PROMPTS), **given), tmp_path / "all.jsonl"
    )
    observations, _ = envs.reset(seed=3)
    observation, _ = env.reset(seed=3)
    for _ in range(2):  # two passes over the split
        observations, *_ = envs.step(drop_third(observations))
    for _ in range(2 * len(PROMPTS)):
        env.step(drop_third(observation))
        observation, _ = env.reset()
    env.close()
    envs.close()
    lines = [(tmp_path / name).read_text().splitlines() for name in ("one.jsonl", "all.jsonl")]
    assert lines[0] == lines[1]
    assert len(lines[0]) == 2 * len(PROMPTS)


def test_edits_of_several_steps_are_written_together(tmp_path: Path, gpt2_tokenizer) -> None:
    env = RecordMasks(
        gym.make(ID, **options(gpt2_tokenizer, max_steps=2)), tmp_path / "masks.jsonl"
    )
    observation, _ = env.reset(options={"index": 0})
    first, second = np.flatnonzero(observation["droppable"])[:2]
    for unit in (first, second):
        action = observation["attention_mask"].copy()
        action[unit] = 0
        observation, *_ = env.step(action)
    env.close()
    [line] = (tmp_path / "masks.jsonl").read_text().splitlines()
    assert [i for i, bit in enumerate(json.loads(line)["keep"]) if not bit] == [first, second]


def test_an_existing_file_is_not_overwritten(tmp_path: Path, gpt2_tokenizer) -> None:
    (tmp_path / "masks.jsonl").write_text("mine")
    with pytest.raises(ValueError, match="already exists"):
        RecordMasks(gym.make(ID, **options(gpt2_tokenizer)), tmp_path / "masks.jsonl")
    assert (tmp_path / "masks.jsonl").read_text() == "mine"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"prompt_id": "other", "keep": [1]}', "no mask for prompt"),
        ('{"prompt_id": "%s", "keep": [1, 0]}', "has 2 units, but"),
        ('{"prompt_id": "%s", "keep": "all"}', "line 1 .* is damaged"),
        ('{"prompt_id": "%s"', "line 1 .* is damaged"),
    ],
)
def test_a_wrong_file_is_named(tmp_path: Path, gpt2_tokenizer, text: str, message: str) -> None:
    env = gym.make(ID, **options(gpt2_tokenizer)).unwrapped
    observations, infos = env.task.begin(env.task.episodes[:1])
    path = tmp_path / "masks.jsonl"
    path.write_text(text.replace("%s", infos[0]["prompt_id"]))
    with pytest.raises(ValueError, match=message):
        RecordedAgent(str(path)).act(observations, infos)


def test_no_file_is_said(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="there is no mask file"):
        RecordedAgent(str(tmp_path / "none")).act(
            {"attention_mask": np.ones((1, 2))}, [{"prompt_id": "a"}]
        )
