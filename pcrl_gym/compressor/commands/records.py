"""Split the input of `pcrl-gym compress` into records to compress and write back.

A record is a line, a row of a CSV file, or a whole file. All of its text, a field of its JSON
object, a cell, or its chat messages are compressed; the rest is kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import BinaryIO, TypeAlias

from pcrl_gym.compressor.messages import Messages
from pcrl_gym.errors import PcrlError

_CHUNK = 2**14
"""Bytes per batch, a few hundred lines: a progress bar moves every other second."""

Content: TypeAlias = "str | Messages | None"
Written: TypeAlias = Callable[[Sequence[str]], str]
Parse: TypeAlias = "Callable[[str], tuple[Content, Written]]"


class LineError(PcrlError, RuntimeError):
    """A line of the input cannot be compressed; those before it have been."""


@dataclass(frozen=True)
class Record:
    """A piece of the input.

    Attributes:
        line: Number of its first line, from 1.
        content: The text or messages to compress, or None.
        write: Returns the record with its texts replaced by shorter ones, in order.
        end: The line ending that follows it.
    """

    line: int
    content: Content
    write: Written
    end: str


def read_lines(stream: BinaryIO) -> Iterator[list[bytes]]:
    r"""Yield the lines of a stream with their line endings, in batches as they become available.

    Slow input is passed on line by line, a file in large batches. Only `\n` ends a line.
    """
    rest = bytearray()
    while chunk := stream.read1(_CHUNK):  # type: ignore[attr-defined]
        end = chunk.rfind(b"\n") + 1
        if end:
            # Not `splitlines`: a lone carriage return is text.
            yield [line + b"\n" for line in bytes(rest + chunk[: end - 1]).split(b"\n")]
            rest.clear()
        rest += chunk[end:]
    if rest:
        yield [bytes(rest)]


def line_records(portions: Iterable[list[bytes]], parse: Parse) -> Iterator[list[Record]]:
    """Yield one record per line, in the same batches as the lines.

    `parse` returns the content to compress and a function that writes it back, or raises a
    ValueError whose message continues "line N", as in "is not valid JSON".

    Raises:
        LineError: If a line cannot be read, after the records before it have been yielded.
    """
    number = 1
    for lines in portions:
        records: list[Record] = []
        try:
            for line in filter(None, lines):
                content = line.rstrip(b"\r\n") if line.endswith(b"\n") else line
                text, end = decoded(content, number), line[len(content) :].decode()
                try:
                    records.append(Record(number, *parse(text), end))
                except ValueError as error:
                    raise LineError(f"line {number} {error}") from error
                number += 1
        except LineError:
            yield records
            raise
        yield records


def decoded(content: bytes, number: int) -> str:
    """Decode UTF-8 text that begins at line `number`.

    Raises:
        LineError: If it is not valid UTF-8.
    """
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        before = content[: error.start]
        raise LineError(
            f"line {number + before.count(10)} is not UTF-8: byte 0x{content[error.start]:02x} at "
            f"position {error.start - before.rfind(10)}; convert the input to UTF-8"
        ) from error


def whole_text(text: str) -> tuple[Content, Written]:
    """Parse a record that is compressed as a whole."""
    return text, lambda texts: texts[0]
