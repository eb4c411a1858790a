"""Settings that threads share, and computing in processes that were forked."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
from pathlib import Path

import pytest

from pcrl_gym.process_state import hold

ROOT = Path(__file__).parents[1]

needs_fork = pytest.mark.skipif(
    "fork" not in multiprocessing.get_all_start_methods(), reason="cannot fork"
)

# Enough numbers for a pool of threads, whose memory the child gets without the threads.
USE_TORCH = """
import torch
assert torch.get_num_threads() > 1
torch.ones(1_000_000).exp().sum(), torch.ones(512, 512) @ torch.ones(512, 512)
"""

STEP = (
    """
import gymnasium as gym
import pcrl_gym
ID = "PromptCompression-v0"
env = gym.make(ID, device="cpu")
env.reset(seed=0)
env.step(env.action_space.sample())
"""
    + USE_TORCH
    + """
vec = gym.vector.AsyncVectorEnv([lambda: gym.make(ID, device="cpu")] * 2, context="fork")
vec.reset(seed=0)
print(vec.step(vec.action_space.sample())[1].shape)
vec.close()
"""
)

IN_CHILD = """
import multiprocessing
def child():
    from pcrl_gym import Compressor, load_generator
    import torch
    torch.ones(1_000_000).exp().sum(), torch.ones(512, 512) @ torch.ones(512, 512)
    Compressor.from_pretrained("micro", device="cpu")("Please sort these words: pear, fig")
    load_generator("micro", device="cpu").generate(["Is it true?"] * 64, 4)
process = multiprocessing.get_context("fork").Process(target=child)
process.start()
process.join()
print(process.exitcode)
"""

SHARED = (
    """
import multiprocessing
from pcrl_gym import Compressor
compressor = Compressor.from_pretrained("micro", device="cpu")
texts = ["Please sort these words: pear, fig, plum and cherry"] * 64
before = [done.text for done in compressor(texts)]
"""
    + USE_TORCH
    + """
with multiprocessing.get_context("fork").Pool(1) as pool:
    print(pool.apply(compressor, (texts,))[0].text == before[0])
"""
)


def run(program: str) -> str:
    environment = {**os.environ, "OMP_NUM_THREADS": "2", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,  # what hangs hangs for ever
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@needs_fork
def test_environments_step_in_forks_of_a_process_that_has_stepped() -> None:
    assert run(STEP) == "(2,)\n"


@needs_fork
def test_a_fork_computes_though_its_parent_used_torch_before_this_package() -> None:
    assert run(USE_TORCH + IN_CHILD) == "0\n"


@needs_fork
def test_a_compressor_goes_with_a_fork() -> None:
    assert run(SHARED) == "True\n"


def test_the_first_to_hold_changes_and_the_last_undoes() -> None:
    events: list[str] = []

    def apply() -> object:
        events.append("apply")
        return lambda: events.append("undo")

    with hold("a", apply), hold("b", apply):
        assert events == ["apply", "apply"]
        with hold("a", apply):
            pass
        assert events == ["apply", "apply"]
    assert events == ["apply", "apply", "undo", "undo"]
    with hold("a", apply):
        pass
    assert events[4:] == ["apply", "undo"]


@needs_fork
def test_a_fork_starts_with_what_was_set_before_it_was_held() -> None:
    """The child has only one of the parent's threads, so nobody there would put it back."""
    value = ["caller's"]

    def apply() -> object:
        value[0] = "held"
        return lambda: value.__setitem__(0, "caller's")

    reader, writer = os.pipe()
    with hold("value", apply):
        child = os.fork()
        if not child:
            os.write(writer, value[0].encode())
            os._exit(0)
        assert value == ["held"]
    os.waitpid(child, 0)
    assert os.read(reader, 99) == b"caller's"
    assert value == ["caller's"]
