"""The input of `pcrl-gym compress` as records: what is compressed of each, how it is written back.

A record is a line, a row of a CSV file or a whole file. What is compressed of it is all its text, a
field of its JSON object, a cell, or chat messages; the rest is kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import BinaryIO, TypeAlias

from pcrl_gym.compressor.messages import Messages
from pcrl_gym.errors import PcrlError

_CHUNK = 2**14
"""Bytes that are compressed together, some hundred lines: a bar moves every other second."""

Content: TypeAlias = "str | Messages | None"
Written: TypeAlias = Callable[[Sequence[str]], str]
Parse: TypeAlias = "Callable[[str], tuple[Content, Written]]"


class LineError(PcrlError, RuntimeError):
    """A line of the input is not compressed; those before it have been."""


@dataclass(frozen=True)
class Record:
    """A piece of the input.

    Attributes:
        line: Number of its first line, from 1.
        content: What is compressed of it: a text or messages; None: nothing.
        write: Returns the record with shorter texts in place of its own, in order.
        end: The line end that follows it.
    """

    line: int
    content: Content
    write: Written
    end: str


def read_lines(stream: BinaryIO) -> Iterator[list[bytes]]:
    r"""Yield the lines of a stream with their ends, as many at a time as there are.

    What comes in slowly is handed on line by line; a file comes in large portions. Only `\n` ends
    a line.
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
    """Yield the records of lines, one each, as many at a time as there are lines.

    `parse` returns what is compressed of a text and how it is written back, or raises a ValueError
    that says what the line is or has.

    Raises:
        LineError: If a line cannot be read; the records before it have been yielded.
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
    """Return UTF-8 text that begins in the line of a number.

    Raises:
        LineError: If it is none.
    """
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        before = content[: error.start]
        raise LineError(
            f"line {number + before.count(10)} is not UTF-8: byte 0x{content[error.start]:02x} at "
            f"its place {error.start - before.rfind(10)}; convert the input to UTF-8"
        ) from error


def whole_text(text: str) -> tuple[Content, Written]:
    """Parse a record of which all is compressed."""
    return text, lambda texts: texts[0]
