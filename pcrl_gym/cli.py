"""Command line: `pcrl-gym compress` shortens prompts; `calibrate` certifies it, `demo` shows it."""

from __future__ import annotations

import json as json_format
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO

from cyclopts import Group, Parameter
from cyclopts.types import PositiveInt
from cyclopts.validators import MutuallyExclusive, Number

from pcrl_gym.cli_tools import add_commands, make_app, run_app
from pcrl_gym.errors import PcrlError

if TYPE_CHECKING:
    from pcrl_gym.compressor.compression import Compression
    from pcrl_gym.compressor.compressor import Compressor

_CHUNK = 2**16
_FORM = Group("Form of the output", validator=MutuallyExclusive())  # type: ignore[no-untyped-call]
_COMMANDS = {
    "pcrl_gym.cli:compress": "--rate 0.3 prompts.txt > shorter.txt",
    "pcrl_gym.compressor.calibrate_command:calibrate": "prompts.jsonl --generator gpt2 --out safe",
    "pcrl_gym.demo.command:demo": "--model micro runs/compressor",
}

app = make_app("pcrl-gym", "Learned prompt compression.", "pcrl-gym compress --show prompts.txt")
add_commands(app, "pcrl-gym", _COMMANDS)


class LineError(PcrlError, RuntimeError):
    """A line of the input is not compressed; those before it have been."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        arguments: What follows `pcrl-gym`; None for the process's own.

    Returns:
        Exit status: 0 done, also if the reader of the output closed it early; 1 a line of the
        input is not UTF-8 or is refused by `--strict`, or the demo failed; 2 wrong use: arguments,
        missing files, unknown models, extras not installed; 130 interrupted.
    """
    words = sys.argv[1:] if arguments is None else arguments
    # A hyphen stands for the default file, and would be read as an option.
    kept = [w for before, w in pairwise(["", *words]) if w != "-" or before == "--force-keep"]
    return run_app(app, kept)


def compress(
    file: str = "-",
    /,
    *,
    model: str = "micro",
    rate: Annotated[float | None, Parameter(validator=Number(gte=0, lte=1))] = None,
    force_keep: Annotated[tuple[str, ...], Parameter(consume_multiple=False)] = (),
    keep_digits: bool = False,
    strict: bool = False,
    json: Annotated[bool, Parameter(group=_FORM)] = False,
    show: Annotated[bool, Parameter(group=_FORM)] = False,
    batch_size: PositiveInt = 32,
    device: str = "auto",
) -> None:
    """Shorten prompts, one per line of UTF-8 text, with a trained policy.

    Lines are answered as they come in.

    Args:
        file: Input; "-", and none, is standard input.
        model: `"micro"`, a folder or a hub id.
        rate: Share of each prompt's droppable units to drop, rounded down; by default that of the
            model's certificate or, without one, as the policy decides.
        force_keep: Text that is never dropped, with the words it is in; may be given several
            times.
        keep_digits: Never drop numbers (3.5, 2024-05-12, 5 km, SGX1234A, ...).
        strict: Stop at the first line that is unlike the policy's training prompts, with exit
            status 1; otherwise it is compressed, with one warning.
        json: Print a JSON object per line: text, spans, rates, certificate, ...
        show: Print the whole prompt, what is dropped struck through.
        batch_size: Texts per pass of the policy.
        device: `"auto"`, `"cpu"`, `"cuda"`, ...
    """
    if "" in force_keep:
        raise ValueError("--force-keep must not be empty")
    # Imported late: `--help` and wrong arguments must not wait for torch.
    from pcrl_gym.compressor.compressor import Compressor

    # A missing file is reported before the model is loaded.
    with nullcontext(sys.stdin.buffer) if file == "-" else Path(file).open("rb") as stream:
        compressor = Compressor.from_pretrained(model, device=device)
        if strict and compressor.max_tokens_per_word is None:
            raise ValueError(
                f"--strict: {model} does not store what its training prompts were like; "
                "export the policy again, or leave --strict out"
            )
        written = _json_line if json else _painted if show else _text
        settings = {"rate": rate, "force_keep": force_keep, "keep_digits": keep_digits}
        settings["batch_size"] = batch_size
        number, warned = 1, False
        for lines in read_lines(stream):
            try:
                done = _compressed_lines(compressor, lines, number, written, settings)
                for text, known in done:
                    if strict and not known:
                        raise LineError(
                            f"line {number} is unlike the prompts that {model} was trained on; "
                            "without --strict it is compressed anyway"
                        )
                    if known is False and not warned:
                        warned = True
                        print(
                            f"warning: line {number} is unlike the prompts that {model} "
                            "was trained on, and what is dropped may be arbitrary. Later lines are "
                            'not reported: --json marks each ("in_domain": false), --strict stops '
                            "at the first.",
                            file=sys.stderr,
                        )
                    sys.stdout.buffer.write(text)
                    number += 1
            finally:
                sys.stdout.buffer.flush()


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


def _compressed_lines(
    compressor: Compressor,
    lines: list[bytes],
    number: int,
    written: Callable[[Compression, str], str],
    settings: dict[str, Any],
) -> Iterator[tuple[bytes, bool | None]]:
    """Yield the output for some lines and whether each is in the policy's domain.

    Lines before one that is not compressed still come out.
    """
    texts, ends, problem = [], [], None
    for i, line in enumerate(lines):
        content = line.rstrip(b"\r\n") if line.endswith(b"\n") else line
        try:
            texts.append(content.decode())
        except UnicodeDecodeError as error:
            problem = LineError(
                f"line {number + i} is not UTF-8: byte 0x{content[error.start]:02x} at its "
                f"place {error.start + 1}; convert the input to UTF-8"
            )
            break
        ends.append(line[len(content) :].decode())
    for compression, end in zip(compressor(texts, **settings), ends, strict=True):
        yield written(compression, end).encode(), compression.in_domain
    if problem:
        raise problem


def _text(compression: Compression, end: str) -> str:
    return compression.text + end


def _json_line(compression: Compression, end: str) -> str:
    return json_format.dumps(compression.to_dict(), ensure_ascii=False) + "\n"


def _painted(compression: Compression, end: str) -> str:
    """Return the text with its dropped units struck through."""
    import numpy as np

    from pcrl_gym.rendering.frame import Frame
    from pcrl_gym.rendering.text import painted

    assert compression.episode is not None  # a compressor's own
    frame = Frame(compression.episode, np.array(compression.kept, dtype=np.bool_))
    return painted(frame) + end


if __name__ == "__main__":
    sys.exit(main())
