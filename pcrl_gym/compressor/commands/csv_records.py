"""Read the rows of a CSV file as records, of which one cell is compressed."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import BinaryIO

from pcrl_gym.compressor.commands.records import LineError, Record, decoded, read_lines
from pcrl_gym.errors import did_you_mean
from pcrl_gym.prompts.dataset_files import csv_delimiter, long_cells

_ROWS = 64
"""Rows per batch."""


def csv_records(stream: BinaryIO, path: Path, column: str) -> Iterator[list[Record]]:
    """Yield the rows of a CSV file, of which one column is compressed, in batches.

    The first row holds the column names. Cells are written with the file's own delimiter and line
    endings, and quoted only where necessary.

    Raises:
        LineError: If a row cannot be read, after those before it have been yielded.
        ValueError: If the column does not exist.
    """
    lines = chain.from_iterable(read_lines(stream))
    texts = (decoded(line, number) for number, line in enumerate(lines, 1))
    first = next(texts, "")
    mark = "\ufeff" if first.startswith("\ufeff") else ""
    end = "\r\n" if first.endswith("\r\n") else "\n"
    delimiter = csv_delimiter(first)

    def record(line: int, row: list[str], place: int | None) -> Record:
        def write(shorter: Sequence[str]) -> str:
            cells = list(row)
            if place is not None:
                cells[place] = shorter[0]
            written = io.StringIO()
            # Cells with a character of the line terminator are quoted.
            csv.writer(written, delimiter=delimiter, lineterminator="\r\n").writerow(cells)
            return written.getvalue().removesuffix("\r\n")

        return Record(line, None if place is None else row[place], write, end)

    with long_cells(path):
        reader = csv.reader(
            chain([first.removeprefix(mark)], texts), delimiter=delimiter, strict=True
        )
        header = next(reader, [])
        if column not in header:
            raise ValueError(f"{path} has no column {column!r}{did_you_mean(column, header)}")
        head = record(1, header, None)
        records = [Record(1, None, lambda texts: mark + head.write(texts), end)]
        line = reader.line_num + 1
        try:
            for row in reader:
                if row and len(row) != len(header):
                    raise LineError(
                        f"line {line} has {len(row)} cells, but the first line has {len(header)}"
                    )
                records.append(record(line, row, header.index(column) if row else None))
                line = reader.line_num + 1
                if len(records) == _ROWS:
                    yield records
                    records = []
        except LineError:
            yield records
            raise
        except csv.Error as error:
            yield records
            raise LineError(f"line {line} is not a valid CSV row: {error}") from error
        yield records
