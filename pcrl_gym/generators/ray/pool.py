"""A pool of Ray actors that work through calls; those that die are replaced."""

from __future__ import annotations

import warnings
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from pcrl_gym.errors import PcrlError

_QUIET_SECONDS = 60.0  # of waiting for a start before a warning

Call = Callable[[Any], Any]
"""Sends a call to an actor and returns the reference of its result."""


class LostCallError(PcrlError):
    """A call was sent as often as allowed, and every time its actor died; `index` says which."""

    def __init__(self, message: str, index: int) -> None:
        super().__init__(message)
        self.index = index


class NoActorError(PcrlError):
    """No actor could be started."""


@dataclass
class _Busy:
    """An actor at work on call `index`; `None`: on a result that nobody waits for, or loading."""

    actor: Any
    index: int | None = None
    failed_starts: int = 0
    loading: bool = False


@dataclass(eq=False)
class ActorPool:
    """Actors that take calls one at a time, whichever is free.

    `start` makes an actor and has it load; it returns its handle and the reference of a result that
    is there once it has loaded.
    """

    ray: Any  # the module, connected to a cluster
    start: Callable[[], tuple[Any, Any]]
    size: int  # how many actors there are
    retries: int  # how often a call is sent again, and an actor started again, after a death
    start_timeout: float  # seconds that an actor may take to start where no other is at work
    _free: deque[Any] = field(default_factory=deque, init=False)
    _busy: dict[Any, _Busy] = field(default_factory=dict, init=False)

    def wait_until_ready(self) -> list[Any]:
        """Wait until all actors have loaded; return what each new one loaded.

        Raises:
            NoActorError: If one dies again and again, or the cluster has no room for it.
            Exception: If loading failed: what it raised.
        """
        self._start_missing()
        loaded = []
        while any(busy.loading for busy in self._busy.values()):
            _, result, failure = self._next(waiting=True)
            if failure is not None:
                raise failure
            loaded.append(result)
        return loaded

    def run(self, calls: Sequence[Call]) -> Iterator[tuple[int, Any]]:
        """Have the actors work through calls; to be exhausted before it is called again.

        After a failure nothing more is sent, but results of what was sent still come in. If the
        iterator is closed early, the actors finish what they do before they get new calls.

        Yields:
            Indices of calls and their results, in the order of arrival.

        Raises:
            LostCallError: If an actor died of a call more often than `retries`.
            NoActorError: If no actor is left; see `wait_until_ready`.
            Exception: If a call failed: what it raised.
        """
        self._start_missing()
        waiting = deque(range(len(calls)))
        deaths = [0] * len(calls)
        failure: BaseException | None = None
        try:
            while (waiting and failure is None) or self._at_work():
                while waiting and self._free and failure is None:
                    actor, index = self._free.popleft(), waiting.popleft()
                    self._busy[calls[index](actor)] = _Busy(actor, index)
                done, result, error = self._next(waiting=bool(waiting) and failure is None)
                if isinstance(error, _DiedError):
                    assert done is not None
                    deaths[done] += 1
                    if deaths[done] <= self.retries:
                        waiting.append(done)  # last, should it be what kills
                    else:
                        died = f"its process died {deaths[done]} times, the last time by {error}"
                        failure = failure or LostCallError(died, done)
                elif error is not None:
                    failure = failure or error
                elif done is not None:
                    yield done, result
        finally:
            for busy in self._busy.values():
                busy.index = None
        if failure is not None:
            raise failure

    def close(self) -> None:
        """End the actors."""
        # Once Ray has shut down at the program's end, asking it to kill would start it again.
        if self.ray.is_initialized():
            for actor in (*self._free, *(busy.actor for busy in self._busy.values())):
                self.ray.kill(actor)
        self._free.clear()
        self._busy.clear()

    def _at_work(self) -> bool:
        return any(busy.index is not None for busy in self._busy.values())

    def _start_missing(self, failed_starts: int = 0) -> None:
        while len(self._free) + len(self._busy) < self.size:
            actor, loaded = self.start()
            self._busy[loaded] = _Busy(actor, failed_starts=failed_starts, loading=True)

    def _next(self, waiting: bool) -> tuple[int | None, Any, BaseException | None]:
        """Wait until an actor has finished; return index and result of the call, and its error."""
        exceptions = self.ray.exceptions
        idle = waiting and not self._at_work()
        ready = self._wait_to_start() if idle else self.ray.wait(list(self._busy))[0]
        if not ready:
            return None, None, NoActorError(self._nothing_within(self.start_timeout))
        busy = self._busy.pop(ready[0])
        try:
            result = self.ray.get(ready[0])
        except exceptions.RayTaskError as error:
            # Ray's own if the arguments could not be unpickled there.
            of_ray = isinstance(error.cause, exceptions.RayError)
            cause = error.cause if isinstance(error.cause, Exception) and not of_ray else error
            if busy.loading:
                self.ray.kill(busy.actor)
                return None, None, NoActorError(str(error)) if cause is error else cause
            self._free.append(busy.actor)
            return busy.index, None, None if busy.index is None else cause
        except exceptions.RayError as error:
            return self._replace(busy, error)
        self._free.append(busy.actor)
        return busy.index, result, None

    def _wait_to_start(self) -> list[Any]:
        first = min(_QUIET_SECONDS, self.start_timeout)
        ready, _ = self.ray.wait(list(self._busy), timeout=first)
        if not ready and (rest := self.start_timeout - first) > 0:
            warnings.warn(f"{self._nothing_within(first)}; waiting {rest:g} s more", stacklevel=2)
            ready, _ = self.ray.wait(list(self._busy), timeout=rest)
        return list(ready)

    def _nothing_within(self, seconds: float) -> str:
        free = self.ray.available_resources()
        return f"none started or loaded within {seconds:g} s; of the cluster are free: {free}"

    def _replace(
        self, busy: _Busy, error: Exception
    ) -> tuple[int | None, Any, BaseException | None]:
        self.ray.kill(busy.actor)  # it may only be out of reach
        cause = f"{type(error).__name__}: {' '.join(str(error).split())[:400]}"
        failed_starts = busy.failed_starts + busy.loading
        if failed_starts > self.retries:
            cause = f"one died {failed_starts} times as it started: {cause}"
            return None, None, NoActorError(cause)
        self._start_missing(failed_starts)
        return busy.index, None, None if busy.index is None else _DiedError(cause)


class _DiedError(Exception):
    """The actor of a call died."""
