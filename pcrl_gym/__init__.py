"""Prompt compression as a Gymnasium environment.

Importing the package registers `PromptCompression-v0` and loads neither torch nor transformers;
the names in `__init__.pyi` are imported from their modules when they are first used.
"""

from __future__ import annotations

import ast
from importlib import import_module
from pkgutil import get_data
from typing import Any

from gymnasium.envs.registration import register

from pcrl_gym import process_state as process_state  # registers what torch needs after a fork
from pcrl_gym.envs.shared_kwargs import SharedKwargs

__version__ = "0.1.0"

_STUB = ast.parse(get_data(__name__, "__init__.pyi") or b"")
_MODULE_OF = {
    alias.name: str(node.module)
    for node in _STUB.body
    if isinstance(node, ast.ImportFrom)
    for alias in node.names
}

__all__ = ["__version__", *sorted(_MODULE_OF)]


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_MODULE_OF[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


register(
    id="PromptCompression-v0",
    entry_point="pcrl_gym.envs.env:PromptCompressionEnv",
    vector_entry_point="pcrl_gym.envs.vector_env:PromptCompressionVectorEnv",
    kwargs=SharedKwargs(),
    reward_threshold=0.65,  # what learners reach on micro in minutes, see docs/environment.md
)
