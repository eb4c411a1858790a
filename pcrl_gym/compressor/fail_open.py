"""Compressor wrapper that returns the original text on errors and timeouts."""

from __future__ import annotations

import logging
import os
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import TYPE_CHECKING, Any, TypeVar, cast

from pcrl_gym.compressor.arguments import check_count
from pcrl_gym.compressor.calls import TextCompressor
from pcrl_gym.compressor.unchanged import Result, unchanged

if TYPE_CHECKING:
    from pcrl_gym.compressor.arguments import Call
    from pcrl_gym.compressor.compression import Compression
    from pcrl_gym.episodes.episode import Episode

_LOGGER = logging.getLogger(__name__)
_Signature = TypeVar("_Signature", bound=Callable[..., Any])


class _NotDone(Exception):
    """Raised if there is no result. The message is the kind of failure."""


def _typed_as(other: _Signature) -> Callable[[Callable[..., Any]], _Signature]:
    """Return a decorator that gives a method the overloads of another one."""
    return lambda method: cast(_Signature, method)


class FailOpen(TextCompressor):
    """Calls a compressor with a time limit, and returns the original text if the call fails.

    Calls have the same arguments and return types as those of the compressor. A call that raises an
    exception or takes longer than `timeout` seconds returns the original in the same form, with
    token counts of 0 (see `unchanged`). This includes calls with wrong arguments such as `rate=2`,
    so check `failures`. `KeyboardInterrupt` and `SystemExit` are not caught.

    Calls run in separate threads. A late call runs to the end and its result is discarded, unless
    no thread was free to start it, in which case it never runs. While late calls occupy all
    threads, the original is returned immediately. The interpreter waits for late calls at exit.

    The first call in a process can be much slower than the others, so make one before serving.

    Args:
        compressor: The compressor. It must be safe to call from several threads.
        timeout: Maximum seconds per call, including the wait for a thread, at least 0.
        workers: Number of threads.

    Attributes:
        failures: Number of calls that returned the original, by kind: "timeout", "busy" (late calls
            occupied all threads), or the name of the exception. The first of each kind is logged as
            a warning by the logger `pcrl_gym.compressor.fail_open`.

    Raises:
        ValueError: If `timeout` or `workers` is out of range.

    Example:
        >>> from pcrl_gym import Compressor
        >>> compressor = FailOpen(Compressor.from_pretrained("micro", device="cpu"), timeout=60)
        >>> compressor("Could you please sort these words: pear, fig").text
        ' sort pear fig'
        >>> compressor("Please sort: pear, fig", target_tokens=0).text
        'Please sort: pear, fig'
        >>> compressor.failures
        Counter({'ValueError': 1})
    """

    def __init__(
        self, compressor: TextCompressor, timeout: float = 0.5, *, workers: int = 2
    ) -> None:
        number = isinstance(timeout, (int, float)) and not isinstance(timeout, bool)
        if not number or not 0 <= timeout <= threading.TIMEOUT_MAX:
            raise ValueError(f"timeout must be a number of seconds, at least 0, got {timeout!r}")
        check_count("workers", workers)
        self.compressor = compressor
        self.builder = compressor.builder
        self.timeout = timeout
        self.workers = workers
        self.failures: Counter[str] = Counter()
        self._start()

    def _start(self) -> None:
        self._process = os.getpid()
        self._lock = threading.Lock()  # for `failures`
        self._pool = ThreadPoolExecutor(self.workers, thread_name_prefix="pcrl-compress")
        self._late: set[Future[Result]] = set()

    @_typed_as(TextCompressor.__call__)
    def __call__(self, text: Any = None, **given: Any) -> Result:
        """Compress with the compressor, or return the original in the same form.

        Raises:
            ValueError: If the arguments match no call form, so that there is no original.
        """
        try:
            return self._in_time(text, given)
        except Exception as error:
            original = unchanged(self.builder.template, text, **given)
            self._count(error)
            return original

    def _in_time(self, text: Any, given: dict[str, Any]) -> Result:
        if self._process != os.getpid():  # threads do not survive a fork
            self._start()
        if len(self._late) >= self.workers:
            raise _NotDone("busy")
        call: Callable[..., Result] = self.compressor
        future = self._pool.submit(call, text, **given)
        try:
            finished = wait([future], self.timeout).done
        finally:
            if not future.cancel() and not future.done():
                self._late.add(future)
                future.add_done_callback(self._late.discard)
        if not finished:
            raise _NotDone("timeout")
        return future.result()

    def _count(self, error: Exception) -> None:
        kind = str(error) if isinstance(error, _NotDone) else type(error).__name__
        with self._lock:
            self.failures[kind] += 1
            first = self.failures[kind] == 1
        if first:
            _LOGGER.warning(
                "a text was not compressed, so the original was returned (%s); further failures of "
                "this kind are counted in `failures` but not logged",
                kind,
                exc_info=None if isinstance(error, _NotDone) else error,
            )

    def _compressed(
        self, episodes: list[Episode], texts: list[str], call: Call
    ) -> list[Compression]:
        return self.compressor._compressed(episodes, texts, call)
