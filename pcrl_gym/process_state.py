"""Process-wide state: temporary changes of settings, and cleanup after a fork."""

from __future__ import annotations

import multiprocessing
import multiprocessing.context
import os
import sys
import threading
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager

Undo = Callable[[], None]

_lock = threading.RLock()
_held: dict[Hashable, tuple[int, Undo]] = {}


@contextmanager
def hold(key: Hashable, apply: Callable[[], Undo]) -> Iterator[None]:
    """Change a setting that threads share for the duration of a block.

    If blocks of several threads overlap, the first one calls `apply` and the last one undoes the
    change by calling the function that `apply` returned.
    """
    with _lock:
        users, undo = _held.get(key) or (0, apply())
        _held[key] = (users + 1, undo)
    try:
        yield
    finally:
        with _lock:
            users, undo = _held.pop(key, (0, lambda: None))  # a fork may have undone it
            if users > 1:
                _held[key] = (users - 1, undo)
            else:
                undo()


def _single_thread() -> None:
    # The threads of torch's OpenMP pool do not survive a fork: with more than one, the next
    # computation would wait for them forever.
    set_num_threads = getattr(sys.modules.get("torch"), "set_num_threads", None)
    if set_num_threads is not None:
        set_num_threads(1)


def _after_fork() -> None:
    global _lock
    _lock = threading.RLock()  # another thread of the parent may have held the old one
    for _, undo in _held.values():
        undo()
    _held.clear()
    _single_thread()


if hasattr(os, "register_at_fork"):  # not on Windows, which cannot fork
    os.register_at_fork(after_in_child=_after_fork)
    if isinstance(multiprocessing.current_process(), multiprocessing.context.ForkProcess):
        _single_thread()  # the parent may have used torch, but not this package
