"""Conversion of dataclass rows to Parquet, and of Parquet to pandas frames.

The files are readable by any Parquet tool. Texts may contain lone surrogates, which have no UTF-8
encoding: they are stored as the three bytes that they would take, and restored on reading.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from io import BytesIO
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import parquet as pq

from pcrl_gym.errors import RunFolderError

if TYPE_CHECKING:
    from pathlib import Path

    from pandas import DataFrame

_RANGES = pa.list_(pa.field("element", pa.struct([("start", pa.int32()), ("end", pa.int32())])))
_TYPES = {
    "str": pa.string(),
    "int": pa.int64(),
    "float": pa.float64(),
    "tuple[tuple[int, int], ...]": _RANGES,
}


def schema_of(row: type) -> pa.Schema:
    """Return the columns of a dataclass with string annotations; "| None" makes one nullable."""
    kinds = {name: kind.partition(" | None") for name, kind in row.__annotations__.items()}
    return pa.schema(
        pa.field(name, _TYPES[kind], nullable=bool(none)) for name, (kind, none, _) in kinds.items()
    )


def to_table(rows: Sequence[Any], schema: pa.Schema) -> pa.Table:
    """Return rows as a table; raise ValueError if a value is not finite or of another type."""
    columns = []
    for field in schema:
        values = [getattr(row, field.name) for row in rows]
        if field.type == pa.string():
            texts = [text.encode("utf-8", "surrogatepass") for text in values]
            columns.append(pa.array(texts, pa.binary()).view(pa.string()))
        else:
            columns.append(pa.array(values, field.type))
    table = pa.Table.from_arrays(columns, schema=schema)
    _check_finite(table)
    return table


def to_bytes(table: pa.Table, level: int = 3) -> bytes:
    """Return a table as a Parquet file; raise ValueError if a required value is missing."""
    file = BytesIO()
    options = {"compression": "zstd", "compression_level": level, "write_page_checksum": True}
    pq.write_table(table, file, **options)
    return file.getvalue()


def read_table(file: Path, schema: pa.Schema, later: Collection[str] = ()) -> pa.Table:
    """Read a file of `to_bytes`; raise RunFolderError if it is damaged or has other columns.

    Columns added `later` than the file are empty.
    """
    try:
        with pq.ParquetFile(file, page_checksum_verification=True) as opened:
            table = opened.read()
        for place, field in enumerate(schema):
            if field.name in later and field.name not in table.schema.names:
                table = table.add_column(place, field, pa.nulls(len(table), field.type))
        if not table.schema.equals(schema):
            expected, got = ({(f.name, str(f.type)) for f in s} for s in (schema, table.schema))
            missing, unknown = sorted(expected - got), sorted(got - expected)
            raise ValueError(f"its columns differ: missing {missing}, unknown {unknown}")
        _check_finite(table)
    except (OSError, ValueError, pa.ArrowException) as error:
        raise RunFolderError(
            f"{file}: cannot be read: {error}. Delete the file, and run the same command again to "
            "evaluate that part"
        ) from error
    return table


def column_names(file: Path) -> list[str]:
    """Return the columns of a file of `to_bytes`; empty if it is damaged, see `read_table`."""
    try:
        names: list[str] = pq.read_schema(file).names
    except (OSError, ValueError, pa.ArrowException):
        return []
    return names


def _check_finite(table: pa.Table) -> None:
    for field, column in zip(table.schema, table.columns, strict=True):
        if field.type == pa.float64() and pc.all(pc.is_finite(column)).as_py() is False:
            raise ValueError(f"{field.name} must be finite, got NaN or infinity")


def to_frame(table: pa.Table) -> DataFrame:
    """Return a table as a frame: texts and lists of ranges are objects, missing values NaN.

    Equal texts share one object to save memory.
    """
    import numpy as np
    import pandas as pd

    columns = {}
    for field, column in zip(table.schema, table.columns, strict=True):
        if field.type == pa.string():
            coded = column.cast(pa.binary()).dictionary_encode().combine_chunks()
            texts = [text.decode("utf-8", "surrogatepass") for text in coded.dictionary.to_pylist()]
            own = np.array(texts, dtype=object)[coded.indices.to_numpy()]
            columns[field.name] = pd.Series(own, dtype=object)
        elif field.type == _RANGES:
            ranges = column.combine_chunks()
            pairs = list(zip(*(end.to_pylist() for end in ranges.values.flatten()), strict=True))
            own = [pairs[a:b] for a, b in pairwise(ranges.offsets.to_pylist())]
            columns[field.name] = pd.Series(own, dtype=object)
        else:
            own = column.to_pandas()
            columns[field.name] = own.astype(float) if field.nullable else own
    return pd.DataFrame(columns)
