"""Words that express constraints, such as "not", "at most", and "JSON"; see `constraints.txt`."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

_FILE = Path(__file__).with_name("constraints.txt")
_CLASS = re.compile(r"\[(.+)\]")


def read_constraints() -> dict[str, tuple[str, ...]]:
    r"""Return the regular expressions of each class of constraints, by class name.

    Example:
        >>> read_constraints()["case"][0][:40]
        '\\b(?:upper|lower|title|camel|snake)[- ]?'
    """
    classes: dict[str, tuple[str, ...]] = {}
    name = ""
    for line in _FILE.read_text(encoding="utf-8").splitlines():
        if head := _CLASS.fullmatch(line):
            name = head[1]
        elif line and not line.startswith("#"):
            classes[name] = (*classes.get(name, ()), line)
    return classes


@cache
def constraint_patterns() -> tuple[re.Pattern[str], ...]:
    """Return all expressions as compiled, case-insensitive patterns; what they find may overlap.

    Example:
        >>> text = "Use at most three sentences, no JSON."
        >>> found = {hit[0] for one in constraint_patterns() for hit in one.finditer(text)}
        >>> sorted(found)
        ['JSON', 'at most', 'most', 'no', 'three', 'three sentences']
    """
    lines = [line for own in read_constraints().values() for line in own]
    return tuple(re.compile(line, re.IGNORECASE) for line in lines)
