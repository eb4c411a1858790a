from __future__ import annotations

import ast
from pathlib import Path

import pytest

from example_runner import run_example
from imports import ROOT

EXAMPLES = sorted((ROOT / "examples").glob("*.py"))


def test_the_documented_examples_are_there():
    names = {path.stem for path in EXAMPLES}
    assert names >= {"quickstart", "custom_agent", "custom_generator", "train_ppo_sb3"}


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_example_says_what_it_shows(path: Path):
    assert ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))


@pytest.mark.parametrize(
    "path",
    [
        pytest.param(path, marks=[pytest.mark.slow] * (path.stem == "train_ppo_sb3"))
        for path in EXAMPLES
    ],
    ids=lambda path: path.stem,
)
def test_example_runs_as_a_user_would_run_it(path: Path, tmp_path: Path):
    run_example(path, tmp_path)
