"""The rows of a dropped Parquet file as JSON documents, every value as exact as it was stored. Pure.

Whole numbers stay whole numbers, decimals become texts (`"6.00"`), dates and times become ISO texts; a binary float is
written as the shortest text that reads as the same float, in its own width. Nested columns, bytes and durations are
refused: what they mean has to be agreed first. Texts are read through their dictionary, so that a long text that is
stored once and used in every row is not multiplied; for the same reason other values have a bounded width. How much comes
out of the pages is told by the pages' own headers (`parquet_pages.py`), not by the footer alone.
"""

import json
from collections.abc import Callable, Iterator
from datetime import UTC
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from connectors.base import SetAside, Unreadable
from connectors.profiles.parquet_pages import MAX_PAGES, Chunk, PagesError, unpressed_sizes

MAX_COLUMNS = 256
MAX_ROW_GROUPS = 10_000
MAX_ROW_BYTES = 64 * 1024
MAX_WIDTH = 32  # bytes of a value of fixed length: the widest decimal
_BATCH_ROWS = 4096
_TOO_LONG = " " * (MAX_ROW_BYTES + 1)  # stands for a text that makes its row too long whatever it says
_TOO_LONG_DETAIL = "The row is longer than 64 KiB."
_CODECS = {"UNCOMPRESSED", "SNAPPY", "GZIP", "ZSTD", "BROTLI", "LZ4", "LZ4_RAW"}

Cells = list[str | None]
"""A column of a batch as JSON texts; None: a value that JSON does not have (NaN, infinity)."""


def parse_parquet(data: bytes, *, first: int, most_bytes: int, most_rows: int) -> Iterator[bytes | Unreadable]:
    """Read the rows of one file whose digest has been checked.

    Args:
        first: position of the file's first row in the drop.
        most_bytes: bound of the inflated columns, and of the rows written out.

    Raises:
        SetAside: the file as a whole cannot be read, or is larger than its bounds.
    """
    try:
        file = _open(data)
        names = _require_bounds(file, most_bytes=most_bytes, most_rows=most_rows)
        _require_pages(data, file.metadata, most_bytes=most_bytes)
        written, position = 0, first
        for batch in file.iter_batches(batch_size=_BATCH_ROWS, use_threads=False):
            batch.validate(full=True)  # a place in a dictionary that it does not have, half a character
            columns = [_write_column(batch.column(index)) for index in range(len(names))]
            for number in range(batch.num_rows):
                entry = _write_row(names, [column[number] for column in columns], position)
                if isinstance(entry, bytes):
                    written += len(entry)
                    if written > most_bytes:
                        raise SetAside("file_too_large")
                yield entry
                position += 1
    except (pa.ArrowException, PagesError, OSError, ValueError, OverflowError, KeyError, IndexError):
        raise SetAside("file_parquet") from None


def _open(data: bytes) -> pq.ParquetFile:
    bounds = {"thrift_string_size_limit": 1 << 20, "thrift_container_size_limit": 1 << 17}
    told = pq.ParquetFile(pa.BufferReader(data), **bounds)
    columns = [told.schema.column(index) for index in range(min(told.metadata.num_columns, MAX_COLUMNS + 1))]
    texts = [column.path for column in columns if column.physical_type == "BYTE_ARRAY" and column.path == column.name]
    return pq.ParquetFile(pa.BufferReader(data), read_dictionary=texts, pre_buffer=False, **bounds)


def _require_bounds(file: pq.ParquetFile, *, most_bytes: int, most_rows: int) -> list[bytes]:
    told = file.metadata
    if told.num_columns > MAX_COLUMNS or told.num_row_groups > MAX_ROW_GROUPS:
        raise SetAside("file_too_large")
    if told.num_rows > most_rows:
        raise SetAside("file_row_count")
    chunks = [
        told.row_group(group).column(index) for group in range(told.num_row_groups) for index in range(told.num_columns)
    ]
    if sum(max(chunk.total_uncompressed_size, 0) for chunk in chunks) > most_bytes:
        raise SetAside("file_too_large")
    if not all(chunk.compression in _CODECS for chunk in chunks):
        raise SetAside("file_parquet")
    names = file.schema_arrow.names
    if not names or not all(names) or len(set(names)) != len(names):
        raise SetAside("file_header")
    if not all(_is_readable(field.type) for field in file.schema_arrow):
        raise SetAside("file_column_type")
    if any(file.schema.column(index).length > MAX_WIDTH for index in range(told.num_columns)):
        raise SetAside("file_column_type")
    return [json.dumps(name, ensure_ascii=False).encode() for name in names]


