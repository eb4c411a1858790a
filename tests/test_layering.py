"""Imports go one way: between packages, between the folders of the core, and between modules."""

from __future__ import annotations

import subprocess
import sys
from graphlib import TopologicalSorter

import pytest

from imports import ROOT, imported, module_graph

# Each folder or module of `pcrl_gym` may import those before it.
LAYERS = [
    "errors", "spec_strings", "progress", "process_state", "cli_tools", "storage", "prompts",
    "micro", "instruct", "named_datasets", "episodes", "generators", "rendering", "scoring",
    "compressor", "sb3", "audit", "envs", "demo", "cli", "__init__",
]  # fmt: skip


@pytest.mark.parametrize(
    ("package", "above"),
    [("pcrl_gym", {"agents", "benchmarks"}), ("agents", {"benchmarks"})],
)
def test_imports_go_one_way(package: str, above: set[str]):
    assert not imported(package) & above


def test_folders_of_the_core_import_only_what_stands_below_them():
    upward = []
    for module, targets in module_graph("pcrl_gym", type_checking=True).items():
        layer = layer_of(module)
        upward += [
            f"{module} -> {target}"
            for target in targets
            if LAYERS.index(layer_of(target)) > LAYERS.index(layer) and target != "pcrl_gym"
        ]
    assert not upward


@pytest.mark.parametrize("package", ["pcrl_gym", "agents", "benchmarks"])
def test_no_module_is_in_a_circle_of_imports(package: str):
    """Imports inside functions and for type checkers count."""
    graph = module_graph(package, type_checking=True)
    graph.pop("pcrl_gym", None)  # it names what it loads when asked, and its version
    TopologicalSorter(graph).prepare()  # CycleError names the circle


def layer_of(module: str) -> str:
    """The folder or module directly below the package, `__init__` for the package itself."""
    return [*module.split("."), "__init__"][1]


def test_importing_pcrl_gym_stays_light():
    """In a fresh interpreter: here, other tests have loaded everything."""
    script = "import sys, pcrl_gym; print({'torch', 'transformers', 'datasets'} & set(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "set()"
