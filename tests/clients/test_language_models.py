"""The reward in libraries that train and evaluate language models."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from examples.clients.verl_reward import compute_score
from fault_server import KEY, FaultServer
from imports import ROOT
from pcrl_gym import Compressor, make_task
from pcrl_gym.envs.task import Task

TASKSET = ROOT / "examples" / "clients" / "verifiers"


@pytest.fixture(scope="module")
def task() -> Task:
    return make_task(split="validation_seen")


@pytest.fixture(scope="module")
def expected(task: Task) -> list[tuple[str, str, float]]:
    """Prompts, shorter ones that keep or lose the answer, and their rewards."""
    texts = [task.episodes[i].body_text for i in range(8)]
    shorter = [done.text.strip() for done in Compressor.from_pretrained("micro")(texts)]
    shorter[::3] = [text[: len(text) // 3].strip() for text in texts[::3]]
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
    monkeypatch.syspath_prepend(str(TASKSET))
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


def test_vf_eval_rolls_out_against_a_server(taskset_module, task: Task, tmp_path: Path) -> None:
    reply = "Sort"
    parts = [
        {"index": 0, "delta": {"role": "assistant", "content": reply}, "finish_reason": None},
        {"index": 0, "delta": {}, "finish_reason": "stop"},
    ]
    chunk = {"id": "1", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    lines = [f"data: {json.dumps(chunk | {'choices': [part]})}\n\n" for part in parts]
    command = [str(Path(sys.executable).with_name("vf-eval")), "prompt-compression", "--no-rich"]
    command += ["-n", "2", "-r", "1", "--model", "m", "--no-push", "--output-dir", str(tmp_path)]
    command += ["--env.agent.runtime.type", "subprocess", "--env.agent.harness.id", "null"]
    command += ["--env.taskset.split", "validation_seen"]
    with FaultServer() as server:
        server.error = (200, "".join([*lines, "data: [DONE]\n\n"]))
        surroundings = {"PYTHONPATH": f"{TASKSET}:{ROOT}", "PRIME_API_KEY": KEY}
        done = subprocess.run(
            [*command, "--client.base-url", server.url],
            cwd=tmp_path,
            env={**os.environ, **surroundings},
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 0, done.stdout + done.stderr
    [file] = tmp_path.rglob("traces.jsonl")
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    traces = [trace for row in rows for trace in row["traces"]]
    rewards = {t["task"]["data"]["id"]: t["rewards"]["compression"]["score"] for t in traces}
    expected = task.scorer.score_texts(task.episodes[:2], [reply] * 2).reward
    ids = [episode.prompt.id for episode in task.episodes[:2]]
    assert rewards == dict(zip(ids, expected.tolist(), strict=True))
