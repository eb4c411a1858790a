from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from the source archive, so that it shows what both leave out."""
    out = tmp_path_factory.mktemp("dist")
    build = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(out), str(ROOT)]
    done = subprocess.run(build, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (path,) = out.glob("*.whl")
    return path


def test_wheel_installs_pcrl_gym_alone(wheel: Path):
    tops = {name.split("/")[0] for name in zipfile.ZipFile(wheel).namelist()}
    assert "pcrl_gym" in tops
    assert all(top.endswith(".dist-info") for top in tops - {"pcrl_gym"}), tops


def test_wheel_holds_every_file_of_the_package(wheel: Path):
    """Code, py.typed, and the data and weights of micro."""
    files = (path for path in (ROOT / "pcrl_gym").rglob("*") if path.is_file())
    expected = {path.relative_to(ROOT).as_posix() for path in files if path.suffix != ".pyc"}
    assert "pcrl_gym/py.typed" in expected
    names = zipfile.ZipFile(wheel).namelist()
    assert {name for name in names if name.startswith("pcrl_gym/")} == expected


def test_wheel_carries_the_licence(wheel: Path):
    archive = zipfile.ZipFile(wheel)
    (name,) = (name for name in archive.namelist() if name.endswith("/licenses/LICENSE"))
    assert archive.read(name) == (ROOT / "LICENSE").read_bytes()


def test_installed_files_make_the_default_environment(wheel: Path, tmp_path: Path):
    """Away from the clone, so that a file missing from the wheel is missed."""
    zipfile.ZipFile(wheel).extractall(tmp_path)
    script = (
        "import gymnasium, pcrl_gym\n"
        "env = gymnasium.make('pcrl_gym:PromptCompression-v0')\n"
        "env.reset(seed=0)\n"
        "print(pcrl_gym.__file__)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert Path(done.stdout.strip()).is_relative_to(tmp_path)
