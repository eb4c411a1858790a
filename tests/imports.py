"""What the modules of a package import, read from their source without running it."""

from __future__ import annotations

import sys

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]


# What is imported here is installed in environments of its own, see `benchmarks.arena`.
ARENA = ROOT / "benchmarks" / "arena" / "adapters.py"


def imported(package: str) -> set[str]:
    """Top-level names of absolute imports, inside functions too, those for type checkers not."""
    found = set()
    for path in {*(ROOT / package).rglob("*.py")} - {ARENA}:
        for node in _run_time_nodes(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                found |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
                found.add(node.module.split(".")[0])
    assert found, f"no module of {package} was read"
    return found


def module_graph(package: str, *, type_checking: bool = False) -> dict[str, set[str]]:
    """Which modules of the package each of its modules imports, inside functions too."""
    paths = {_module_name(path): path for path in (ROOT / package).rglob("*.py")}
    graph = {}
    for module, path in paths.items():
        tree = ast.parse(path.read_text(encoding="utf-8"))
        found: set[str] = set()
        for node in ast.walk(tree) if type_checking else _run_time_nodes(tree):
            if isinstance(node, ast.Import):
                found |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                names = {f"{node.module}.{alias.name}" for alias in node.names}
                found |= {name for name in names if name in paths} or {node.module}
        graph[module] = (found & paths.keys()) - {module}
    return graph


def _module_name(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def _run_time_nodes(tree: ast.AST) -> Iterator[ast.AST]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            continue
        yield node
        yield from _run_time_nodes(node)


PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


EXTRAS = PROJECT["optional-dependencies"]
