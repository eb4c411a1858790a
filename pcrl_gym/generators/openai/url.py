"""The base URL of an OpenAI-compatible server, with the settings that its query may hold."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, urlsplit

# What the client appends by itself.
_PATHS = ("/chat/completions", "/completions", "/responses", "/embeddings")
_BOOLEANS = {"true": True, "false": False}


@dataclass(frozen=True, slots=True)
class BaseURL:
    """A base URL, taken apart."""

    url: str  # the whole of it, without a slash at the end of the path
    endpoint: str  # the part before the query
    query: dict[str, str]  # parameters of every request
    extra_body: dict[str, Any]  # fields of every request


def parse_base_url(url: str | None) -> BaseURL:
    """Check a base URL, by default that in OPENAI_BASE_URL, and take it apart.

    Its query may hold `api-version=VERSION`, which is sent as it is (Azure wants it), and
    `enable_thinking=false` (or `true`), which becomes a field of requests.

    Raises:
        ValueError: If no server is named, or the URL cannot be the base URL of one.

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
                "expected a base URL, as there is no default server: give one, such as "
                "'http://localhost:8000/v1' or, for OpenAI itself, 'https://api.openai.com/v1', or "
                "set OPENAI_BASE_URL"
            )
    try:
        parts = urlsplit(url)
        valid = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port that is no number, brackets that do not close
        valid = False
    if not valid:
        raise ValueError(f"expected a base URL such as 'http://localhost:8000/v1', got {url!r}")
    if parts.username is not None or parts.password is not None or parts.fragment:
        # It would be shown in tables and errors, so it is not shown here either.
        raise ValueError(
            "expected a base URL without user, password and fragment: put the key into the "
            "environment"
        )
    query = dict(parse_qsl(parts.query, keep_blank_values=True))
    thinking = query.pop("enable_thinking", None)
    if not all(query.values()) or query.keys() - {"api-version"}:
        # Not shown either, as some servers take keys there.
        raise ValueError(
            "expected the query of a base URL to hold nothing but 'api-version=VERSION' and "
            "'enable_thinking=false': put a key into the environment, and other fields of the "
            "request into extra_body"
        )
    if thinking is not None and thinking.lower() not in _BOOLEANS:
        raise ValueError(f"expected enable_thinking to be 'true' or 'false', got {thinking!r}")
    endpoint = url.partition("?")[0].rstrip("/")
    for path in _PATHS:
        if endpoint.lower().endswith(path):
            base = endpoint[: -len(path)]
            raise ValueError(
                f"expected a base URL without {path!r}, which is appended to it: give "
                f"{url.replace(url.partition('?')[0], base, 1)!r}"
                + (" and api='completions'" if path == "/completions" else "")
            )
    extra: dict[str, Any] = {}
    if thinking is not None:
        extra = {"chat_template_kwargs": {"enable_thinking": _BOOLEANS[thinking.lower()]}}
    whole = f"{endpoint}?{parts.query}" if parts.query else endpoint
    return BaseURL(whole, endpoint, query, extra)
