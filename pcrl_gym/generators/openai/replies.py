"""Parsing of responses of OpenAI-compatible servers into replies and failures."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from openai import APIStatusError, OpenAIError

# Statuses after which the same request may succeed later.
_TEMPORARY = (408, 409, 425, 429)
# Error codes in lower case, regardless of the status.
_UNPAID = {
    "insufficient_quota", "insufficient_balance", "billing_not_active",
    "billing_hard_limit_reached",
}  # fmt: skip
_FILTERED = {"content_filter", "content_policy_violation", "responsibleaipolicyviolation"}

# Values of finish_reason used by various servers, in lower case.
_ENDED = ("stop", "eos", "eos_token", "stop_sequence", "end_turn")  # by the model itself
_CUT = ("length", "max_tokens", "model_length")  # at the token or context limit
_WITHHELD = ("content_filter", "safety", "sensitive")  # withheld or cut by a filter
_BROKEN_OFF = ("error", "abort", "insufficient_system_resource")  # by the server

# Start and end markers of thinking that a server may leave before the answer.
_THOUGHTS = {
    "<think>": "</think>",
    "<thinking>": "</thinking>",
    "<thought>": "</thought>",
    "<reasoning>": "</reasoning>",
    "<|START_THINKING|>": "<|END_THINKING|>",
    "<|channel>": "<channel|>",
    "<seed:think>": "</seed:think>",
    "[THINK]": "[/THINK]",
    "◁think▷": "◁/think▷",
}


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer from the server; token counts are None if it did not report them."""

    text: str  # without thinking and surrounding whitespace
    prompt_tokens: int | None
    completion_tokens: int | None


@dataclass(frozen=True, slots=True)
class Failure:
    """One request without an answer, with the token counts that the server still reported."""

    cause: str  # human-readable; may be long and contain the key
    temporary: bool  # whether the same request may succeed later
    retry_after: float = 0.0  # seconds that the server asks to wait
    prompt_tokens: int | None = None
    completion_tokens: int | None = None


def read_reply(
    content: bytes, needs_text: bool = True, limit_name: str = "max_new_tokens"
) -> Reply | Failure:
    """Parse the body of a response of either API.

    An answer is a text without thinking; it may be empty if the model stopped by itself. Error
    messages call the answer limit `limit_name`.

    Returns:
        The reply; a temporary failure if the body does not follow the API or the server broke off;
        or a permanent failure if there is no answer or a content filter withheld or cut it.

    Example:
        >>> read_reply(b'{"choices": [{"text": " yes"}], "usage": {"prompt_tokens": 3}}')
        Reply(text='yes', prompt_tokens=3, completion_tokens=None)
    """
    body = _json(content)
    text, cause, temporary = "", None, True
    try:
        choice = body["choices"][0]
        message = choice["message"] if "message" in choice else {"content": choice["text"]}
        if needs_text:
            stated, reason = _stated(message.get("content")), choice.get("finish_reason")
            cause = _why_no_answer(message, stated, reason, limit_name)
            text, temporary = stated or "", _lower(reason) in _BROKEN_OFF
    except (LookupError, TypeError, AttributeError):  # a part is missing or has the wrong type
        cause = f"unreadable reply: {content.decode('utf-8', 'replace')}"
    counts = _counts(body)
    return Reply(text, *counts) if cause is None else Failure(cause, temporary, 0.0, *counts)


def _stated(content: object) -> str | None:
    """Return the text of a message's content, or None (not the empty text) if there is none."""
    if isinstance(content, list):
        parts = [{"text": part} if isinstance(part, str) else part for part in content]
        texts = [p["text"] for p in parts if p.get("type", "text") in ("text", "output_text")]
        content = "".join(texts) if texts else None
    if content is None:
        return None
    if not isinstance(content, str):
        raise TypeError(f"expected content to be a string, got {type(content).__name__}")
    text = content.strip()
    for begin, end in _THOUGHTS.items():
        # If the start marker is missing, the chat template opened the block.
        while text.startswith(begin) or (end in text and begin not in text):
            _, closed, text = text.partition(end)
            if not closed:  # only thinking
                return None
            text = text.strip()
    return text


