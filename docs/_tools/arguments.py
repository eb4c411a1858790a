"""Prints the table of the environment's arguments: `python docs/_tools/arguments.py`.

It stands in `docs/environment.md`, and a test compares the two.
"""

from __future__ import annotations

import dataclasses
import inspect
import re

from pcrl_gym.envs.options import TaskOptions


def table() -> str:
    """Return the table in Markdown, from the fields of `TaskOptions` and its docstring."""
    section = inspect.cleandoc(TaskOptions.__doc__ or "").partition("Attributes:\n")[2]
    entries = re.findall(r"^    (\w+): (.+?)(?=\n    \w|\n\n)", section, re.MULTILINE | re.DOTALL)
    meanings = {name: " ".join(text.split()) for name, text in entries}
    lines = ["| Argument | Default | Meaning |", "|---|---|---|"]
    for field in dataclasses.fields(TaskOptions):
        default = repr(field.default).replace("'", '"')
        lines.append(f"| `{field.name}` | `{default}` | {meanings[field.name]} |")
    lines.append('| `render_mode` | `None` | `"ansi"`, `"human"` or `"rgb_array"` |')
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    print(table(), end="")
