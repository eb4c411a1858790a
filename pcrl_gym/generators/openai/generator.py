"""A generator on an OpenAI-compatible server: vLLM, TGI, llama.cpp, SGLang, or a hosted one."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Mapping, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pcrl_gym.episodes.tokenizers import TextEncoder, load_tokenizer
from pcrl_gym.errors import GeneratorError
from pcrl_gym.generators.base import (
    Answer,
    Generator,
    SharedGenerator,
    check_integer,
    check_new_tokens,
)
from pcrl_gym.generators.openai.sender import Sender, Usage, send_all
from pcrl_gym.storage.disk_cache import DiskCache

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

_MAX_IN_MEMORY = 100_000  # answers and token counts


class OpenAIGenerator(SharedGenerator, Generator):
    """A model behind an OpenAI-compatible HTTP server as a `Generator`.

    Prompts are sent `concurrency` at a time with temperature 0, duplicates only once. Possibly
    temporary failures (408, 409, 425, 429, 5xx, timeouts, dropped connections, unreadable replies)
    are retried after a growing random delay, or after the server's Retry-After if that is longer.
    Other errors, such as an unknown model, fail immediately. Every answer is cached as soon as it
    arrives, so that neither a failure nor a killed process loses it.

    Thinking is not part of an answer, whether it arrives in its own field or part or as a block
    such as `<think>...</think>` before the text. It is an error if a model spends all of
    `max_new_tokens` on thinking, refuses to answer, or is cut off by a content filter. An empty
    text is an answer only if the model stopped by itself.

    Without a tokenizer, token counts are the `usage.prompt_tokens` that the server reports, and a
    text that has not been answered yet costs an extra request (with `max_tokens` 1); pass the
    model's tokenizer to avoid these. Chat servers also count a constant number of tokens for the
    chat template, which cancels in the compression ratio `1 - (n' - f) / (n - f)` because n, n',
    and f all include it. With `api="chat"`, the server applies the chat template, so keep
    `template="alpaca"` here.

    The key is read from the environment and sent only to `base_url`. An object may be used from
    several threads and inside a running event loop. Processes that receive a pickled or forked copy
    have their own budgets.

    Args:
        model: The server's name for the model.
        base_url: URL such as "http://localhost:8000/v1"; `None` for the environment variable
            OPENAI_BASE_URL. Its query may contain `enable_thinking=false`, short for the
            `extra_body` {"chat_template_kwargs": {"enable_thinking": False}}, and
            `api-version=VERSION` for Azure.
        api: "chat" (the prompt is the only user message) or "completions" (the bare text).
        concurrency: Maximum number of requests in flight.
        timeout: Seconds without a response after which a request counts as failed.
        max_retries: Maximum number of retries per request.
        backoff: Seconds before the first retry, doubled with each retry and randomly reduced by up
            to half.
        cache: A `DiskCache` or a file for one; `None` to keep answers only in memory.
        tokenizer: The model's tokenizer as an ID, folder, or object, to count tokens locally.
        max_prompt_tokens: The context shared by prompt and answer; `None` leaves the check to the
            server.
        max_requests: Maximum number of requests, retries included; `None` for no limit.
        max_total_tokens: Prompt and answer tokens after which no more requests are sent. Requests
            in flight still count, so the total may end up slightly higher; `None` for no limit.
        extra_body: Further fields of every request, such as {"chat_template_kwargs": ...}.
        limit_field: The field that limits the answer; some hosted models require
            "max_completion_tokens".
        api_key_env: The environment variable that holds the key, if any.
        name: Name of the generator in tables; `None` for "openai:MODEL@BASE_URL".

    Raises:
        ValueError: If an argument is out of range, the URL is invalid, or no server is given.
        MissingExtraError: If the `openai` client is not installed.

    Example:
        >>> generator = OpenAIGenerator(  # doctest: +SKIP
        ...     "Qwen/Qwen3-0.6B", "http://localhost:8000/v1", cache="runs/answers.db"
        ... )
        >>> generator.generate(["Is fire hot?"], max_new_tokens=8)[0].text  # doctest: +SKIP
        'Yes'
    """

    gives_likelihoods = False

    def __init__(
        self,
        model: str,
        base_url: str | None = None,
        *,
        api: Literal["chat", "completions"] = "chat",
        concurrency: int = 8,
        timeout: float = 60.0,
        max_retries: int = 6,
        backoff: float = 0.5,
        cache: str | Path | DiskCache | None = None,
        tokenizer: str | Path | PreTrainedTokenizerFast | None = None,
        max_prompt_tokens: int | None = None,
        max_requests: int | None = None,
        max_total_tokens: int | None = None,
        extra_body: Mapping[str, Any] | None = None,
        limit_field: Literal["max_tokens", "max_completion_tokens"] = "max_tokens",
        api_key_env: str = "OPENAI_API_KEY",
        name: str | None = None,
    ) -> None:
        if max_prompt_tokens is not None:
            check_integer("max_prompt_tokens", max_prompt_tokens, 1)
        self._sender = Sender(
            model=model,
            base_url=base_url,
            api=api,
            concurrency=concurrency,
            timeout=timeout,
            max_retries=max_retries,
            backoff=backoff,
            max_requests=max_requests,
            max_total_tokens=max_total_tokens,
            extra_body=extra_body or {},
            limit_field=limit_field,
            api_key_env=api_key_env,
        )
        self.model = model
        self.base_url = str(self._sender.base_url)
        self.name = name or f"openai:{model}@{self.base_url}"
        self.max_prompt_tokens = max_prompt_tokens
        self.tokenizer = None if tokenizer is None else load_tokenizer(tokenizer)
        self._encoder = None if self.tokenizer is None else TextEncoder(self.tokenizer)
        self._cache: DiskCache | _Memory = _Memory()
        if cache is not None:
            self._cache = cache if isinstance(cache, DiskCache) else DiskCache(cache)

    @classmethod
    def from_spec(cls, spec: str, cache: str | Path | None = None) -> OpenAIGenerator:
        """Make a generator from a string.

        The form is "openai:MODEL@BASE_URL", or "openai:MODEL" if OPENAI_BASE_URL is set. The last
        "@" is the separator, because a model name may contain "@".

        Raises:
            ValueError: If there is no model or no server, or the text after the last "@" is not a
                URL.
            MissingExtraError: If the `openai` client is not installed.
        """
        model, at, url = spec.removeprefix("openai:").rpartition("@")
        try:
            return cls(model, url, cache=cache) if at else cls(url, cache=cache)
        except ValueError as error:
            raise ValueError(f"expected generator 'openai:MODEL@BASE_URL': {error}") from error

    @cached_property
    def fingerprint(self) -> str:  # type: ignore[override]
        """SHA-256 of server, model, and request, used as the key for answers on disk."""
        return hashlib.sha256(f"openai {self._sender.identity}".encode()).hexdigest()

    @property
    def usage(self) -> Usage:
        """Copy of the usage so far."""
        return self._sender.usage

    def generate(self, prompts: Sequence[str], max_new_tokens: int) -> list[Answer]:
        """Answer each prompt greedily; see `Generator.generate`. `token_ids` stay empty.

        Raises:
            ValueError: If `max_new_tokens` is below 1.
            BudgetExceededError: If `max_requests` or `max_total_tokens` is used up.
            GeneratorError: If a request has failed after all retries or its reply contains no
                answer; `prompt` is its text. Received answers are kept, so repeating the call
                resumes from there.
        """
        check_new_tokens(max_new_tokens)
        texts = self._ask("answer", prompts, max_new_tokens)
        return [Answer(texts[prompt]) for prompt in prompts]

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Count the tokens of each text with the tokenizer, or else on the server.

        Raises:
            GeneratorError: If a request has failed, or the server does not report its usage.
        """
        if self._encoder is not None:
            return [len(ids) for ids in self._encoder.prompt_ids(texts, add_special_tokens=False)]
        counts = self._ask("count", texts, 1)
        return [counts[text] for text in texts]

    def log_likelihood(self, prompts: Sequence[str], answers: Sequence[Answer]) -> list[float]:
        """Raise a GeneratorError, because these servers cannot score given answers."""
        raise GeneratorError(
            f"{self.name!r} does not provide log-likelihoods, because OpenAI-compatible servers do "
            'not score given answers: use reward="threshold", or a local generator'
        )

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r})"

    def _ask(self, kind: Literal["answer", "count"], texts: Sequence[str], limit: int) -> Any:
        """Return the answers to texts (str) or their token counts (int), by text."""
        found = self._cache.get(self._scope(kind, limit), texts)
        self._sender.count_hits(len(found))
        missing = [text for text in dict.fromkeys(texts) if text not in found]
        ask_one = partial(self._ask_one, kind, limit)
        return found | dict(send_all(ask_one, missing, self._sender.concurrency))

    def _ask_one(self, kind: str, limit: int, text: str, stop: threading.Event) -> object:
        reply = self._sender.send(text, limit, stop, needs_text=kind == "answer")
        if kind == "answer":
            self._cache.put(self._scope(kind, limit), {text: reply.text})
        if self._encoder is None and reply.prompt_tokens is not None:
            self._cache.put(self._scope("count", 1), {text: reply.prompt_tokens})
        if kind == "count" and reply.prompt_tokens is None:
            raise self._sender.error(
                text, "the server does not report usage.prompt_tokens: pass a tokenizer"
            )
        counts = reply.prompt_tokens, reply.completion_tokens
        if self._sender.max_total_tokens is not None and None in counts:
            raise self._sender.error(
                text, "the server does not report its usage: set max_requests, not max_total_tokens"
            )
        return reply.text if kind == "answer" else reply.prompt_tokens

    def _scope(self, kind: str, limit: int) -> str:
        return f"{kind} {limit} {self._sender.identity}"


class _Memory:
    """In-memory replacement for a `DiskCache`; drops the oldest values and pickles as empty."""

    def __init__(self) -> None:
        self._values: dict[tuple[str, str], Any] = {}
        self._lock = threading.Lock()

    def __reduce__(self) -> tuple[type[_Memory], tuple[()]]:
        return _Memory, ()

    def get(self, scope: str, keys: Sequence[str]) -> dict[str, Any]:
        with self._lock:
            return {k: self._values[scope, k] for k in keys if (scope, k) in self._values}

    def put(self, scope: str, values: Mapping[str, Any]) -> None:
        with self._lock:
            self._values.update({(scope, key): value for key, value in values.items()})
            while len(self._values) > _MAX_IN_MEMORY:
                del self._values[next(iter(self._values))]
