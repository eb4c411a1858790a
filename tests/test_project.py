from __future__ import annotations

import re
import sys

import pytest
from packaging.requirements import Requirement

from imports import EXTRAS, PROJECT, ROOT, imported

# Where the name that is imported is not the name that is installed.
DISTRIBUTIONS = {"PIL": "pillow", "yaml": "pyyaml"}


def names(requirements: list[str]) -> set[str]:
    return {Requirement(line).name for line in requirements} - {PROJECT["name"]}


def test_every_direct_dependency_is_pinned():
    direct = names(PROJECT["dependencies"]).union(*map(names, EXTRAS.values()))
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = [Requirement(line) for line in lines if not line.startswith("#")]
    assert all(re.fullmatch(r"==[\d.]+", str(pin.specifier)) for pin in pins)
    assert {pin.name for pin in pins} == direct


@pytest.mark.parametrize(
    ("package", "extras"),
    [
        ("pcrl_gym", ["demo", "onnx", "openai", "ray", "render", "sb3", "tiktoken"]),
        ("agents", ["agents", "nltk", "sb3"]),
        ("benchmarks", ["agents", "finetune", "ifeval", "ray"]),
    ],
)
def test_what_a_package_imports_is_declared(package: str, extras: list[str]):
    declared = names(PROJECT["dependencies"]).union(*(names(EXTRAS[extra]) for extra in extras))
    ours = {"pcrl_gym", "agents", "benchmarks"}
    foreign = imported(package) - ours - set(sys.stdlib_module_names)
    assert {DISTRIBUTIONS.get(name, name.replace("_", "-")) for name in foreign} <= declared


def test_all_holds_every_extra_that_fits_beside_the_others():
    """Those of the examples go into the two environments of `make test-clients`."""
    [everything] = map(Requirement, EXTRAS["all"])
    assert everything.name == PROJECT["name"]
    lines = re.findall(r": EXTRAS := (\S+)", (ROOT / "Makefile").read_text(encoding="utf-8"))
    for_clients = {name for line in lines for name in line.split(",")}
    assert everything.extras | for_clients == set(EXTRAS) - {"all"}
    assert not everything.extras & {"dev", "rllib", "video", "verifiers"}
