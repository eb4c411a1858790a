"""The command `pcrl-gym compress`, which compresses prompts as they come in."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO, Literal

from cyclopts import Group, Parameter
from cyclopts.types import NonNegativeFloat, PositiveInt
from cyclopts.validators import MutuallyExclusive, Number

from pcrl_gym.compressor.backends import Backend
from pcrl_gym.compressor.commands.csv_records import csv_records
from pcrl_gym.compressor.commands.json_records import json_field, json_messages
from pcrl_gym.compressor.commands.output import (
    Done,
    as_json,
    as_marked,
    as_text,
    as_tidy_text,
    parts_of,
)
from pcrl_gym.compressor.commands.records import (
    LineError,
    Parse,
    Record,
    line_records,
    read_lines,
    whole_text,
)
from pcrl_gym.compressor.saving import Savings

if TYPE_CHECKING:
    from pcrl_gym.compressor.compressor import Compressor

_AMOUNT = Group("Amount to drop", validator=MutuallyExclusive())  # type: ignore[no-untyped-call]
_PARTS = Group("What to compress")
_FORM = Group("Output format", validator=MutuallyExclusive())  # type: ignore[no-untyped-call]


def compress(
    file: str = "-",
    /,
    *,
    model: str = "instruct",
    rate: Annotated[float | None, Parameter(validator=Number(gte=0, lte=1), group=_AMOUNT)] = None,
    target_tokens: Annotated[PositiveInt | None, Parameter(group=_AMOUNT)] = None,
    tolerance: Annotated[NonNegativeFloat | None, Parameter(group=_AMOUNT)] = None,
    whole_file: Annotated[bool, Parameter(group=_PARTS)] = False,
    field: Annotated[str | None, Parameter(group=_PARTS)] = None,
    messages: Annotated[bool, Parameter(group=_PARTS)] = False,
    force_keep: Annotated[tuple[str, ...], Parameter(consume_multiple=False)] = (),
    keep_digits: bool = False,
    keep: Annotated[tuple[str, ...], Parameter(consume_multiple=False)] = (),
    protect: Literal["constraints"] | None = None,
    strict: bool = False,
    json: Annotated[bool, Parameter(group=_FORM)] = False,
    show: Annotated[bool, Parameter(group=_FORM)] = False,
    exact: Annotated[bool, Parameter(group=_FORM)] = False,
    count_with: str | None = None,
    price: NonNegativeFloat | None = None,
    batch_size: PositiveInt = 32,
    device: str = "auto",
    backend: Backend = "auto",
) -> None:
    """Compress prompts, one per line of UTF-8 text, with a trained policy.

    Lines are processed as they come in. Stray spaces left behind by dropped words are removed.

    Args:
        file: Input file. "-", the default, is standard input.
        model: `"instruct"` or `"micro"`, which ship with the package, a folder, or a hub id.
        rate: Share of each prompt's droppable units to drop, rounded down. By default the rate of
            the model's certificate or, without one, the policy decides.
        target_tokens: Maximum number of remaining tokens of each prompt or conversation.
        tolerance: Drop as much of each prompt as is expected to lower the log-probability of the
            model's own answer by at most this many nats per token. Requires a calibrated policy.
        whole_file: Treat the input as one prompt.
        field: Compress this field of each line, a JSON object, or this column of each row of a
            `.csv` file, and keep the others. `a.b` is a field of the object in `a`.
        messages: Compress the user messages of each line, a JSON list of chat messages or an object
            with one in `--field`, by default "messages". A `.json` file holds one such value.
        force_keep: Text that is kept, including the words that contain it. Can be repeated.
        keep_digits: Never drop numbers (3.5, 2024-05-12, 5 km, SGX1234A, ...).
        keep: Regular expression whose matches are kept, including the words that contain them. Can
            be repeated.
        protect: `constraints`: never drop words such as not, at most, must, and JSON.
        strict: Stop with exit status 1 at the first line that is unlike the policy's training
            prompts. By default such lines are compressed, with one warning.
        json: Print a JSON object per prompt: text, spans, rates, certificate, ...
        show: Print the whole prompt, with the dropped parts struck through.
        exact: Print every remaining space.
        count_with: Token counter: an OpenAI model such as `gpt-4o`, a folder, or a hub id; by
            default the policy's tokenizer. A last line on stderr reports the savings.
        price: Dollars per million tokens. That line reports the savings of 1,000 calls.
        batch_size: Texts per pass of the policy.
        device: `"auto"`, `"cpu"`, `"cuda"`, ...
        backend: `"onnx"` uses ONNX Runtime, which starts faster, and `"int8"` also computes with
            8-bit integers, which is faster on one core but may drop other words. By default torch,
            if installed.
    """
    if "" in force_keep:
        raise ValueError("--force-keep must not be empty")
    # Imported late: `--help` and wrong arguments must not wait for torch.
    from pcrl_gym.compressor.compressor import Compressor

    # A missing file is reported before the model is loaded.
    with nullcontext(sys.stdin.buffer) if file == "-" else Path(file).open("rb") as stream:
        portions = _portions(stream, Path(file), field, messages, whole_file)
        compressor = Compressor.from_pretrained(model, device=device, backend=backend)
        if strict and compressor.max_tokens_per_word is None:
            raise ValueError(
                f"--strict needs statistics of the training prompts, but {model} has none: export "
                "the policy again, or leave out --strict"
            )
        settings: dict[str, Any] = {
            "rate": rate, "target_tokens": target_tokens, "tolerance": tolerance,
            "count_with": count_with, "batch_size": batch_size,
            "force_keep": force_keep, "keep_digits": keep_digits, "keep": keep, "protect": protect,
        }  # fmt: skip
        compressor([], **settings)  # raises for wrong settings before any line is processed
        form = as_json if json else as_marked if show else as_text if exact else as_tidy_text
        warned = False
        savings = Savings()
        with _progress(file) as bar:
            for records in portions:
                try:
                    for record, done in compress_records(compressor, records, settings):
                        foreign = any(part.in_domain is False for part in parts_of(done))
                        if foreign and strict:
                            raise LineError(
                                f"line {record.line} is unlike the prompts that {model} was "
                                "trained on: leave out --strict to compress it anyway"
                            )
                        if foreign and not warned:
                            warned = True
                            bar.write(_warning(record.line, model), file=sys.stderr)
                        sys.stdout.buffer.write(form(record, done).encode())
                        if done is not None:
                            savings.add(done)
                finally:
                    sys.stdout.buffer.flush()
                if not bar.disable:
                    bar.update(stream.tell() - bar.n)
    if price is not None or count_with is not None:
        print(f"{savings.calls:,} prompts: {savings.summary(price)}", file=sys.stderr)


def _warning(line: int, model: str) -> str:
    return (
        f"warning: line {line} is unlike the prompts that {model} was trained on, so the choice of "
        "dropped words may be arbitrary. Further lines are not reported: --json marks each one "
        '("in_domain": false), and --strict stops at the first.'
    )


def _portions(
    stream: BinaryIO, path: Path, field: str | None, messages: bool, whole_file: bool
) -> Iterator[list[Record]]:
    """Return the records of the input in batches, as they become available."""
    if field == "":
        raise ValueError("--field must not be empty")
    suffix = path.suffix.lower()
    if suffix == ".csv" and field is not None and not messages:
        if whole_file:
            raise ValueError("--whole-file cannot be combined with --field and a CSV file")
        return csv_records(stream, path, field)
    parse: Parse = whole_text
    if messages:
        parse = json_messages(field or "messages")
    elif field is not None:
        parse = json_field(field)
    whole = whole_file or (parse is not whole_text and suffix == ".json")
    return line_records(_whole(stream) if whole else read_lines(stream), parse)


def _whole(stream: BinaryIO) -> Iterator[list[bytes]]:
    yield [stream.read()]


def _progress(file: str) -> Any:
    """Return a progress bar over the input's bytes, disabled if it would not be visible."""
    from pcrl_gym.progress import progress_bar

    # On a terminal, it would mix with the output.
    seen = Path(file).is_file() and sys.stderr.isatty() and not sys.stdout.isatty()
    size = Path(file).stat().st_size if seen else None
    return progress_bar(total=size, unit="B", unit_scale=True, leave=False, disable=not seen)


def compress_records(
    compressor: Compressor, records: list[Record], settings: dict[str, Any]
) -> Iterable[tuple[Record, Done]]:
    """Return records with their results, including those before a rejected record.

    Raises:
        LineError: If the compressor rejects a record.
    """
    texts = [record.content for record in records if isinstance(record.content, str)]
    try:
        compressions = iter(compressor(texts, **settings))
        done = [
            None
            if record.content is None
            else next(compressions)
            if isinstance(record.content, str)
            else compressor(messages=record.content, **settings)
            for record in records
        ]
    except ValueError as error:
        if len(records) == 1:
            raise LineError(f"line {records[0].line}: {error}") from error
        return (
            pair for record in records for pair in compress_records(compressor, [record], settings)
        )
    return zip(records, done, strict=True)
