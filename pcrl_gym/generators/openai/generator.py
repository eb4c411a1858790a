"""A generator behind an OpenAI-compatible server: vLLM, TGI, llama.cpp, SGLang, hosted ones."""

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

    Prompts are sent `concurrency` at a time with temperature 0, equal ones once. What may be
    temporary (429, 408, 409, 5xx, timeouts, cut connections, unreadable replies) is sent again
    after a growing random wait, or what the server's Retry-After asks for if that is longer; other
    errors, such as an unknown model, fail at once. Every answer is put into the cache as soon as it
    has arrived, so that neither a failure nor the death of the process loses it.

    Thinking is no part of an answer, whether it comes in a field or part of its own or as a block
    such as `<think>...</think>` before the text. A model that spends all of `max_new_tokens` on it
    has not answered, which is an error, as are refusals and what a content filter withholds; an
    empty text is an answer only if the model ended by itself.

    Without a tokenizer, token counts are what the server reports as `usage.prompt_tokens`, and a
    text that was not answered yet costs a request of its own (with `max_tokens` 1): give the
    model's tokenizer to save them. Chat servers count a constant of their own in, for the chat
    template; it cancels in the compression ratio `1 - (n' - f) / (n - f)`, as n, n' and f all have
    it. With `api="chat"` the server applies the chat template: keep `template="alpaca"` here.

    The key is read from the environment and only ever sent to `base_url`. It is safe to use one
    object from several threads and inside a running event loop; processes that a pickled or forked
    one comes to have budgets of their own.

    Args:
        model: What the server calls the model.
        base_url: Such as "http://localhost:8000/v1"; `None`: the environment variable
            OPENAI_BASE_URL. Its query may hold `enable_thinking=false`, which stands for the
            `extra_body` {"chat_template_kwargs": {"enable_thinking": False}}, and
            `api-version=VERSION` for Azure.
        api: "chat" (the prompt is the only user message) or "completions" (the bare text).
        concurrency: Most requests in flight.
        timeout: Seconds that the server may stay silent before a request counts as failed.
        max_retries: How often one request is sent again before it has finally failed.
        backoff: Seconds before the first retry, doubled with each, less up to half by chance.
        cache: A file for `DiskCache`, or one; `None`: answers are kept in memory alone.
        tokenizer: The model's tokenizer as id, folder or object, to count tokens here.
        max_prompt_tokens: The context that prompt and answer share; `None`: the server will say.
        max_requests: Most requests to send in all, retries included; `None`: any.
        max_total_tokens: Prompt and answer tokens after which nothing is sent any more. Requests
            then in flight still count, so that the sum may end somewhat above; `None`: any.
        extra_body: Further fields of every request, such as {"chat_template_kwargs": ...}.
        limit_field: The field that limits the answer; some hosted models want
            "max_completion_tokens".
        api_key_env: The environment variable that holds the key, if there is one.
        name: What tables call the generator; `None`: "openai:MODEL@BASE_URL".

    Raises:
        ValueError: If an argument is out of range, the URL is none or no server is named.
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
        """Make the generator that a short form stands for.

        That is "openai:MODEL@BASE_URL", or "openai:MODEL" where OPENAI_BASE_URL is set. The last
        "@" separates, as a model's name may hold one.

        Raises:
            ValueError: If there is no model or no server, or what follows the last "@" is not a
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
        """SHA-256 of server, model and request, by which answers are kept on disk."""
        return hashlib.sha256(f"openai {self._sender.identity}".encode()).hexdigest()

    @property
    def usage(self) -> Usage:
        """What this object has used up to now; a copy."""
        return self._sender.usage

    def generate(self, prompts: Sequence[str], max_new_tokens: int) -> list[Answer]:
        """Answer each prompt greedily; see `Generator.generate`. `token_ids` stay empty.

        Raises:
            ValueError: If `max_new_tokens` is below 1.
            BudgetExceededError: If `max_requests` or `max_total_tokens` is used up.
            GeneratorError: If a request has finally failed or its reply holds no answer; `prompt`
                is its text. Answers that have arrived are kept, so the same call resumes from
                there.
        """
        check_new_tokens(max_new_tokens)
        texts = self._ask("answer", prompts, max_new_tokens)
        return [Answer(texts[prompt]) for prompt in prompts]

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Count the tokens of each text, by the tokenizer or else as the server does.

        Raises:
            GeneratorError: If a request has failed, or the server does not report its usage.
        """
        if self._encoder is not None:
            return [len(ids) for ids in self._encoder.prompt_ids(texts, add_special_tokens=False)]
        counts = self._ask("count", texts, 1)
        return [counts[text] for text in texts]

    def log_likelihood(self, prompts: Sequence[str], answers: Sequence[Answer]) -> list[float]:
        """Raise a GeneratorError: these servers do not score given answers."""
        raise GeneratorError(
            f"{self.name!r} gives no log-likelihoods, as OpenAI-compatible servers do not score "
            'given answers: use reward="threshold", or a local generator'
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
                text, "the server does not report usage.prompt_tokens: give a tokenizer"
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
    """A cache in place of a `DiskCache`: it drops the oldest values, and pickled ones are empty."""

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
