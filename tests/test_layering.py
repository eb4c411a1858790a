from __future__ import annotations

import subprocess
import sys

import pytest

from imports import ROOT, imported


@pytest.mark.parametrize(
    ("package", "above"),
    [("pcrl_gym", {"agents", "benchmarks"}), ("agents", {"benchmarks"})],
)
def test_imports_go_one_way(package: str, above: set[str]):
    assert not imported(package) & above


def test_importing_pcrl_gym_stays_light():
    """In a fresh interpreter: here, other tests have loaded everything."""
    script = "import sys, pcrl_gym; print({'torch', 'transformers', 'datasets'} & set(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "set()"
