"""What an OpenAI-compatible server said: a reply, or a failure and whether to ask again."""

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
# Codes of errors, in lower case, whatever their status.
_UNPAID = {
    "insufficient_quota", "insufficient_balance", "billing_not_active",
    "billing_hard_limit_reached",
}  # fmt: skip
_FILTERED = {"content_filter", "content_policy_violation", "responsibleaipolicyviolation"}

# Values of finish_reason, in lower case, as several servers name them.
_ENDED = ("stop", "eos", "eos_token", "stop_sequence", "end_turn")  # by the model itself
_CUT = ("length", "max_tokens", "model_length")  # at the limit of tokens or of the context
_WITHHELD = ("content_filter", "safety", "sensitive")  # or cut by a filter
_BROKEN_OFF = ("error", "abort", "insufficient_system_resource")  # by the server

# Begin and end of the thinking that a server may leave before the answer.
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
    """One answer as the server gave it; numbers of tokens are None if it did not say."""

    text: str  # without thinking and without white space around it
    prompt_tokens: int | None
    completion_tokens: int | None


@dataclass(frozen=True, slots=True)
class Failure:
    """One request without an answer, with what the server counted all the same."""

    cause: str  # for people; it may be long and contain the key
    temporary: bool  # whether the same request may succeed later
    retry_after: float = 0.0  # seconds that the server asks to wait
    prompt_tokens: int | None = None
    completion_tokens: int | None = None


def read_reply(
    content: bytes, needs_text: bool = True, limit_name: str = "max_new_tokens"
) -> Reply | Failure:
    """Read the body of a response of either API.

    An answer is text, or an empty text that the model ended by itself, without its thinking. Advice
    calls the limit of the answer `limit_name`.

    Returns:
        The reply; a temporary failure if the body is not what the API promises or the server broke
        off; a lasting one if there is no answer, or a content filter withheld or cut it.

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
    except (LookupError, TypeError, AttributeError):  # a part is missing or has another type
        cause = f"unreadable reply: {content.decode('utf-8', 'replace')}"
    counts = _counts(body)
    return Reply(text, *counts) if cause is None else Failure(cause, temporary, 0.0, *counts)


def _stated(content: object) -> str | None:
    """Return text of a message's content; None if there is none, which is not the empty text."""
    if isinstance(content, list):
        parts = [{"text": part} if isinstance(part, str) else part for part in content]
        texts = [p["text"] for p in parts if p.get("type", "text") in ("text", "output_text")]
        content = "".join(texts) if texts else None
    if content is None:
        return None
    if not isinstance(content, str):
        raise TypeError(f"expected content to be text, got {type(content).__name__}")
    text = content.strip()
    for begin, end in _THOUGHTS.items():
        # Without its begin, the chat template has opened the block.
        while text.startswith(begin) or (end in text and begin not in text):
            _, closed, text = text.partition(end)
            if not closed:  # only thinking
                return None
            text = text.strip()
    return text


def _why_no_answer(
    message: Mapping[str, Any], text: str | None, reason: object, limit_name: str
) -> str | None:
    """Return why a reply holds no answer, and what to do; None if it holds one."""
    ended = _lower(reason)
    if ended in _WITHHELD:
        return "a content filter of the server withheld or cut the answer: leave the prompt out"
    if ended in _BROKEN_OFF:
        return f"the server broke off (finish_reason {reason!r})"
    if refusal := _refusal(message):
        return f"the model refused to answer: leave the prompt out. It said {refusal!r}"
    if text:
        return None
    if message.get("tool_calls") or message.get("function_call"):
        return "the model called a tool instead of answering: let the server offer it no tools"
    if text is not None and ended in _ENDED:
        return None
    what = "the answer was cut before it began" if ended in _CUT else "the reply holds no answer"
    return (
        f"{what} (finish_reason {reason!r}): raise {limit_name}, or switch the model's thinking "
        "off, by ?enable_thinking=false at the end of the base URL or the server's own switch in "
        "extra_body"
    )


def _refusal(message: Mapping[str, Any]) -> str:
    content = message.get("content")
    parts = content if isinstance(content, list) else []
    holders = [message, *(part for part in parts if isinstance(part, dict))]
    return " ".join(str(holder["refusal"]) for holder in holders if holder.get("refusal"))


def _counts(body: object) -> tuple[int | None, int | None]:
    """Return the tokens of prompt and answer as a reply reports them, whatever else it holds."""
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
    """Return what an exception of the client means; `key_name` is the variable of the key."""
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
    if status == 402 or codes & _UNPAID:  # some are a 429 that waiting does not help
        advice = f"payment required: top up the account of the key in {key_name}, or check billing"
    elif codes & _FILTERED:
        advice = "a content filter of the server refused the prompt: leave it out, or rephrase it"
    elif status in (401, 403):
        advice = f"set {key_name} to a key that may use the model"
    elif status == 404:
        advice = "check the model and the base URL, which often ends in /v1"
    elif status in _TEMPORARY or status >= 500:
        return Failure(said, True, retry_after(error.response.headers), *counts)
    else:
        advice = "the prompt may be too long, or a field of the request unknown to the server"
    return Failure(f"{advice}. {said}", False, 0.0, *counts)


def _said(error: APIStatusError) -> str:
    """Return what the server said; the client repeats it in one of the usual forms only."""
    included = isinstance(error.body, dict) and error.body.get("message")
    return str(error) if included else f"{error} - {error.body}"


def _codes(error: APIStatusError) -> set[str]:
    """Return the codes by which a server names an error, in lower case."""
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
    """Return the seconds that a Retry-After header asks to wait, 0.0 if it does not.

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
