"""Requests to an OpenAI-compatible server, with retries, a budget, and a secret key."""

from __future__ import annotations

import json
import os
import random
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import count
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from pcrl_gym.errors import BudgetExceededError, GeneratorError, MissingExtraError, excerpt
from pcrl_gym.generators.base import check_integer
from pcrl_gym.generators.openai.replies import Failure, Reply, read_failure, read_reply
from pcrl_gym.generators.openai.url import parse_base_url

if TYPE_CHECKING:
    from openai import OpenAI

ReplyT = TypeVar("ReplyT")

# Maximum seconds of our own schedule and of a server's Retry-After.
_MAX_BACKOFF = 30.0
_MAX_RETRY_AFTER = 120.0
_NO_KEY = "none"  # the client requires a key; servers without keys ignore it
_MAX_SHOWN = 400
# Version of the rules that parse replies; cached answers of other versions are not used.
_READING = 2


@dataclass(slots=True)
class Usage:
    """Usage of a generator since its creation.

    Attributes:
        requests: Number of requests sent, retries included.
        retries: Number of retries.
        prompt_tokens: Total prompt tokens reported by the server.
        completion_tokens: Total completion tokens reported by the server.
        cache_hits: Number of texts whose answer or token count was cached.
    """

    requests: int = 0
    retries: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cache_hits: int = 0


class Stopped(GeneratorError):
    """A request was abandoned because another one has failed."""


@dataclass(kw_only=True, eq=False)
class Sender:
    """Sends texts to a server and tracks usage; see `OpenAIGenerator` for the fields.

    The client's own retries are disabled: its waits cannot be interrupted, it does not retry
    unreadable replies, and it would exceed the budget of requests.

    Raises:
        ValueError: If a field is out of range, the URL is invalid, or no server is given.
        MissingExtraError: If the `openai` client is not installed.
    """

    model: str
    base_url: str | None
    api: Literal["chat", "completions"]
    concurrency: int
    timeout: float
    max_retries: int
    backoff: float
    max_requests: int | None
    max_total_tokens: int | None
    extra_body: Mapping[str, Any]
    limit_field: Literal["max_tokens", "max_completion_tokens"]
    api_key_env: str
    limit_name: str = "max_new_tokens"  # name of the answer limit in error messages
    _usage: Usage = field(default_factory=Usage, init=False)
    _link: _Link | None = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        if not self.model:
            raise ValueError("expected a model name, got an empty string")
        for what, choices in (
            ("api", ("chat", "completions")),
            ("limit_field", ("max_tokens", "max_completion_tokens")),
        ):
            if getattr(self, what) not in choices:
                raise ValueError(f"expected {what} in {choices}, got {getattr(self, what)!r}")
        check_integer("concurrency", self.concurrency, 1)
        check_integer("max_retries", self.max_retries, 0)
        for what in ("max_requests", "max_total_tokens"):
            if getattr(self, what) is not None:
                check_integer(what, getattr(self, what), 0)
        if not (self.timeout > 0 and self.backoff >= 0):
            raise ValueError(
                f"expected timeout > 0 and backoff >= 0 seconds, got {self.timeout!r} and "
                f"{self.backoff!r}"
            )
        try:
            # A copy, so that requests always match the key under which answers are cached.
            body = json.loads(json.dumps(dict(self.extra_body), allow_nan=False))
        except (TypeError, ValueError) as error:
            raise ValueError(f"expected extra_body to be JSON: {error}") from error
        parsed = parse_base_url(self.base_url)
        if both := body.keys() & parsed.extra_body.keys():
            raise ValueError(
                f"expected enable_thinking in the base URL or {', '.join(both)} in extra_body, "
                "got both: remove one"
            )
        self.base_url, self.extra_body = parsed.url, {**body, **parsed.extra_body}
        self.link()

    @property
    def usage(self) -> Usage:
        """Copy of the usage so far."""
        with self.link().lock:
            return replace(self._usage)

    def count_hits(self, n: int) -> None:
        """Count texts that needed no request."""
        with self.link().lock:
            self._usage.cache_hits += n

    @property
    def identity(self) -> str:
        """Everything that determines the reply to a text except its limit, as JSON."""
        fields = (self.base_url, self.model, self.api, self.limit_field, self.extra_body)
        return json.dumps([_READING, *fields], sort_keys=True)

    def send(self, text: str, limit: int, stop: threading.Event, needs_text: bool = True) -> Reply:
        """Send a text until there is a reply or a permanent failure, or `stop` is set.

        Raises:
            BudgetExceededError: If the budget does not allow another request; it is not sent.
            Stopped: If `stop` is set.
            GeneratorError: If the request has failed permanently or after all retries.
        """
        for attempt in count():
            with self.link().slots:
                self._admit(text, attempt, stop)
                outcome = self._attempt(text, limit, needs_text)
            if isinstance(outcome, Reply):
                return outcome
            cause = outcome.cause
            if (wait := outcome.retry_after) > _MAX_RETRY_AFTER:
                cause = f"the server asks to wait {wait:.0f} s. {cause}"
                break
            if not outcome.temporary or attempt >= self.max_retries:
                break
            backoff = min(self.backoff * 2.0**attempt, _MAX_BACKOFF)
            backoff *= self.link().random.uniform(0.5, 1.0)
            if _pause(stop, max(backoff, wait)):
                raise self.error(
                    text, f"not retried, because another request failed: {cause}", Stopped
                )
        tries = f" {attempt + 1} times" if attempt else ""
        # Outside of any `except`, so that a client exception, which may contain the key, does not
        # become the context of this one.
        raise self.error(text, f"failed{tries}: {cause}")

    def error(self, text: str, what: str, kind: type[GeneratorError] = GeneratorError) -> Exception:
        """Return an error that names model, server, and prompt but does not contain the key."""
        what = what.replace(self.link().key, "***") if self.link().key != _NO_KEY else what
        return kind(
            f"{self.model!r} at {self.base_url}, prompt {excerpt(text)!r}: {what[:_MAX_SHOWN]}",
            prompt=text,
        )

    def link(self) -> _Link:
        """Return the connection of this process; a forked process must not use its parent's."""
        if self._link is None or self._link.pid != os.getpid():
            self._link = _Link(self)
        return self._link

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_link": None, "_usage": self.usage}

    def _admit(self, text: str, attempt: int, stop: threading.Event) -> None:
        """Count a request or reject it."""
        with self.link().lock:
            used = self._usage
            tokens = used.prompt_tokens + used.completion_tokens
            if stop.is_set():
                raise self.error(text, "not sent, because another request failed", Stopped)
            for what, spent, budget in (
                ("max_requests", used.requests, self.max_requests),
                ("max_total_tokens", tokens, self.max_total_tokens),
            ):
                if budget is not None and spent >= budget:
                    raise self.error(
                        text,
                        f"not sent, because {what}={budget} is used up ({spent}): raise it to "
                        "continue (with cache=FILE, answers received so far are not requested "
                        "again)",
                        BudgetExceededError,
                    )
            used.requests += 1
            used.retries += attempt > 0

    def _attempt(self, text: str, limit: int, needs_text: bool) -> Reply | Failure:
        from openai import OpenAIError

        client = self.link().client
        # The raw response, because the client accepts any JSON as an answer.
        create: Any = client.completions.with_raw_response.create
        asked: dict[str, Any] = {"prompt": text}
        if self.api == "chat":
            create = client.chat.completions.with_raw_response.create
            asked = {"messages": [{"role": "user", "content": text}]}
        body = {self.limit_field: limit, **self.extra_body}
        outcome: Reply | Failure
        try:
            response = create(model=self.model, temperature=0, extra_body=body, **asked)
        except (OpenAIError, UnicodeError) as error:  # UnicodeError: lone surrogates in the prompt
            outcome = read_failure(error, self.api_key_env)
        else:
            outcome = read_reply(response.content, needs_text, self.limit_name)
        with self.link().lock:
            self._usage.prompt_tokens += outcome.prompt_tokens or 0
            self._usage.completion_tokens += outcome.completion_tokens or 0
        return outcome


