"""The examples with other libraries; `make test-clients` runs them all."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from imports import ROOT
from processes import PROC, processes_with

CLIENTS = ROOT / "examples" / "clients"
# What an example imports, or makes others import, besides what the tests need anyhow.
NEEDS = {
    "cleanrl_ppo": (),
    "gymnasium_wrappers": ("moviepy",),
    "rllib_ppo": ("ray", "tree", "lz4"),
    "torchrl_ppo": ("torchrl",),
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
    """As a user would run it, with a home and a temporary folder that show what it has left."""
    for module in NEEDS[name]:
        if find_spec(module) is None:
            pytest.skip(f"needs {module}: make test-clients")
    home = tmp_path / "home"
    home.mkdir()
    mark = f"PCRL_TEST={uuid.uuid4()}"
    search_path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    done = subprocess.run(
        [sys.executable, str(CLIENTS / f"{name}.py")],
        cwd=tmp_path,
        env=os.environ
        | {"PYTHONPATH": search_path, "HOME": str(home), "TMPDIR": str(scratch)}
        | dict([mark.split("=")]),
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()
    assert not list(home.iterdir())
    assert not list(scratch.iterdir())
    if PROC.exists():
        assert processes_with(mark) == []
    if name == "gymnasium_wrappers":
        videos = sorted((tmp_path / "videos").iterdir())
        assert [path.name for path in videos] == ["single-episode-0.mp4", "vector-episode-0.mp4"]
        assert all(path.read_bytes()[4:8] == b"ftyp" for path in videos)
