"""Record files to tables with the kernel's columns, piece by piece. I/O: reads Parquet files.

Types are checked before anything is decided: a mass that is a float or a time without a zone would silently change what
counts.
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from hub.clearing.errors import ClearingInputError
from hub.clearing.kernel.encode import NOT_A_QUANTITY
from hub.clearing.kernel.rows import I64

BATCH_ROWS = 1 << 16
"""Rows that are encoded together: as many as stay near the processor while their columns are filled in."""
PIECE_ROWS = 1 << 18
"""Rows that one thread reads of a file at a time, so that a single large file occupies all of them."""
MICRO = 1_000_000
MOST_UNITS = 10**12
"""decimal(18,6) holds less; a float beyond it is no quantity."""


def _is_text(kind: pa.DataType) -> bool:
    value = kind.value_type if pa.types.is_dictionary(kind) else kind
    return bool(pa.types.is_string(value) or pa.types.is_large_string(value) or pa.types.is_string_view(value))


def _is_moment(kind: pa.DataType) -> bool:
    return bool(pa.types.is_timestamp(kind) and kind.unit == "us" and kind.tz in ("UTC", "+00:00", "Etc/UTC"))


def _is_quantity(kind: pa.DataType) -> bool:
    if pa.types.is_decimal128(kind):
        return bool(kind.precision <= 18 and 0 <= kind.scale <= 6)
    return bool(pa.types.is_float64(kind))


# name -> (what it must be, the test, whether it may be null, whether it may be absent)
COLUMNS: dict[str, tuple[str, Callable[[pa.DataType], bool], bool, bool]] = {
    "record_id": ("int64", pa.types.is_int64, False, False),
    "subject_id": ("int64", pa.types.is_int64, False, False),
    "platform": ("string", _is_text, False, False),
    "role": ("string", _is_text, False, False),
    "behaviour": ("string", _is_text, False, False),
    "start_at": ("timestamp[us, UTC]", _is_moment, False, False),
    "end_at": ("timestamp[us, UTC]", _is_moment, False, False),
    "precision": ("string", _is_text, False, False),
    "quantity": ("decimal(18,6) or float64", _is_quantity, True, False),
    "unit": ("string", _is_text, True, True),
    "event_key": ("uint64", pa.types.is_uint64, True, False),
    "payment_key": ("uint64", pa.types.is_uint64, True, False),
    "region": ("int32", pa.types.is_int32, True, False),
    "claimed_mg": ("int64", pa.types.is_int64, True, False),
}
READ = list(COLUMNS)
WORDS = ["platform", "role", "behaviour", "precision", "unit"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordFile:
    """One input file whose columns are as they must be."""

    path: Path
    name: str
    """Relative to the folder of records, for messages and the manifest."""
    rows: int
    columns: tuple[str, ...]
    """Those of READ that it has."""
    groups: tuple[int, ...]
    """Rows of each of its row groups."""

    def pieces(self) -> list[tuple[int, ...]]:
        """Return its row groups in pieces of some size; at least one."""
        pieces: list[tuple[int, ...]] = []
        piece: tuple[int, ...] = ()
        size = 0
        for number, rows in enumerate(self.groups):
            piece, size = (*piece, number), size + rows
            if size >= PIECE_ROWS:
                pieces.append(piece)
                piece, size = (), 0
        return [*pieces, piece] if piece or not pieces else pieces


def find_files(folder: Path, *, besides: Path | None = None) -> list[Path]:
    """Return all Parquet files below a folder, in order of their names; those below `besides` are not input.

    Raises:
        ClearingInputError: there is no such folder.
    """
    if not folder.is_dir():
        raise ClearingInputError(f"{folder} is not a folder of records")
    skipped = besides.resolve() if besides else None
    found = sorted(path for path in folder.rglob("*.parquet") if path.is_file())
    return [path for path in found if skipped is None or skipped not in path.resolve().parents]


def open_file(path: Path, folder: Path) -> RecordFile:
    """Check one file's columns and types.

    Raises:
        ClearingInputError: it cannot be read, or a column is missing or of a wrong type; names file and column.
    """
    name = path.relative_to(folder).as_posix()
    try:
        with pq.ParquetFile(path) as file:
            schema, described = file.schema_arrow, file.metadata
            groups = tuple(described.row_group(number).num_rows for number in range(described.num_row_groups))
    except (pa.ArrowException, OSError) as cause:
        raise ClearingInputError(f"{name}: not a readable Parquet file") from cause
    for column, (kind, accepts, nullable, optional) in COLUMNS.items():
        places = schema.get_all_field_indices(column)
        if not places and optional:
            continue
        if len(places) != 1:
            raise ClearingInputError(f"{name}: column {column} {'is missing' if not places else 'occurs twice'}")
        found = schema.field(places[0]).type
        # A column in which nobody ever told anything may have no type at all.
        if not accepts(found) and not (nullable and pa.types.is_null(found)):
            raise ClearingInputError(f"{name}: column {column} is {found}, not {kind}")
    present = tuple(column for column in READ if column in schema.names)
    return RecordFile(path=path, name=name, rows=sum(groups), columns=present, groups=groups)


def read_batches(file: RecordFile, groups: Sequence[int]) -> Iterator[pa.Table]:
    """Read records of a file's row groups batch by batch, with `quantity_micro` for `quantity`.

    Raises:
        ClearingInputError: the file ends early or is damaged, or a record has no number.
    """
    try:
        words = [name for name in WORDS if name in file.columns]
        with pq.ParquetFile(file.path, read_dictionary=words) as source:
            # This thread reads by itself: the others are busy with other pieces.
            options = {"row_groups": list(groups), "columns": list(file.columns), "use_threads": False}
            for batch in source.iter_batches(BATCH_ROWS, **options):
                yield with_micro(file, pa.Table.from_batches([batch]))
    except (pa.ArrowException, OSError) as cause:
        raise ClearingInputError(f"{file.name}: not a readable Parquet file") from cause


def digest_file(path: Path) -> str:
    """Return the SHA-256 of a file's bytes in hex."""
    with path.open("rb") as source:
        return hashlib.file_digest(source, "sha256").hexdigest()


