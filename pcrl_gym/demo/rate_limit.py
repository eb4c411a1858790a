"""Rate limit for visitors of the demo."""

from __future__ import annotations

import time
from collections import OrderedDict, deque
from collections.abc import Callable


class RateLimit:
    """Limits each session to `most` requests in `seconds`, with a sliding window.

    The latest `sessions` sessions are remembered. The clock must be monotonic.

    Example:
        >>> clock = iter([0.0, 1.0, 2.0, 10.0]).__next__
        >>> pace = RateLimit(most=2, seconds=10.0, clock=clock)
        >>> [pace.wait("a") for _ in range(4)]
        [0.0, 0.0, 8.0, 0.0]
    """

    def __init__(
        self,
        most: int = 10,
        seconds: float = 10.0,
        sessions: int = 10_000,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.most = most
        self.seconds = seconds
        self._sessions = sessions
        self._clock = clock
        self._passed: OrderedDict[str, deque[float]] = OrderedDict()

    def wait(self, session: str) -> float:
        """Return 0.0 and count the request if it is allowed, else the seconds to wait."""
        now = self._clock()
        passed = self._passed.setdefault(session, deque())
        self._passed.move_to_end(session)
        while len(self._passed) > self._sessions:
            self._passed.popitem(last=False)
        while passed and passed[0] <= now - self.seconds:
            passed.popleft()
        if len(passed) >= self.most:
            return passed[0] + self.seconds - now
        passed.append(now)
        return 0.0
