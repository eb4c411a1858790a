"""Where the figures of a run go besides the progress bar."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import os
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from agents.runs.config import RunConfig
from agents.runs.folder import Row, TrainingFolder, row_to_line
from pcrl_gym.errors import MissingExtraError

_INSTALL = {
    "tensorboard": "pip install -e '.[agents]'",
    "wandb": "pip install wandb",
    "trackio": "pip install trackio",
}
_PROJECT = "pcrl_gym"


class Logger(ABC):
    """Takes the rows of a run."""

    @abstractmethod
    def log(self, row: Row) -> None:
        """Take one row: `kind` ("update" or "evaluation"), `updates`, and figures."""

    def flush(self) -> None:  # noqa: B027
        """Make what was taken survive the process."""

    @abstractmethod
    def close(self) -> None:
        """Take no more rows."""


class JsonLines(Logger):
    """Appends to `metrics.jsonl`, which the learning curve and a resumed run read."""

    def __init__(self, folder: TrainingFolder) -> None:
        self._file = folder.metrics.open("a", encoding="utf-8", newline="\n")

    def log(self, row: Row) -> None:
        """Write one line, whole also if the process is killed right after."""
        self._file.write(row_to_line(row))
        self._file.flush()

    def flush(self) -> None:
        """Have the lines on the disk."""
        os.fsync(self._file.fileno())

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class TensorBoard(Logger):
    """Writes scalars for TensorBoard, over updates.

    Args:
        folder: The run's folder.
        updates: Updates done so far; later ones that an interrupted run wrote are hidden.
    """

    def __init__(self, folder: TrainingFolder, updates: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._writer = SummaryWriter(str(folder.tensorboard), purge_step=updates + 1)

    def log(self, row: Row) -> None:
        """Write the figures of a row."""
        for name, value in _scalars(row).items():
            self._writer.add_scalar(name, value, row["updates"])

    def flush(self) -> None:
        """Write what is waiting."""
        self._writer.flush()

    def close(self) -> None:
        """Close the event file."""
        self._writer.close()


class Tracker(Logger):
    """Sends figures to wandb, or to trackio, which has the same functions.

    Args:
        library: The imported module.
        options: What its `init` gets.
    """

    def __init__(self, library: Any, options: dict[str, Any]) -> None:
        self._library = library
        library.init(project=_PROJECT, **options)

    def log(self, row: Row) -> None:
        """Send the figures of a row."""
        self._library.log(_scalars(row), step=row["updates"])

    def close(self) -> None:
        """Tell the library that the run has ended."""
        self._library.finish()


def check_loggers(names: Sequence[str]) -> None:
    """See whether the libraries of some loggers are installed.

    Raises:
        MissingExtraError: If one is not; the message says how to install it.
    """
    for name in names:
        if name in _INSTALL and importlib.util.find_spec(name) is None:
            raise MissingExtraError(
                f"the logger {name!r} needs: {_INSTALL[name]} (or leave it out of --loggers)"
            )


@contextmanager
def open_loggers(folder: TrainingFolder, config: RunConfig, updates: int) -> Iterator[list[Logger]]:
    """Open the loggers that a configuration asks for, JSON lines first; closed after the block.

    Args:
        folder: The run's open folder.
        config: What names the loggers.
        updates: Updates done so far.
    """
    loggers: list[Logger] = [JsonLines(folder)]
    where = folder.path.resolve()
    options = {"name": where.name, "config": config.to_mapping(), "resume": "allow"}
    try:
        for name in config.run.loggers:
            if name == "tensorboard":
                loggers.append(TensorBoard(folder, updates))
            elif name == "wandb":
                identifier = hashlib.sha256(str(where).encode()).hexdigest()[:12]
                own = {"id": identifier, "dir": str(where)}
                loggers.append(Tracker(importlib.import_module("wandb"), options | own))
            elif name == "trackio":
                loggers.append(Tracker(importlib.import_module("trackio"), options))
        yield loggers
    finally:
        for logger in loggers:
            logger.close()


def _scalars(row: Row) -> dict[str, float]:
    place = "train" if row["kind"] == "update" else row["kind"]
    return {
        f"{place}/{key}": value
        for key, value in row.items()
        if key != "updates" and isinstance(value, (int, float))
    }
