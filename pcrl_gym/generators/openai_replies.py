"""What an OpenAI-compatible server said: a reply, or a failure and whether to ask again."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from openai import OpenAIError

# What a server may answer otherwise when asked again.
_TEMPORARY = (408, 409, 425, 429)


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer as the server gave it.

    Attributes:
        text: Without white space around it.
        prompt_tokens: None if the server did not say.
        completion_tokens: None if the server did not say.
    """

    text: str
    prompt_tokens: int | None
    completion_tokens: int | None


@dataclass(frozen=True, slots=True)
class Failure:
    """One request without an answer.

    Attributes:
        cause: What happened, for people; ends with what the server said, which may be long and
            may repeat the key.
        temporary: Whether the same request may succeed later.
        retry_after: Seconds that the server wants to be left alone.
    """

    cause: str
    temporary: bool
    retry_after: float = 0.0


def read_reply(content: bytes, needs_text: bool = True) -> Reply | Failure:
    """Reads the body of a response of either API.

    Args:
        content: The body.
        needs_text: Whether a reply without text is a failure.

    Returns:
        The reply; a temporary failure if the body is not what the API promises; a lasting one if
        a content filter wrote or cut the text.

    Example:
        >>> read_reply(b'{"choices": [{"text": " yes"}], "usage": {"prompt_tokens": 3}}')
        Reply(text='yes', prompt_tokens=3, completion_tokens=None)
    """
    try:
        body = json.loads(content)
        choice = body["choices"][0]
        text = choice["message"].get("content") if "message" in choice else choice["text"]
        usage = body.get("usage") or {}
        counts = [usage.get(f"{part}_tokens") for part in ("prompt", "completion")]
    # What json.loads raises is a ValueError; the others say that a part has another type.
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        said = content.decode("utf-8", "replace")
        return Failure(f"unreadable reply ({type(error).__name__}): {said}", temporary=True)
    reason = choice.get("finish_reason")
    if needs_text and reason == "content_filter":
        return Failure("a content filter of the server withheld the answer", temporary=False)
    if needs_text and not isinstance(text, str):
        return Failure(f"reply without text (finish_reason {reason!r})", temporary=True)
    whole = [n if type(n) is int and n >= 0 else None for n in counts]
    return Reply(text.strip() if isinstance(text, str) else "", whole[0], whole[1])


def read_failure(error: OpenAIError | UnicodeError, key_name: str) -> Failure:
    """Tells what the client's exception means.

    Args:
        error: What the client raised, its own retries being off.
        key_name: The environment variable of the key, to name it to the user.
    """
    from openai import APIConnectionError, APIStatusError, APITimeoutError

    if isinstance(error, APITimeoutError):
        return Failure("no reply within the timeout", temporary=True)
    if isinstance(error, APIConnectionError):
        cause = error.__cause__ or error
        return Failure(f"no connection ({type(cause).__name__}: {cause})", temporary=True)
    if not isinstance(error, APIStatusError):
        return Failure(f"{type(error).__name__}: {error}", temporary=False)
    status, said = error.status_code, str(error)
    if status in (401, 403):
        advice = f"set {key_name} to a key that may use the model"
    elif status == 404:
        advice = "check the model and the base URL, which often ends in /v1"
    elif error.code == "insufficient_quota":  # a 429 that waiting does not help
        advice = f"top up the account of the key in {key_name}"
    elif status in _TEMPORARY or status >= 500:
        return Failure(said, temporary=True, retry_after=retry_after(error.response.headers))
    else:
        advice = "the prompt may be too long, or a field of the request unknown to the server"
    return Failure(f"{advice}. {said}", temporary=False)


def retry_after(headers: Mapping[str, str]) -> float:
    """Seconds that a Retry-After header asks to wait, 0.0 if it does not.

    Example:
        >>> retry_after({"retry-after": "1.5"})
        1.5
        >>> retry_after({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"})  # long over
        0.0
    """
    value = headers.get("retry-after", "")
    try:
        seconds = float(value)
    except ValueError:
        try:
            seconds = parsedate_to_datetime(value).timestamp() - time.time()
        except (ValueError, TypeError, OverflowError):
            return 0.0
    return max(0.0, seconds)  # in this order, which turns NaN into 0.0


def check_base_url(url: str) -> None:
    """Raises a ValueError if `url` cannot be the base URL of a server.

    Example:
        >>> check_base_url("localhost:8000")
        Traceback (most recent call last):
        ValueError: expected a base URL such as 'http://localhost:8000/v1', got 'localhost:8000'
    """
    try:
        parts = urlsplit(url)
        valid = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port that is no number, brackets that do not close
        valid = False
    if not valid:
        raise ValueError(f"expected a base URL such as 'http://localhost:8000/v1', got {url!r}")
    if parts.username is not None or parts.password is not None or parts.query or parts.fragment:
        # It would be shown in tables and errors, so it is not shown here either.
        raise ValueError(
            "expected a base URL without user, password, query and fragment: put the key into the "
            "environment"
        )
