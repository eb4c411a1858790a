"""Names with settings, such as "threshold:threshold=0.8,penalty=0"."""

from __future__ import annotations

import json
import re
from typing import Any

_SETTING = re.compile(r'\s*([A-Za-z_]\w*)\s*=\s*("(?:[^"\\]|\\.)*"|[^,"]*)\s*(?:,|$)')


def parse_spec(spec: str) -> tuple[str, dict[str, Any]]:
    """Split a name from its settings.

    Args:
        spec: `NAME` or `NAME:KEY=VALUE,KEY=VALUE`. A value is a JSON number, boolean, `null` or
            quoted string; anything else is a string as it stands, without commas and quotes.

    Returns:
        The name, and the settings by key.

    Raises:
        ValueError: If the settings do not have that form, or a key is given twice.

    Example:
        >>> parse_spec("threshold:threshold=0.8,measure=rouge_l")
        ('threshold', {'threshold': 0.8, 'measure': 'rouge_l'})
        >>> parse_spec('chat:system="Be brief, please.",enable_thinking=false')
        ('chat', {'system': 'Be brief, please.', 'enable_thinking': False})
    """
    name, colon, text = spec.partition(":")
    settings: dict[str, Any] = {}
    end = 0
    while end < len(text) or (colon and not settings):
        found = _SETTING.match(text, end)
        if found is None or found[1] in settings:
            raise ValueError(
                f"expected {name}:KEY=VALUE,KEY=VALUE with each key once, got {spec!r}: put values "
                "with commas in double quotes"
            )
        settings[found[1]] = _value(found[2].strip())
        end = found.end()
    return name, settings


def _value(text: str) -> Any:
    try:
        value = json.loads(text)
    except ValueError:
        return text
    return text if isinstance(value, (list, dict)) else value
