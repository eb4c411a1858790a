"""A hook of MkDocs: dotted names in headings of the reference wrap after a dot."""

from __future__ import annotations

import re
from typing import Any

_NAME = re.compile(r'(<span class="doc doc-object-name[^"]*">)([\w.]+)(</span>)')


def on_page_content(content: str, **_: Any) -> str:
    """Return the page with an optional line break after each dot; MkDocs calls this per page."""
    return _NAME.sub(lambda found: found[1] + found[2].replace(".", ".<wbr>") + found[3], content)
