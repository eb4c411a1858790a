"""The Python in the README runs as it stands there."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)


def test_the_example_of_the_environment_runs(capsys):
    names: dict = {}
    exec(BLOCKS[0], names)
    assert names["terminated"]
    assert names["info"]["compressed_prompt"] in capsys.readouterr().out


def test_the_example_of_an_agent_is_one():
    names: dict = {}
    exec(BLOCKS[1], names)
    mask = np.array([[1, 1, 0]])
    assert (names["DropNothing"]().act({"attention_mask": mask}, [{}]) == mask).all()
