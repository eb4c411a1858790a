"""Output formats of `pcrl-gym compress`: text, JSON, or the prompt with dropped parts marked."""

from __future__ import annotations

import shutil
import sys
from typing import TYPE_CHECKING, TypeAlias

from pcrl_gym.compressor.commands.json_records import dump
from pcrl_gym.compressor.compression import Compression
from pcrl_gym.compressor.messages import CompressedMessages
from pcrl_gym.compressor.tidying import tidy

if TYPE_CHECKING:
    from pcrl_gym.compressor.commands.records import Record

Done: TypeAlias = Compression | CompressedMessages | None
"""The result for a record, or None if nothing of it is compressed."""

_WIDE = 100
"""Minimum number of terminal columns for two texts side by side."""


def parts_of(done: Done) -> tuple[Compression, ...]:
    """Return the compressions of a record, in order."""
    if isinstance(done, Compression):
        return (done,)
    return () if done is None else done.compressions


def as_text(record: Record, done: Done) -> str:
    """Return the record with its shorter texts, exactly as kept."""
    return record.write([part.text for part in parts_of(done)]) + record.end


def as_tidy_text(record: Record, done: Done) -> str:
    """Return the record with its shorter texts, without stray spaces."""
    texts = [tidy(part.original, part.kept_spans) for part in parts_of(done)]
    return record.write(texts) + record.end


def as_json(record: Record, done: Done) -> str:
    """Return the result for a record as a line of JSON, or nothing if nothing is compressed."""
    return "" if done is None else dump(done.to_dict()) + "\n"


def as_marked(record: Record, done: Done) -> str:
    """Return the texts of a record with the dropped parts struck through.

    If the terminal is wide enough, the shorter texts are shown next to them.
    """
    if done is None:
        return as_text(record, done)
    return "\n".join(map(_marked, parts_of(done))) + record.end


def _marked(part: Compression) -> str:
    import numpy as np

    from pcrl_gym.rendering.frame import Frame, visible
    from pcrl_gym.rendering.text import painted

    assert part.episode is not None  # always set by a compressor
    marked = painted(Frame(part.episode, np.array(part.kept, dtype=np.bool_)))
    width = stdout_columns()
    if width < _WIDE:
        return marked
    return _side_by_side(marked, visible(tidy(part.original, part.kept_spans)), width)


def stdout_columns() -> int:
    """Return the number of terminal columns of stdout, or 0 if it is not a terminal."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else 0


def _side_by_side(left: str, right: str, width: int) -> str:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table.grid(padding=(0, 2), expand=True)
    table.add_column(ratio=1)
    table.add_column(ratio=1)
    table.add_row(Text.from_ansi(left), Text(right))
    console = Console(width=width)
    with console.capture() as drawn:
        console.print(table)
    return drawn.get().rstrip("\n")
