"""The base URL of an OpenAI-compatible server, with optional settings in its query."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, urlsplit

# Paths that the client appends itself.
_PATHS = ("/chat/completions", "/completions", "/responses", "/embeddings")
_BOOLEANS = {"true": True, "false": False}


@dataclass(frozen=True, slots=True)
class BaseURL:
    """A parsed base URL."""

    url: str  # the whole URL, without a trailing slash in the path
    endpoint: str  # the part before the query
    query: dict[str, str]  # parameters of every request
    extra_body: dict[str, Any]  # fields of every request


def parse_base_url(url: str | None) -> BaseURL:
    """Validate and parse a base URL, by default the one in OPENAI_BASE_URL.

    Its query may contain `api-version=VERSION`, which is sent unchanged (Azure requires it), and
    `enable_thinking=false` (or `true`), which becomes a request field.

    Raises:
        ValueError: If no server is given, or the URL is not a valid base URL.

    Example:
        >>> parse_base_url("https://example.com/v1/?api-version=2024-10-21").query
        {'api-version': '2024-10-21'}
        >>> parse_base_url("http://localhost:8000/v1?enable_thinking=false").extra_body
        {'chat_template_kwargs': {'enable_thinking': False}}
        >>> parse_base_url("localhost:8000")
        Traceback (most recent call last):
        ValueError: expected a base URL such as 'http://localhost:8000/v1', got 'localhost:8000'
    """
    if url is None:
        url = os.environ.get("OPENAI_BASE_URL")
        if not url:
            raise ValueError(
                "expected a base URL, because there is no default server: pass one, such as "
                "'http://localhost:8000/v1' or, for OpenAI itself, 'https://api.openai.com/v1', or "
                "set OPENAI_BASE_URL"
            )
    try:
        parts = urlsplit(url)
        valid = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port that is not a number, or unclosed brackets
        valid = False
    if not valid:
        raise ValueError(f"expected a base URL such as 'http://localhost:8000/v1', got {url!r}")
    if parts.username is not None or parts.password is not None or parts.fragment:
        # These must not appear in tables and errors, so the URL is not shown here either.
        raise ValueError(
            "expected a base URL without user, password, or fragment: set the key in the "
            "environment"
        )
    query = dict(parse_qsl(parts.query, keep_blank_values=True))
    thinking = query.pop("enable_thinking", None)
    if not all(query.values()) or query.keys() - {"api-version"}:
        # Not shown either, because some servers take keys there.
        raise ValueError(
            "expected the query of a base URL to contain only 'api-version=VERSION' and "
            "'enable_thinking=false': set keys in the environment, and other fields of the request "
            "in extra_body"
        )
    if thinking is not None and thinking.lower() not in _BOOLEANS:
        raise ValueError(f"expected enable_thinking to be 'true' or 'false', got {thinking!r}")
    endpoint = url.partition("?")[0].rstrip("/")
    for path in _PATHS:
        if endpoint.lower().endswith(path):
            base = endpoint[: -len(path)]
            raise ValueError(
                f"expected a base URL without {path!r}, which is appended automatically: use "
                f"{url.replace(url.partition('?')[0], base, 1)!r}"
                + (" and api='completions'" if path == "/completions" else "")
            )
    extra: dict[str, Any] = {}
    if thinking is not None:
        extra = {"chat_template_kwargs": {"enable_thinking": _BOOLEANS[thinking.lower()]}}
    whole = f"{endpoint}?{parts.query}" if parts.query else endpoint
    return BaseURL(whole, endpoint, query, extra)
