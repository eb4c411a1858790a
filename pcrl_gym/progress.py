"""Progress bars that print occasional lines if stderr is not a terminal."""

from __future__ import annotations

import multiprocessing
import sys
from typing import Any, TextIO

from tqdm.auto import tqdm

SECONDS = 60.0
"""Minimum seconds between two lines of a bar in a log file."""


def progress_bar(**options: Any) -> Any:
    """Return a `tqdm` progress bar on stderr with the given options.

    On a terminal or in a notebook it is a regular tqdm bar. Elsewhere, such as in a log file or a
    child process, it prints a line when it starts, when its description changes, at most once a
    minute, and when it ends.
    """
    alone = multiprocessing.parent_process() is None  # otherwise bars would overwrite each other
    if alone and (sys.stderr.isatty() or "ipykernel" in sys.modules):
        return tqdm(**options)
    fixed = {"mininterval": SECONDS, "maxinterval": SECONDS, "miniters": 1, "position": 0}
    return tqdm(**options | fixed | {"file": _Lines(sys.stderr)})


class _Lines:
    """Writes each redraw of a tqdm bar on its own line."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        drawn = text.strip("\r\n ")
        if drawn:
            self._stream.write(f"{drawn}\n")
        return len(text)

    def flush(self) -> None:
        self._stream.flush()
