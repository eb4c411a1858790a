from __future__ import annotations

import ast
from pathlib import Path

import gymnasium as gym
import pytest

import pcrl_gym

PACKAGE = Path(pcrl_gym.__file__).parent


def test_id_is_registered_with_both_entry_points():
    spec = gym.spec("PromptCompression-v0")
    assert spec.entry_point == "pcrl_gym.envs.env:PromptCompressionEnv"
    assert spec.vector_entry_point == "pcrl_gym.envs.vector_env:PromptCompressionVectorEnv"


@pytest.mark.parametrize("name", pcrl_gym.__all__)
def test_every_public_name_is_there(name: str):
    assert getattr(pcrl_gym, name) is not None
    assert name in dir(pcrl_gym)


def test_names_for_type_checkers_are_those_at_run_time():
    """In a stub, only `from module import name as name` makes a name public."""
    tree = ast.parse((PACKAGE / "__init__.pyi").read_text(encoding="utf-8"))
    typed = {
        alias.asname
        for node in tree.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert typed == set(pcrl_gym.__all__) - {"__version__"}


def test_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'Promt'"):
        _ = pcrl_gym.Promt
