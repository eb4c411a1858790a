"""A hook of MkDocs: formulas become MathML, which browsers show without a script.

`pymdownx.arithmatex` finds the formulas in pages and docstrings and leaves them as LaTeX.
"""

from __future__ import annotations

import html
import re
from typing import Any

from latex2mathml.converter import convert

_FORMULA = re.compile(
    r'(?P<tag><(?:span|div) class="arithmatex">)(?:\\\((?P<inline>.*?)\\\)|\\\[(?P<block>.*?)\\\])',
    re.DOTALL,
)


def on_page_content(content: str, **_: Any) -> str:
    """Return the page with every formula converted; MkDocs calls this for each page."""
    return _FORMULA.sub(_mathml, content)


def _mathml(match: re.Match[str]) -> str:
    block = match["block"] is not None
    latex = html.unescape(match["block"] if block else match["inline"])
    # Names in \text{...}: the converter would show the backslash.
    latex = latex.strip().replace(r"\_", "_")
    return match["tag"] + convert(latex, display="block" if block else "inline")
