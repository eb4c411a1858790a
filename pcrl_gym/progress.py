"""Progress bars that are lines, now and then, where stderr is not a terminal."""

from __future__ import annotations

import multiprocessing
import sys
from typing import Any, TextIO

from tqdm.auto import tqdm

SECONDS = 60.0
"""Least time between two lines of one bar in a log file."""


def progress_bar(**options: Any) -> Any:
    """Return a `tqdm` bar of these options on stderr.

    On a terminal and in a notebook it is tqdm's own. Elsewhere, such as in a log file and in one of
    several processes, each state is a line: when the bar begins, when it gets another description,
    at most every minute, and when it ends.
    """
    alone = multiprocessing.parent_process() is None  # else bars would overwrite each other
    if alone and (sys.stderr.isatty() or "ipykernel" in sys.modules):
        return tqdm(**options)
    fixed = {"mininterval": SECONDS, "maxinterval": SECONDS, "miniters": 1, "position": 0}
    return tqdm(**options | fixed | {"file": _Lines(sys.stderr)})


class _Lines:
    """Writes what tqdm draws over and over as lines of their own."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        drawn = text.strip("\r\n ")
        if drawn:
            self._stream.write(f"{drawn}\n")
        return len(text)

    def flush(self) -> None:
        self._stream.flush()
