"""Command line: `pcrl-gym compress` shortens prompts, one per line, `demo` serves a page."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from pcrl_gym.cli_tools import attempt, make_parser, parse, positive
from pcrl_gym.demo import command as demo
from pcrl_gym.errors import PcrlError

if TYPE_CHECKING:
    from pcrl_gym.compressor.compression import Compression
    from pcrl_gym.compressor.compressor import Compressor

_CHUNK = 2**16
_EXAMPLES = """\
  echo "Could you please sort: pear, fig" | pcrl-gym compress --show
  pcrl-gym compress --model runs/compressor --rate 0.3 prompts.txt > shorter.txt
  pcrl-gym demo
"""


class LineError(PcrlError, RuntimeError):
    """A line of the input is not compressed; those before it have been."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        arguments: What follows `pcrl-gym`; None for the process's own.

    Returns:
        Exit status: 0 done, also if the reader of the output closed it early; 1 a line of the
        input is not UTF-8 or is refused by `--strict`, or the demo failed; 2 wrong use: arguments,
        missing files, unknown models, extras not installed; 130 interrupted. Arguments that cannot
        be parsed raise `SystemExit(2)`.
    """
    options = parse(_parser(), arguments)
    return attempt(lambda: (_compress if options.command == "compress" else demo.run)(options))


def _compress(options: argparse.Namespace) -> None:
    # Imported late: `--help` and wrong arguments must not wait for torch.
    from pcrl_gym.compressor.compressor import Compressor

    # A missing file is reported before the model is loaded.
    from_stdin = options.file == "-"
    with nullcontext(sys.stdin.buffer) if from_stdin else Path(options.file).open("rb") as stream:
        compressor = Compressor.from_pretrained(options.model, device=options.device)
        if options.strict and compressor.max_tokens_per_word is None:
            raise ValueError(
                f"--strict: {options.model} does not store what its training prompts were like; "
                "export the policy again, or leave --strict out"
            )
        number, warned = 1, False
        for lines in read_lines(stream):
            try:
                for text, known in _compressed_lines(compressor, lines, number, options):
                    if known is False and not warned:
                        warned = True
                        print(
                            f"warning: line {number} is unlike the prompts that {options.model} "
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
    compressor: Compressor, lines: list[bytes], number: int, options: argparse.Namespace
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
        ends.append(line[len(content) :])
    names = ("rate", "force_keep", "keep_digits", "batch_size")
    done = compressor(texts, **{name: getattr(options, name) for name in names})
    for i, (compression, end) in enumerate(zip(done, ends, strict=True)):
        known = compression.in_domain
        if options.strict and not known:
            raise LineError(
                f"line {number + i} is unlike the prompts that {options.model} was trained on; "
                "without --strict it is compressed anyway"
            )
        if options.json:
            row = json.dumps(compression.to_dict(), ensure_ascii=False)
            yield row.encode() + b"\n", known
        else:
            text = _painted(compression) if options.show else compression.text
            yield text.encode() + end, known
    if problem:
        raise problem


def _painted(compression: Compression) -> str:
    """Return the text with its dropped units struck through."""
    import numpy as np

    from pcrl_gym.rendering.frame import Frame
    from pcrl_gym.rendering.text import painted

    assert compression.episode is not None  # a compressor's own
    return painted(Frame(compression.episode, np.array(compression.kept, dtype=np.bool_)))


def _parser() -> argparse.ArgumentParser:
    parser, commands = make_parser("pcrl-gym", "Learned prompt compression.", _EXAMPLES)
    compress = commands.add_parser(
        "compress",
        help="shorten prompts, one per line",
        description="Shorten prompts, one per line of UTF-8 text, with a trained policy. Lines are "
        "answered as they come in.",
    )
    compress.add_argument(
        "file", nargs="?", default="-", metavar="FILE", help="input (default -: standard input)"
    )
    compress.add_argument(
        "--model", default="micro", help='"micro", a folder or a hub id (default micro)'
    )
    compress.add_argument(
        "--rate",
        type=share,
        help="share of each prompt's droppable units to drop, 0 to 1, rounded down (default: as "
        "the policy decides)",
    )
    compress.add_argument(
        "--force-keep",
        action="append",
        default=[],
        type=nonempty,
        metavar="TEXT",
        help="text that is never dropped, with the words it is in; may be given several times",
    )
    compress.add_argument(
        "--keep-digits",
        action="store_true",
        help="never drop numbers (3.5, 2024-05-12, 5 km, SGX1234A, ...)",
    )
    compress.add_argument(
        "--strict",
        action="store_true",
        help="stop at the first line that is unlike the policy's training prompts (exit status 1); "
        "default: compress it and warn once",
    )
    form = compress.add_mutually_exclusive_group()
    form.add_argument(
        "--json", action="store_true", help="print a JSON object per line: text, spans, rates, ..."
    )
    form.add_argument(
        "--show", action="store_true", help="print the whole prompt, what is dropped struck through"
    )
    compress.add_argument(
        "--batch-size", type=positive, default=32, help="texts per pass of the policy (default 32)"
    )
    compress.add_argument("--device", default="auto", help="auto, cpu, cuda, ... (default auto)")
    demo.add_arguments(commands.add_parser("demo", help=demo.HELP, description=demo.ABOUT))
    return parser


def share(text: str) -> float:
    """Return a share between 0 and 1."""
    value = float(text)
    if not 0.0 <= value <= 1.0:
        raise argparse.ArgumentTypeError(f"must be a share between 0 and 1, got {text}")
    return value


def nonempty(text: str) -> str:
    """Return a text that is not empty."""
    if not text:
        raise argparse.ArgumentTypeError("must not be empty")
    return text


if __name__ == "__main__":
    sys.exit(main())