def _require_pages(data: bytes, told: pq.FileMetaData, *, most_bytes: int) -> None:
    """Walk the headers of all pages: their sizes, too, must be within the bound."""
    left, pages = most_bytes, MAX_PAGES
    for group in map(told.row_group, range(told.num_row_groups)):
        for column in map(group.column, range(told.num_columns)):
            first = column.data_page_offset
            if column.has_dictionary_page and 0 < column.dictionary_page_offset < first:
                first = column.dictionary_page_offset
            if column.num_values != group.num_rows:  # of a column without nesting
                raise SetAside("file_parquet")
            chunk = Chunk(start=first, length=column.total_compressed_size, values=column.num_values)
            for size in unpressed_sizes(data, chunk):
                left, pages = left - size, pages - 1
                if left < 0 or pages < 0:
                    raise SetAside("file_too_large")


def _is_readable(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return any(
        is_kind(kind)
        for is_kind in (
            pa.types.is_null,
            pa.types.is_boolean,
            pa.types.is_integer,
            pa.types.is_floating,
            pa.types.is_decimal,
            pa.types.is_string,
            pa.types.is_large_string,
            pa.types.is_date,
            pa.types.is_timestamp,
        )
    )


def _write_column(column: pa.Array) -> Cells:
    if pa.types.is_dictionary(column.type):
        words = _write_column(column.dictionary)
        return ["null" if place is None else words[place] for place in column.indices.to_pylist()]
    write = _writer(column.type)
    if pa.types.is_floating(column.type):
        missing = column.is_null().to_pylist()
        values = column.to_numpy(zero_copy_only=False)
        return ["null" if none else write(value) for value, none in zip(values, missing, strict=True)]
    if pa.types.is_timestamp(column.type):
        column = column.cast(pa.timestamp("us", tz=column.type.tz))  # nanoseconds that are none are not cut off
    return ["null" if value is None else write(value) for value in column.to_pylist()]


def _writer(kind: pa.DataType) -> Callable[[Any], str | None]:
    if pa.types.is_boolean(kind):
        return lambda value: "true" if value else "false"
    if pa.types.is_integer(kind):
        return str
    if pa.types.is_floating(kind):
        return _write_float
    if pa.types.is_decimal(kind):
        return _write_decimal
    if pa.types.is_date(kind):
        return lambda value: f'"{value.isoformat()}"'
    if pa.types.is_timestamp(kind):
        return _write_instant if kind.tz is not None else lambda value: f'"{value.isoformat(sep=" ")}"'
    return _write_text


def _write_float(value: np.floating[Any]) -> str | None:
    return str(value) if np.isfinite(value) else None


def _write_text(value: str) -> str:
    return json.dumps(value, ensure_ascii=False) if len(value) <= MAX_ROW_BYTES else _TOO_LONG


def _write_decimal(value: Decimal) -> str:
    return f'"{value:f}"'


def _write_instant(value: Any) -> str:
    return f'"{value.astimezone(UTC).isoformat()}"'


def _write_row(names: list[bytes], cells: Cells, position: int) -> bytes | Unreadable:
    if None in cells:
        return Unreadable(position=position, reason="not_a_number", detail="A value of the row is no finite number.")
    if (
        sum(len(cell or "") for cell in cells) > MAX_ROW_BYTES
    ):  # before they are joined: one text may stand in every row
        return Unreadable(position=position, reason="too_long", detail=_TOO_LONG_DETAIL)
    pairs = (name + b":" + (cell or "").encode() for name, cell in zip(names, cells, strict=True))
    row = b"{" + b",".join(pairs) + b"}"
    if len(row) > MAX_ROW_BYTES:
        return Unreadable(position=position, reason="too_long", detail=_TOO_LONG_DETAIL)
    return row
