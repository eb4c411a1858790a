"""The examples with other libraries; `make test-clients` runs them all."""

from __future__ import annotations

import ast
import tempfile
import uuid
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from example_runner import run_example
from fault_server import KEY, FaultServer
from imports import ROOT
from processes import CAN_TELL, processes_with

CLIENTS = ROOT / "examples" / "clients"
# What an example imports, or makes others import, besides what the tests need anyhow.
NEEDS = {
    "cleanrl_ppo": (),
    "dspy_metric": ("dspy",),
    "gymnasium_wrappers": ("moviepy",),
    "inspect_solver": ("inspect_ai",),
    "langchain_runnable": ("langchain_core",),
    "litellm_callback": ("litellm",),
    "llamaindex_postprocessor": ("llama_index",),
    "minari_dataset": ("minari",),
    "openai_wrapper": ("openai",),
    "rllib_ppo": ("ray", "tree", "lz4"),
    "tianshou_ppo": ("tianshou",),
    "torchrl_ppo": ("torchrl",),
    "trl_grpo": ("trl",),
    "verl_reward": (),
}


@pytest.fixture
def scratch() -> Iterator[Path]:
    """A temporary folder with a short name: Ray's sockets take 107 characters at most."""
    with tempfile.TemporaryDirectory(prefix="pcrl-") as folder:
        yield Path(folder)


def test_every_example_is_listed():
    assert {path.stem for path in CLIENTS.glob("*.py")} == NEEDS.keys()


@pytest.mark.parametrize("name", NEEDS)
def test_example_says_what_it_shows(name: str):
    source = (CLIENTS / f"{name}.py").read_text(encoding="utf-8")
    assert f"examples/clients/{name}.py" in ast.get_docstring(ast.parse(source))


@pytest.mark.parametrize("name", NEEDS)
def test_example_runs_and_leaves_nothing_behind(name: str, tmp_path: Path, scratch: Path):
    """Its home and its temporary folder show what it has left."""
    for module in NEEDS[name]:
        if find_spec(module) is None:
            pytest.skip(f"needs {module}: make test-clients")
    home = tmp_path / "home"
    home.mkdir()
    mark = str(uuid.uuid4())
    with FaultServer() as server:
        run_example(
            CLIENTS / f"{name}.py",
            tmp_path,
            HOME=str(home),
            TMPDIR=str(scratch),
            # What Tianshou's plots and Inspect leave.
            MPLCONFIGDIR=str(tmp_path / "matplotlib"),
            XDG_DATA_HOME=str(tmp_path / "data"),
            PCRL_TEST=mark,
            OPENAI_BASE_URL=server.url,
            OPENAI_API_KEY=KEY,
            NO_PROXY="127.0.0.1",
        )
    assert bool(server.log) == (name == "openai_wrapper")
    assert not list(home.iterdir())
    assert not list(scratch.iterdir())
    if CAN_TELL:
        assert processes_with(mark) == []
    if name == "gymnasium_wrappers":
        videos = sorted((tmp_path / "videos").rglob("*.*"))
        assert [path.parent.name for path in videos] == ["single", "vector"]
        assert all(path.read_bytes()[4:8] == b"ftyp" for path in videos)  # MP4
