"""Rules of style that ruff cannot check, read from the syntax trees of the sources."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("pcrl_gym", "agents", "benchmarks")
RIDDLES = {"everything", "alike", "go_on", "tell", "told"}


def nodes(package: str) -> Iterator[tuple[str, ast.AST]]:
    """Every node of a package's modules, with the file that it stands in."""
    for path in sorted((ROOT / package).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            yield str(path.relative_to(ROOT)), node


def endings(node: ast.expr) -> Iterator[str]:
    """The literal texts that an expression of a string may end with."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    elif isinstance(node, ast.JoinedStr) and node.values:
        yield from endings(node.values[-1])
    elif isinstance(node, ast.FormattedValue):
        yield from endings(node.value)
    elif isinstance(node, ast.BinOp):
        yield from endings(node.right)
    elif isinstance(node, ast.IfExp):
        yield from endings(node.body)
        yield from endings(node.orelse)


def raises_entries(docstring: str) -> Iterator[str]:
    """The entries of a `Raises:` section, `ValueError: If ...`, without their further lines."""
    _, _, section = docstring.partition("\nRaises:\n")
    for line in section.splitlines():
        if line and not line.startswith(" "):
            return
        if re.match(r" {4}\S", line):
            yield line.strip()


def names(node: ast.AST) -> Iterator[str]:
    """What a node gives a name to."""
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        yield node.name
    elif isinstance(node, ast.arg):
        yield node.arg
    elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
        yield node.id
    elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
        yield node.attr


def words(name: str) -> str:
    """A name in snake case between underscores: `_every_word_`."""
    return f"_{re.sub(r'(?<=[a-z0-9])(?=[A-Z])', '_', name).lower()}_"


@pytest.mark.parametrize("package", PACKAGES)
def test_no_message_of_an_exception_ends_with_a_full_stop(package: str):
    found = [
        f"{file}:{node.lineno}: {text[-40:]}"
        for file, node in nodes(package)
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call)
        for argument in node.exc.args[:1]
        for text in endings(argument)
        if text.endswith(".") and not text.endswith("...")
    ]
    assert not found, "\n".join(found)


@pytest.mark.parametrize("package", PACKAGES)
def test_what_is_raised_begins_with_if(package: str):
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    found = [
        f"{file}: {entry}"
        for file, node in nodes(package)
        if isinstance(node, documented)
        for entry in raises_entries(ast.get_docstring(node) or "")
        if not re.match(r"[\w., ]+: If\b", entry)
    ]
    assert not found, "\n".join(found)


@pytest.mark.parametrize("package", PACKAGES)
def test_no_name_is_a_riddle(package: str):
    found = {
        f"{file}: {name}"
        for file, node in nodes(package)
        for name in names(node)
        if any(f"_{riddle}_" in words(name) for riddle in RIDDLES)
    }
    assert not found, "\n".join(sorted(found))


def test_the_rules_find_what_they_are_for():
    """The helpers above, on one example each."""
    raised = ast.parse("raise ValueError(f'{a}: b' + ('c.' if d else f'{e}.'))").body[0]
    assert isinstance(raised, ast.Raise)
    assert isinstance(raised.exc, ast.Call)
    assert list(endings(raised.exc.args[0])) == ["c.", "."]
    docstring = "Do.\n\nRaises:\n    A: If b\n        c.\n    D: E.\n\nExample:\n    F: G.\n"
    assert list(raises_entries(docstring)) == ["A: If b", "D: E."]
    assert (words("_ToldAll"), words("MAX_TOLD"), words("intelligent")) == (
        "__told_all_", "_max_told_", "_intelligent_",
    )  # fmt: skip
