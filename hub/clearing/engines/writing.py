"""Decisions, events, positions and the manifest of a bulk run. I/O: writes Parquet and JSON files.

A run's folder appears complete or not at all: everything is written beside it and renamed at the end.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from hub.clearing.errors import ClearingInputError
from hub.clearing.kernel.outcome import Columns
from standards.schema import DECISION_COLUMNS, EVENT_COLUMNS, arrow_schema

DECISIONS, EVENTS = arrow_schema(DECISION_COLUMNS), arrow_schema(EVENT_COLUMNS)
MANIFEST = "manifest.json"
Words = dict[str, tuple[str, ...]]


@contextmanager
def whole_folder(out: Path, *, mark: str = MANIFEST, made_by: str = "a clearing run") -> Iterator[Path]:
    """Give a folder to write into that becomes `out` when the block ends well, and vanishes otherwise.

    Args:
        out: where to write; an earlier result there is replaced.
        mark: the file by which a result is known.
        made_by: what writes such results, for the message.

    Raises:
        ClearingInputError: `out` holds something that is not an earlier run's result.
    """
    if out.exists() and (not out.is_dir() or (any(out.iterdir()) and not (out / mark).exists())):
        raise ClearingInputError(f"{out} exists and is not the result of {made_by}")
    out.parent.mkdir(parents=True, exist_ok=True)
    beside = out.parent / f".{out.name}.{os.getpid()}.writing"
    shutil.rmtree(beside, ignore_errors=True)
    beside.mkdir()
    try:
        yield beside
        old = out.parent / f".{out.name}.{os.getpid()}.old"
        if out.exists():
            out.rename(old)
        beside.rename(out)
        shutil.rmtree(old, ignore_errors=True)
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def write_columns(columns: Columns, schema: pa.Schema, words: Words, path: Path) -> None:
    """Write coded columns as a Parquet file of this schema; `words` gives the words of coded columns."""
    arrays = [_array(name, columns, words, schema.field(name).type) for name in schema.names]
    kinds = [(name, array.type) for name, array in zip(schema.names, arrays, strict=True)]
    table = pa.Table.from_arrays(arrays, schema=pa.schema(kinds))
    # The Arrow schema is left out: with it, readers would see dictionaries where the contract says text.
    dictionaries = [name for name, kind in kinds if pa.types.is_dictionary(kind)]
    # So are statistics: every range holds the numbers and the times of all, so that no reader could skip anything.
    pq.write_table(
        table, path, compression="snappy", use_dictionary=dictionaries, write_statistics=False, store_schema=False
    )


def _array(name: str, columns: Columns, words: Words, kind: pa.DataType) -> pa.Array:
    if name in words:
        return pa.DictionaryArray.from_arrays(pa.array(columns[name].astype(np.int32)), pa.array(words[name]))
    values = columns.get(name)
    if values is None:
        size = len(next(iter(columns.values())))
        return pa.nulls(size, kind)
    return pa.array(values, pa.int64()).cast(kind) if pa.types.is_timestamp(kind) else pa.array(values, kind)


def digest_buckets(columns: Columns, buckets: npt.NDArray[np.int16]) -> dict[int, bytes]:
    """Return the SHA-256 of every bucket's decisions; rows are in the kernel's order, so the same in every engine."""
    edges = np.flatnonzero(np.diff(buckets)) + 1
    begins, ends = np.r_[0, edges], np.r_[edges, len(buckets)]
    parts = [np.ascontiguousarray(values) for values in columns.values()]
    digests = {}
    for begin, end in zip(begins.tolist(), ends.tolist(), strict=True) if len(buckets) else ():
        state = hashlib.sha256()
        for values in parts:
            state.update(values[begin:end].data)
        digests[int(buckets[begin])] = state.digest()
    return digests


def root_of_digests(digests: list[bytes]) -> str:
    """Return the Merkle root (RFC 6962) of leaves in order, in hex."""
    level = [hashlib.sha256(b"\x00" + leaf).digest() for leaf in digests]
    if not level:
        return hashlib.sha256(b"").hexdigest()
    while len(level) > 1:
        pairs = [hashlib.sha256(b"\x01" + a + b).digest() for a, b in zip(level[::2], level[1::2], strict=False)]
        level = pairs + level[len(pairs) * 2 :]
    return level[0].hex()


def write_manifest(manifest: dict[str, Any], folder: Path) -> None:
    """Write the manifest; it is the last file of a run."""
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
