"""A pool of Ray actors that process calls and are replaced if they die.

Ray's own features are not sufficient. With `max_restarts` and `max_task_retries`, a call waits for
the same actor that died with it even while others are free, and forever if there is no longer room
for it. `ray.util.ActorPool` assigns calls to actors that have not started, continues after a
failure, and does not report which call failed.
"""

from __future__ import annotations

import warnings
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from pcrl_gym.errors import PcrlError

_QUIET_SECONDS = 60.0  # seconds to wait for a start before warning

Call = Callable[[Any], Any]
"""Sends a call to an actor and returns a reference to its result."""


class LostCallError(PcrlError):
    """The actor of a call died in all allowed attempts; `index` identifies the call."""

    def __init__(self, message: str, index: int) -> None:
        super().__init__(message)
        self.index = index


class NoActorError(PcrlError):
    """No actor could be started."""


@dataclass(eq=False)
class ActorPool:
    """Actors that process one call at a time, once their `load` has returned."""

    ray: Any  # the module, connected to a cluster
    actor_class: Any  # result of `ray.remote` for a class with a method `load`
    source: Sequence[Any]  # the arguments of `load`
    size: int  # number of actors
    retries: int  # how often a call is resent, and an actor restarted, after a death
    start_timeout: float  # seconds that an actor may take to start while no other is running
    _free: deque[Any] = field(default_factory=deque, init=False)
    # By pending reference: the actor and the index of its call, or None while it loads.
    _busy: dict[Any, tuple[Any, int | None]] = field(default_factory=dict, init=False)
    _failed_starts: int = field(default=0, init=False)

    def wait_until_ready(self) -> list[Any]:
        """Wait until all actors have loaded; return the result of `load` for each new one.

        Raises:
            NoActorError: If the actors keep dying, or the cluster has no room for them.
            Exception: If loading failed; the original exception.
        """
        self._start_missing()
        loaded = []
        while self._busy:
            loaded.append(self._next()[1])
        return [one for one in loaded if one is not None]  # except those that died meanwhile

    def run(self, calls: Sequence[Call]) -> Iterator[tuple[int, Any]]:
        """Process calls with the actors.

        After a failure, no more calls are sent, but results of pending calls are still yielded. If
        the iterator is closed early, busy actors are killed.

        Yields:
            Indices of calls and their results, in the order of arrival.

        Raises:
            LostCallError: If actors died on a call more than `retries` times.
            NoActorError: If no actor is left; see `wait_until_ready`.
            Exception: If a call failed; the original exception.
        """
        self._start_missing()
        waiting = deque(range(len(calls)))
        deaths: Counter[int] = Counter()
        failures: list[Exception] = []
        try:
            while self._at_work() or (waiting and not failures):
                while waiting and self._free and not failures:
                    actor, index = self._free.popleft(), waiting.popleft()
                    self._busy[calls[index](actor)] = actor, index
                try:
                    done, result = self._next()
                    if done is not None:
                        yield done, result
                except LostCallError as error:
                    deaths[error.index] += 1
                    if (times := deaths[error.index]) <= self.retries:
                        waiting.append(error.index)  # last, in case the call kills its actor
                    else:
                        died = f"its process died {times} times, the last time with {error}"
                        failures.append(LostCallError(died, error.index))
                except Exception as error:
                    failures.append(error)
        finally:
            for reference in self._at_work():
                self.ray.kill(self._busy.pop(reference)[0])
        if failures:
            raise failures[0]

    def close(self) -> None:
        """Kill the actors."""
        # If Ray has already shut down at exit, a kill request would restart it.
        if self.ray.is_initialized():
            for actor in (*self._free, *(actor for actor, _ in self._busy.values())):
                self.ray.kill(actor)
        self._free.clear()
        self._busy.clear()

    def _at_work(self) -> list[Any]:
        return [reference for reference, (_, index) in self._busy.items() if index is not None]

    def _start_missing(self) -> None:
        while len(self._free) + len(self._busy) < self.size:
            actor = self.actor_class.remote()
            self._busy[actor.load.remote(*self.source)] = actor, None

    def _next(self) -> tuple[int | None, Any]:
        """Wait until an actor has finished; return the index of its call and the result."""
        exceptions = self.ray.exceptions
        ready = self.ray.wait(list(self._busy))[0] if self._at_work() else self._wait_to_start()
        actor, index = self._busy.pop(ready[0])
        try:
            result = self.ray.get(ready[0])
        except exceptions.RayTaskError as error:
            if index is None:
                self.ray.kill(actor)
            else:
                self._free.append(actor)
            if error.cause is None or isinstance(error.cause, exceptions.RayError):
                raise NoActorError(str(error)) from error  # the arguments could not be unpickled
            raise error.cause from None
        except exceptions.RayError as error:
            self.ray.kill(actor)  # it may be merely unreachable
            died = f"{type(error).__name__}: {' '.join(str(error).split())[:400]}"
            self._failed_starts += index is None
            if (times := self._failed_starts) > self.retries * self.size:
                raise NoActorError(f"{times} died while starting, the last with {died}") from error
            self._start_missing()
            if index is not None:
                raise LostCallError(died, index) from error
            return None, None
        self._free.append(actor)
        self._failed_starts = 0
        return index, result

    def _wait_to_start(self) -> list[Any]:
        waited = min(_QUIET_SECONDS, self.start_timeout)
        rest = self.start_timeout - waited
        ready, _ = self.ray.wait(list(self._busy), timeout=waited)
        if not ready and rest > 0:
            warnings.warn(f"{self._nothing_within(waited)}; waiting {rest:g} s more", stacklevel=2)
            ready, _ = self.ray.wait(list(self._busy), timeout=rest)
        if not ready:
            raise NoActorError(self._nothing_within(self.start_timeout))
        return list(ready)

    def _nothing_within(self, seconds: float) -> str:
        free = self.ray.available_resources()
        return f"none started or loaded within {seconds:g} s; resources still free: {free}"
