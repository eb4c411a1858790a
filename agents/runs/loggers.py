"""Loggers for the metrics of a run, in addition to the progress bar."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager

from agents.runs.config import RunConfig
from agents.runs.folder import Row, TrainingFolder, row_to_line
from pcrl_gym.errors import MissingExtraError

_INSTALL = {
    "tensorboard": "pip install -e '.[agents]'",
    "wandb": "pip install wandb",
    "trackio": "pip install trackio",
}
_PROJECT = "pcrl_gym"

Log = Callable[[Row], None]
"""Takes one row: `kind` ("update" or "evaluation"), `updates`, and metrics."""


def check_loggers(names: Sequence[str]) -> None:
    """Raise `MissingExtraError` for loggers whose libraries are not installed."""
    for name in names:
        if name in _INSTALL and importlib.util.find_spec(name) is None:
            raise MissingExtraError(
                f"the logger {name!r} needs: {_INSTALL[name]} (or remove it from --loggers)"
            )


@contextmanager
def open_loggers(folder: TrainingFolder, config: RunConfig, updates: int) -> Iterator[Log]:
    """Open the configured loggers, and always `metrics.jsonl`.

    TensorBoard hides updates after `updates` that an interrupted run wrote. Yields a function that
    sends a row to all loggers; a written row survives the process.
    """
    with ExitStack() as stack:
        logs = [_json_lines(folder, stack)]
        for name in config.run.loggers:
            if name == "tensorboard":
                logs.append(_tensorboard(folder, updates, stack))
            elif name != "jsonl":
                logs.append(_tracker(name, folder, config, stack))

        def log_all(row: Row) -> None:
            for log in logs:
                log(row)

        yield log_all


def _json_lines(folder: TrainingFolder, stack: ExitStack) -> Log:
    file = stack.enter_context(folder.metrics.open("a", encoding="utf-8", newline="\n"))

    def log(row: Row) -> None:
        file.write(row_to_line(row))
        file.flush()
        os.fsync(file.fileno())

    return log


def _tensorboard(folder: TrainingFolder, updates: int, stack: ExitStack) -> Log:
    from torch.utils.tensorboard import SummaryWriter

    place = str(folder.tensorboard)
    writer = stack.enter_context(SummaryWriter(place, purge_step=updates + 1))

    def log(row: Row) -> None:
        for key, value in _scalars(row).items():
            writer.add_scalar(key, value, row["updates"])
        writer.flush()

    return log


def _tracker(name: str, folder: TrainingFolder, config: RunConfig, stack: ExitStack) -> Log:
    """Log to wandb or to trackio, which has the same functions."""
    library, where = importlib.import_module(name), folder.path.resolve()
    options = {"name": where.name, "config": config.to_mapping(), "resume": "allow"}
    if name == "wandb":
        identifier = hashlib.sha256(str(where).encode()).hexdigest()[:12]
        options |= {"id": identifier, "dir": str(where)}
    library.init(project=_PROJECT, **options)
    stack.callback(library.finish)
    return lambda row: library.log(_scalars(row), step=row["updates"])


def _scalars(row: Row) -> dict[str, float]:
    """Return the numbers of a row by their names in trackers."""
    place = "train" if row["kind"] == "update" else row["kind"]
    return {
        f"{place}/{key}": value
        for key, value in row.items()
        if key != "updates" and isinstance(value, (int, float))
    }