class _Link:
    """Client, key, and locks of one process; never copied or stored."""

    def __init__(self, sender: Sender) -> None:
        try:
            from openai import OpenAI
        except ImportError as error:
            raise MissingExtraError(
                "OpenAI-compatible generators need the openai package: pip install "
                "'pcrl-gym[openai]'"
            ) from error
        self.pid = os.getpid()
        self.key = os.environ.get(sender.api_key_env) or _NO_KEY
        url = parse_base_url(sender.base_url)
        # Only Azure requires a version, and it expects the key in this header.
        azure = {"api-key": self.key} if url.query and self.key != _NO_KEY else {}
        self.client: OpenAI = OpenAI(
            base_url=url.endpoint,
            api_key=self.key,
            timeout=sender.timeout,
            max_retries=0,
            default_query=url.query,
            default_headers=azure,
        )
        self.lock = threading.RLock()
        self.slots = threading.BoundedSemaphore(sender.concurrency)
        self.random = random.Random()  # separate, since the user may seed the global one


def send_all(
    send_one: Callable[[str, threading.Event], ReplyT], texts: Sequence[str], concurrency: int
) -> Iterator[tuple[str, ReplyT]]:
    """Send distinct texts from several threads; yield each with its reply as it arrives.

    After a failure, no more texts are sent (`send_one` stops once its event is set). Replies to
    requests in flight are still received before the failure is raised.
    """
    stop = threading.Event()

    def guarded(text: str) -> ReplyT:
        try:
            return send_one(text, stop)
        except BaseException:
            stop.set()  # immediately, so that the other threads send nothing more
            raise

    pool = ThreadPoolExecutor(concurrency)
    try:
        sent = {pool.submit(guarded, text): text for text in texts}
        for future in as_completed(sent):
            with suppress(Stopped):  # the failure that caused it is in another future
                yield sent[future], future.result()
    finally:
        stop.set()
        pool.shutdown(cancel_futures=True)


_pause = threading.Event.wait
