"""The reward in libraries that train and evaluate language models."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import pytest

from examples.clients.verl_reward import compute_score
from fault_server import KEY, FaultServer
from imports import ROOT
from pcrl_gym import Compressor, make_task
from pcrl_gym.envs.task import Task


@pytest.fixture(scope="module")
def task() -> Task:
    return make_task(split="validation_seen")


@pytest.fixture(scope="module")
def expected(task: Task) -> list[tuple[str, str, float]]:
    """Prompts, shorter ones that keep or lose the answer, and their rewards."""
    texts = [task.episodes[i].body_text for i in range(8)]
    shorter = [done.text for done in Compressor.from_pretrained("micro")(texts)]
    shorter[::3] = [text[: len(text) // 3] for text in texts[::3]]
    rewards = task.scorer.score_texts(task.episodes[:8], shorter).reward.tolist()
    assert min(rewards) == -0.01
    assert max(rewards) > 0.3
    return list(zip(texts, shorter, rewards, strict=True))


def test_verl(expected) -> None:
    for i, (_, text, reward) in enumerate(expected):
        score = compute_score("micro", f" {text}\n", None, {"index": i}, split="validation_seen")
        assert score == reward


def test_trl_rewards_and_environment(task: Task, expected) -> None:
    pytest.importorskip("trl", reason="make test-clients")
    from examples.clients.trl_grpo import CompressionEnvironment, make_reward

    rewards = [reward for _, _, reward in expected]
    reward = make_reward(task)
    texts = [text for _, text, _ in expected]
    assert reward(completions=texts, index=list(range(8)), prompts=texts) == rewards
    chats = [[{"role": "assistant", "content": text}] for text in texts]
    assert reward(completions=chats, index=list(range(8))) == rewards
    env = CompressionEnvironment(task)
    assert env.reset(index=3) == expected[3][0]
    assert env.get_reward() == 0.0
    assert env.submit(expected[3][1]) == f"reward {rewards[3]:.3f}"
    assert env.get_reward() == rewards[3]


def test_dspy_metric_says_what_was_lost(task: Task, expected) -> None:
    pytest.importorskip("dspy", reason="make test-clients")
    import dspy

    from examples.clients.dspy_metric import examples, make_metric

    metric = make_metric(task)
    rows = examples(task, list(range(8)))
    for row, (prompt, text, reward) in zip(rows, expected, strict=True):
        told = metric(row, dspy.Prediction(shorter_prompt=text))
        assert (row.prompt, told.score) == (prompt, reward)
        assert ("The answer is still the same." in told.feedback) == (reward > 0)
        assert "fewer tokens" in told.feedback


def test_inspect_compresses_what_users_write() -> None:
    pytest.importorskip("inspect_ai", reason="make test-clients")
    import anyio
    from inspect_ai.model import ChatMessageSystem, ChatMessageUser

    from examples.clients.inspect_solver import compress

    text = "Hi there. Could you please sort these words for me: pear, fig, apple"
    messages = [ChatMessageSystem(content=text), ChatMessageUser(content=text)]
    state = SimpleNamespace(messages=messages, metadata={})
    anyio.run(compress("micro", rate=0.3), state, None)
    done = Compressor.from_pretrained("micro")(text, rate=0.3)
    assert [message.text for message in state.messages] == [text, done.text]
    saved = done.original_tokens - done.compressed_tokens
    assert state.metadata == {"saved_tokens": saved}
    assert saved > 0


@pytest.fixture
def taskset_module(monkeypatch: pytest.MonkeyPatch):
    pytest.importorskip("verifiers", reason="make test-clients")
    monkeypatch.syspath_prepend(str(ROOT / "examples" / "clients" / "verifiers"))
    import prompt_compression

    return prompt_compression


def test_verifiers_taskset(taskset_module, task: Task, expected) -> None:
    config = taskset_module.CompressionConfig(id="prompt-compression", split="validation_seen")
    tasks = list(taskset_module.CompressionTaskset(config).take(8))
    assert [one.data.id for one in tasks] == [e.prompt.id for e in task.episodes[:8]]
    for one, (prompt, text, reward) in zip(tasks, expected, strict=True):
        assert one.data.prompt.endswith(prompt)
        assert one.reward_of(text) == reward


def test_verifiers_taskset_without_end(taskset_module) -> None:
    def first(seed: int, count: int) -> list[str]:
        config = taskset_module.CompressionConfig(id="prompt-compression", seed=seed)
        taskset = taskset_module.CompressionTaskset(config)
        assert not taskset.bounded
        return [one.data.prompt for one in taskset.take(count)]

    assert len(set(first(0, 200))) == 200
    assert first(0, 20) == first(0, 200)[:20] != first(1, 20)


def test_vf_eval_rolls_out_against_a_server(taskset_module, tmp_path) -> None:
    import json
    import os
    import subprocess
    from pathlib import Path

    folder = ROOT / "examples" / "clients" / "verifiers"
    with FaultServer(answer=lambda text: "Sort") as server:
        command = [str(Path(sys.executable).with_name("vf-eval")), "prompt-compression"]
        command += ["--no-rich", "-n", "2", "-r", "1", "--model", "m"]
        command += ["--client.base-url", server.url, "--output-dir", str(tmp_path)]
        done = subprocess.run(
            command,
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": f"{folder}:{ROOT}", "OPENAI_API_KEY": KEY},
            capture_output=True,
            text=True,
        )
    assert done.returncode == 0, done.stdout + done.stderr
    [traces] = tmp_path.rglob("traces.jsonl")
    rows = [json.loads(line) for line in traces.read_text().splitlines()]
    assert [row["rewards"]["compression"]["value"] for row in rows] == [-0.01, -0.01]