def _why_no_answer(
    message: Mapping[str, Any], text: str | None, reason: object, limit_name: str
) -> str | None:
    """Return why a reply contains no answer and what to do, or None if it contains one."""
    ended = _lower(reason)
    if ended in _WITHHELD:
        return "the server's content filter withheld or cut off the answer: leave the prompt out"
    if ended in _BROKEN_OFF:
        return f"the server aborted the reply (finish_reason {reason!r})"
    if refusal := _refusal(message):
        return f"the model refused to answer: leave the prompt out. It said {refusal!r}"
    if text:
        return None
    if message.get("tool_calls") or message.get("function_call"):
        return "the model called a tool instead of answering: disable tools on the server"
    if text is not None and ended in _ENDED:
        return None
    what = (
        "the answer was cut off before it began"
        if ended in _CUT
        else "the reply contains no answer"
    )
    return (
        f"{what} (finish_reason {reason!r}): raise {limit_name}, or turn off the model's thinking "
        "with ?enable_thinking=false at the end of the base URL or the server's own option in "
        "extra_body"
    )


def _refusal(message: Mapping[str, Any]) -> str:
    content = message.get("content")
    parts = content if isinstance(content, list) else []
    holders = [message, *(part for part in parts if isinstance(part, dict))]
    return " ".join(str(holder["refusal"]) for holder in holders if holder.get("refusal"))


def _counts(body: object) -> tuple[int | None, int | None]:
    """Return the reported token counts of prompt and answer, None where missing or invalid."""
    usage = body.get("usage") if isinstance(body, dict) else None
    counts = usage if isinstance(usage, dict) else {}
    prompt, completion = (
        n if type(n := counts.get(f"{part}_tokens")) is int and n >= 0 else None
        for part in ("prompt", "completion")
    )
    return prompt, completion


def _lower(name: object) -> str:
    return str(name).lower()


def read_failure(error: OpenAIError | UnicodeError, key_name: str) -> Failure:
    """Convert a client exception to a `Failure`; `key_name` is the key's environment variable."""
    from openai import APIConnectionError, APIStatusError, APITimeoutError

    if isinstance(error, APITimeoutError):
        return Failure("no reply within the timeout", temporary=True)
    if isinstance(error, APIConnectionError):
        cause = error.__cause__ or error
        return Failure(f"no connection ({type(cause).__name__}: {cause})", temporary=True)
    if not isinstance(error, APIStatusError):
        return Failure(f"{type(error).__name__}: {error}", temporary=False)
    status, said, codes = error.status_code, _said(error), _codes(error)
    counts = _counts(_json(error.response.content))
    if status == 402 or codes & _UNPAID:  # some servers send a 429, but waiting does not help
        advice = f"payment required: add credit for the key in {key_name}, or check billing"
    elif codes & _FILTERED:
        advice = "the server's content filter rejected the prompt: leave it out, or rephrase it"
    elif status in (401, 403):
        advice = f"set {key_name} to a key with access to the model"
    elif status == 404:
        advice = "check the model and the base URL, which often ends in /v1"
    elif status in _TEMPORARY or status >= 500:
        return Failure(said, True, retry_after(error.response.headers), *counts)
    else:
        advice = "the prompt may be too long, or the server may not support a field of the request"
    return Failure(f"{advice}. {said}", False, 0.0, *counts)


def _said(error: APIStatusError) -> str:
    """Return the server's error text; the client includes it only in its usual form."""
    included = isinstance(error.body, dict) and error.body.get("message")
    return str(error) if included else f"{error} - {error.body}"


def _codes(error: APIStatusError) -> set[str]:
    """Return the error codes of a response in lower case."""
    body = error.body if isinstance(error.body, dict) else {}
    inner = body.get("innererror")
    found = [error.code, error.type, inner.get("code") if isinstance(inner, dict) else None]
    return {_lower(code) for code in found if code is not None}


def _json(content: bytes) -> Any:
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        return None


def retry_after(headers: Mapping[str, str]) -> float:
    """Return the delay in seconds from a Retry-After header, or 0.0 if there is none.

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
    return max(0.0, seconds)  # this argument order turns NaN into 0.0
