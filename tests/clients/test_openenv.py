"""The OpenEnv server: sessions apart, rewards as the scorer gives them, limits, a clean end."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("openenv", reason="make test-clients")

from imports import ROOT
from pcrl_gym import make_task
from serving import Served, free_port, served

FOLDER = ROOT / "examples" / "clients" / "openenv"
CLIENTS, EPISODES = 8, 125
SESSIONS = 10


@pytest.fixture(scope="module", autouse=True)
def modules() -> Iterator[None]:
    sys.path.insert(0, str(FOLDER))
    yield
    sys.path.remove(str(FOLDER))


@pytest.fixture(scope="module")
def server() -> Iterator[tuple[str, Served]]:
    port = free_port()
    command = [str(FOLDER / "server" / "app.py"), "--host", "127.0.0.1", "--port", port]
    surroundings = {
        "PYTHONPATH": f"{FOLDER}:{ROOT}",
        "PCRL_SPLIT": "validation_seen",
        "PCRL_SESSIONS": str(SESSIONS),
        "OMP_NUM_THREADS": "1",
    }
    with served([sys.executable, *command], "Uvicorn running on", **surroundings) as running:
        # A full pipe would stop the server.
        threading.Thread(target=running.process.stdout.read, daemon=True).start()
        yield f"http://127.0.0.1:{port}", running


def connect(url: str):
    from prompt_compression_env import PromptCompressionEnv

    return PromptCompressionEnv(url).sync()


def shortened(prompt: str, client: int) -> str:
    """What a client makes of a prompt: each something else."""
    words = prompt.split(" ")
    return " ".join(words[min(client, len(words) - 1) :])


def test_no_reward_of_a_thousand_episodes_from_eight_clients_is_lost_or_mixed(server) -> None:
    from prompt_compression_env import CompressionAction

    def play(client: int) -> list[tuple[int, float, str]]:
        played = []
        with connect(server[0]) as env:
            for index in range(client, client + EPISODES):
                prompt = env.reset(index=index).observation.prompt
                result = env.step(CompressionAction(text=shortened(prompt, client)))
                assert result.done
                played.append((index, result.reward, result.observation.compressed_prompt))
        return played

    with ThreadPoolExecutor(CLIENTS) as pool:
        played = list(pool.map(play, range(CLIENTS)))
    task = make_task(split="validation_seen")
    for client, rows in enumerate(played):
        episodes = task.episodes.take([index for index, _, _ in rows])
        texts = [shortened(episode.body_text, client) for episode in episodes]
        scores = task.scorer.score_texts(episodes, texts)
        assert [row[1] for row in rows] == scores.reward.tolist()
        assert [row[2] for row in rows] == scores.compressed_prompts


def test_a_mask_earns_what_it_earns_in_the_environment(server) -> None:
    from prompt_compression_env import CompressionAction

    task = make_task(split="validation_seen")
    with connect(server[0]) as env:
        for index in range(5):
            seen = env.reset(index=index).observation
            keep = [int(not free or i % 3 > 0) for i, free in enumerate(seen.droppable)]
            assert "".join(seen.units) == task.episodes[index].text
            reward = env.step(CompressionAction(keep=keep)).reward
            assert reward == task.scorer([task.episodes[index]], [np.array(keep)]).reward[0]
        one, again = (env.reset(seed=7).observation.prompt_id for _ in range(2))
        assert one == again
        env.step(CompressionAction(text=""))
        state = env.state()
        assert state.step_count == 1


@pytest.mark.parametrize(
    "action",
    [{"text": "a", "keep": [1]}, {}, {"text": "a" * 40_000}, {"keep": [2]}, {"keep": [1] * 5_000}],
    ids=["both", "neither", "long text", "no bit", "long mask"],
)
def test_bad_actions_are_refused_and_the_session_stays(server, action) -> None:
    from openenv.core import GenericEnvClient

    with GenericEnvClient(server[0]).sync() as env:
        env.reset(index=0)
        with pytest.raises(RuntimeError, match="Invalid message"):
            env.step(action)
        assert env.step({"text": "Sort"}).done


def test_a_text_that_fails_takes_none_of_its_batch_along() -> None:
    from server.app import BatchScorer

    scored = []

    def score_texts(episodes: list[str], texts: list[str]) -> SimpleNamespace:
        scored.append(texts)
        entered.set()
        release.wait(30)
        if "bad" in texts:
            raise ValueError("bad")
        reward = [float(len(text)) for text in texts]
        return SimpleNamespace(reward=reward, info=lambda i: {"text": texts[i]})

    entered, release = threading.Event(), threading.Event()
    score = BatchScorer(SimpleNamespace(scorer=SimpleNamespace(score_texts=score_texts)))
    with ThreadPoolExecutor(4) as pool:
        first = pool.submit(score, "e", "a")
        assert entered.wait(30)
        others = [pool.submit(score, "e", text) for text in ("bb", "bad", "cccc")]
        while len(score._waiting) < 3:
            pass
        release.set()
        assert first.result() == {"reward": 1.0, "text": "a"}
        assert others[0].result() == {"reward": 2.0, "text": "bb"}
        assert others[2].result() == {"reward": 4.0, "text": "cccc"}
        with pytest.raises(ValueError, match="bad"):
            others[1].result()
    assert sorted(scored[1]) == ["bad", "bb", "cccc"]  # in one batch, then each alone
    assert len(scored) == 5


def test_order_index_and_rate_are_checked(server) -> None:
    from prompt_compression_env import CompressionAction

    with connect(server[0]) as env:
        with pytest.raises(RuntimeError, match="call reset before step"):
            env.step(CompressionAction(text="a"))
        with pytest.raises(RuntimeError, match=r"expected index in \[0, 1000\), got 1000"):
            env.reset(index=1000)

        def hurry() -> None:
            for _ in range(200):
                env.reset(index=0)
                env.step(CompressionAction(text=""))

        with pytest.raises(RuntimeError, match="slow down"):
            hurry()


def test_there_are_only_so_many_sessions(server) -> None:
    held = []
    try:
        for _ in range(SESSIONS):
            held.append(connect(server[0]))
            held[-1].reset(index=0)
        held.append(connect(server[0]))
        with pytest.raises((RuntimeError, ConnectionError), match=r"(?i)capacity"):
            held[-1].reset(index=0)
    finally:
        for env in held:
            env.close()


def test_openenv_validates_the_running_server_and_it_ends_cleanly(server) -> None:
    openenv = str(Path(sys.executable).with_name("openenv"))
    done = subprocess.run([openenv, "validate", "--url", server[0]], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    server[1].process.send_signal(signal.SIGINT)
    assert server[1].process.wait(60) == 0
