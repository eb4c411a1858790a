"""Rows of a dataclass as Parquet, and Parquet as a pandas frame.

Any tool reads the files. Texts may hold lone surrogates, which have no UTF-8: they are stored as
the three bytes that they would take, and are read back as they were.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import parquet as pq

if TYPE_CHECKING:
    from pathlib import Path

    from pandas import DataFrame

_RANGE = pa.struct([("start", pa.int32()), ("end", pa.int32())])
_RANGES = pa.list_(pa.field("element", _RANGE))
_TYPES = {
    "str": pa.string(),
    "int": pa.int64(),
    "float": pa.float64(),
    "tuple[tuple[int, int], ...]": _RANGES,
}


def schema_of(row: type) -> pa.Schema:
    """Return the columns of a dataclass, whose annotations are strings; "| None" may be null.

    Example:
        >>> from benchmarks.records import Record
        >>> str(schema_of(Record).field("reward")), str(schema_of(Record).field("gold_rouge_l"))
        ('pyarrow.Field<reward: double not null>', 'pyarrow.Field<gold_rouge_l: double>')
    """
    kinds = {name: kind.partition(" | None") for name, kind in row.__annotations__.items()}
    return pa.schema(
        pa.field(name, _TYPES[kind], nullable=bool(none)) for name, (kind, none, _) in kinds.items()
    )


def to_table(rows: Sequence[Any], schema: pa.Schema) -> pa.Table:
    """Return rows as a table.

    Raises:
        ValueError: If a figure is missing, is not finite or of another type.
    """
    columns = []
    for field in schema:
        values = [getattr(row, field.name) for row in rows]
        if field.type == pa.string():
            texts = [text.encode("utf-8", "surrogatepass") for text in values]
            columns.append(pa.array(texts, pa.binary()).view(pa.string()))
        elif field.type == _RANGES:
            ranges = [[{"start": start, "end": end} for start, end in own] for own in values]
            columns.append(pa.array(ranges, _RANGES))
        else:
            columns.append(pa.array(values, field.type))
    table = pa.Table.from_arrays(columns, schema=schema)
    _check_figures(table)
    return table


def to_bytes(table: pa.Table, level: int = 3) -> bytes:
    """Return a table as the content of a Parquet file, compressed by zstd at a level."""
    sink = pa.BufferOutputStream()
    pq.write_table(
        table, sink, compression="zstd", compression_level=level, write_page_checksum=True
    )
    content: bytes = sink.getvalue().to_pybytes()
    return content


def read_table(file: Path, schema: pa.Schema) -> pa.Table:
    """Read a file of `to_bytes`.

    Raises:
        ValueError: If it is damaged, or has other columns; the file is not named.
    """
    try:
        with pq.ParquetFile(file, page_checksum_verification=True) as opened:
            table = opened.read()
    except (OSError, pa.ArrowException) as error:
        raise ValueError(f"it cannot be read: {error}") from error
    if not table.schema.equals(schema):
        expected, got = ({(f.name, str(f.type)) for f in s} for s in (schema, table.schema))
        raise ValueError(
            f"expected {len(schema)} columns in their order; missing {sorted(expected - got)}, "
            f"unknown {sorted(got - expected)}"
        )
    _check_figures(table)
    return table


def _check_figures(table: pa.Table) -> None:
    for field, column in zip(table.schema, table.columns, strict=True):
        if column.null_count and not field.nullable:
            raise ValueError(f"{field.name} is missing in {column.null_count} rows")
        if field.type == pa.float64() and pc.all(pc.is_finite(column)).as_py() is False:
            raise ValueError(f"{field.name} must be finite, got NaN or infinity")


def to_frame(table: pa.Table) -> DataFrame:
    """Return a table as a frame: texts and lists of ranges are objects, a missing figure is NaN.

    Equal texts are one object, so that a prompt takes its room once.
    """
    import numpy as np
    import pandas as pd

    columns = {}
    for field, column in zip(table.schema, table.columns, strict=True):
        if field.type == pa.string():
            coded = column.cast(pa.binary()).dictionary_encode().combine_chunks()
            texts = [text.decode("utf-8", "surrogatepass") for text in coded.dictionary.to_pylist()]
            column = np.array(texts, dtype=object)[coded.indices.to_numpy()]
            columns[field.name] = pd.Series(column, dtype=object)
        elif field.type == _RANGES:
            ranges = column.combine_chunks()
            ends = [ranges.values.field(side).to_pylist() for side in ("start", "end")]
            pairs = list(zip(*ends, strict=True))
            own = [pairs[a:b] for a, b in pairwise(ranges.offsets.to_pylist())]
            columns[field.name] = pd.Series(own, dtype=object)
        else:
            own = column.to_pandas()
            columns[field.name] = own.astype(float) if field.nullable else own
    return pd.DataFrame(columns)