def with_micro(file: RecordFile, table: pa.Table) -> pa.Table:
    """Return the records with `quantity_micro` for `quantity`, a unit, and a type for every column.

    Raises:
        ClearingInputError: a record has no number.
    """
    if table["record_id"].null_count:
        raise ClearingInputError(f"{file.name}: column record_id holds nulls")
    for name in table.column_names:
        if pa.types.is_null(table.schema.field(name).type):
            kind = {"quantity": pa.float64(), "unit": pa.string(), "claimed_mg": pa.int64()}.get(name, pa.uint64())
            table = table.set_column(table.schema.get_field_index(name), name, table[name].cast(kind))
    if "unit" not in table.column_names:
        table = table.append_column("unit", pa.nulls(len(table), pa.string()))
    micro = quantity_micro(table["quantity"])
    return table.drop_columns(["quantity"]).append_column("quantity_micro", micro)


def quantity_micro(column: pa.ChunkedArray) -> pa.Array:
    """Return quantities in whole millionths, floats rounded half-even; what is no quantity becomes a negative mark."""
    missing = column.is_null().to_numpy() if column.null_count else None
    if pa.types.is_decimal(column.type):
        values = _unscaled(column) * 10 ** (6 - column.type.scale)
    else:
        told = np.asarray((column.fill_null(0.0) if column.null_count else column).to_numpy(), np.float64)
        sound = (told >= 0) & (told < MOST_UNITS)
        values = np.full(len(told), NOT_A_QUANTITY, np.int64)
        # rint rounds half to even; the product is exact enough: below 10^9 units it is within a tenth of a millionth.
        values[sound] = np.rint(told[sound] * MICRO).astype(np.int64)
    return pa.array(values, pa.int64(), mask=missing)


def _unscaled(column: pa.ChunkedArray) -> I64:
    """Return the integers inside decimal128 values; the low words are enough, since 18 digits fit 64 bits."""
    parts = []
    for chunk in column.chunks:
        words = np.frombuffer(chunk.buffers()[1], np.int64)
        parts.append(words[2 * chunk.offset : 2 * (chunk.offset + len(chunk)) : 2])
    return np.concatenate(parts) if parts else np.zeros(0, np.int64)
