"""Tables of whole numbers as bytes in few large rows: how records travel between the executors of a cluster. Pure.

A cluster that moved a row per record would spend most of its time on rows. Bytes also carry what it has no type for:
unsigned numbers of 64 bits.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import numpy as np
import orjson
import polars as pl
import pyarrow as pa

from hub.clearing.kernel.encode import chosen_rows
from hub.clearing.kernel.facts import KEYS, RIDES
from hub.clearing.kernel.rows import I64, ROW, Table

BLOB_BYTES = 1 << 20
BATCH_BYTES = 1 << 22
ARROW = pa.schema(
    [
        ("place", pa.int32()),
        ("kind", pa.int8()),
        ("number", pa.int32()),
        ("names", pa.list_(pa.string())),
        ("content", pa.binary()),
    ]
)
DDL = "place int, kind tinyint, number int, names array<string>, content binary"
"""The same in Spark's words."""
# A record of an earlier run: what was decided about it. `stands` is 0 if it stands in nobody's way.
DECIDED = np.dtype([("record", "i8"), ("event", "i8"), ("counted", "i8"), ("stands", "i1")])
KEY, RIDE = (pl.DataFrame(schema=schema).to_numpy(structured=True).dtype for schema in (KEYS, RIDES))
JUNK = np.dtype([("kind", "u1"), ("key", "u8")])
OWNER = np.dtype([("event_key", "u8"), ("owner", "i8")])


class Kind(IntEnum):
    """What a blob's content is: bytes of a table, or JSON."""

    ROWS = 0
    """ROW; platforms are places in `names`, which are in alphabetical order."""
    BAD = 1
    """BAD; platforms likewise."""
    IDS = 2
    """Record numbers of the file `number`."""
    DECIDED = 3
    """DECIDED of the earlier run `number`."""
    KEYS = 4
    RIDES = 5
    JUNK = 6
    OWNERS = 7
    TOLD = 8
    """A JSON object for the driver."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Blob:
    """One row on its way to a place."""

    place: int
    kind: Kind
    content: Any
    """Bytes or a buffer."""
    number: int = 0
    names: tuple[str, ...] = ()


def told(**document: Any) -> Blob:
    """Return a message for the driver; it may be at any place."""
    return Blob(place=0, kind=Kind.TOLD, content=orjson.dumps(document))


def exact_bytes(table: Table) -> bytes:
    """Return a table's bytes, which are the same whenever its values are.

    What lies between the fields of a packed row is whatever was in memory. Spark compares what a task sends with what it
    sent when it is done again, and gives the whole job up if that differs.
    """
    raw = np.frombuffer(bytearray(table.tobytes()), np.uint8).reshape(len(table), table.dtype.itemsize)
    between = np.ones(table.dtype.itemsize, bool)
    for dtype, offset in (field[:2] for field in (table.dtype.fields or {"": (table.dtype, 0)}).values()):
        between[offset : offset + dtype.itemsize] = False
    raw[:, between] = 0
    return raw.tobytes()


def scattered(kind: Kind, table: Table, places: I64, *, number: int = 0, names: tuple[str, ...] = ()) -> Iterator[Blob]:
    """Give a table's rows as blobs, each for the place of its rows."""
    order = np.argsort(places, kind="stable")
    arranged, of_each = chosen_rows(table, order) if table.dtype == ROW else table[order], places[order]
    edges = np.flatnonzero(np.diff(of_each)) + 1
    for begin, end in zip([0, *edges.tolist()], [*edges.tolist(), len(table)], strict=True) if len(table) else ():
        for piece in pieces(arranged[begin:end]):
            yield Blob(place=int(of_each[begin]), kind=kind, content=exact_bytes(piece), number=number, names=names)


def pieces(table: Table) -> Iterator[Table]:
    """Cut a table into blobs' sizes, in order."""
    step = max(BLOB_BYTES // table.dtype.itemsize, 1)
    for begin in range(0, len(table), step):
        yield table[begin : begin + step]


def to_batches(blobs: Iterable[Blob]) -> Iterator[pa.RecordBatch]:
    """Give blobs as Arrow, a few megabytes at a time."""
    held: list[Blob] = []
    size = 0
    for blob in blobs:
        held.append(blob)
        size += len(blob.content)
        if size >= BATCH_BYTES:
            yield _batch(held)
            held, size = [], 0
    if held:
        yield _batch(held)


def _batch(blobs: list[Blob]) -> pa.RecordBatch:
    columns = [pa.array([getattr(blob, name) for blob in blobs], ARROW.field(name).type) for name in ARROW.names[:4]]
    ends = np.cumsum([0, *(len(blob.content) for blob in blobs)], dtype=np.int32)
    content = b"".join(memoryview(blob.content) for blob in blobs)
    buffers = [None, pa.py_buffer(ends), pa.py_buffer(content)]
    return pa.RecordBatch.from_arrays([*columns, pa.Array.from_buffers(pa.binary(), len(blobs), buffers)], schema=ARROW)


def gather(batches: Iterable[pa.RecordBatch]) -> tuple[int, dict[Kind, list[Blob]]]:
    """Return the place of these blobs, -1 if there are none, and the blobs by kind."""
    blobs: dict[Kind, list[Blob]] = defaultdict(list)
    places: set[int] = set()
    for batch in batches:
        place, kind, number, names = (batch[name].to_pylist() for name in ARROW.names[:4])
        content = batch["content"]
        for i in range(len(batch)):
            blob = Blob(
                place=place[i],
                kind=Kind(kind[i]),
                content=content[i].as_buffer(),
                number=number[i],
                names=tuple(names[i]),
            )
            blobs[blob.kind].append(blob)
            if blob.kind != Kind.TOLD:
                places.add(blob.place)
    if len(places) > 1:
        raise RuntimeError(f"blobs of {len(places)} places came to one task")
    return (places.pop() if places else -1), blobs


def table_of(blobs: list[Blob], dtype: np.dtype[Any]) -> Table:
    """Return all content of blobs as one new table."""
    return np.concatenate([np.zeros(0, dtype), *(np.frombuffer(blob.content, dtype) for blob in blobs)])


def with_platforms(blobs: list[Blob], dtype: np.dtype[Any], platforms: tuple[str, ...]) -> Table:
    """Return all content of blobs with `platform` in it as one table; platforms are places in `platforms`."""
    ranks = {name: rank for rank, name in enumerate(platforms)}
    tables = [np.frombuffer(blob.content, dtype).copy() for blob in blobs]
    for blob, table in zip(blobs, tables, strict=True):
        # The last entry stands for -1, no platform.
        table["platform"] = np.array([*(ranks[name] for name in blob.names), -1], np.int16)[table["platform"]]
    return np.concatenate([np.zeros(0, dtype), *tables])


def names_of(blobs: Iterable[Blob]) -> tuple[str, ...]:
    """Return all platforms that blobs name, in alphabetical order."""
    return tuple(sorted({name for names in {blob.names for blob in blobs} for name in names}))
