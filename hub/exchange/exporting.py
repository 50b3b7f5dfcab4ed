"""Entries of the log as a file with a manifest: CSV, NDJSON or Parquet. I/O: reads the database, writes files.

An entry is a row; `leaf` is the exact text that is hashed and `leaf_hash` its hash in the tree (RFC 6962, in hex), so that a
reader can find each row in the log's published tiles. The manifest says what was asked, what the file holds, with digests,
and under which checkpoint all of it lies. Rows go from the database to the file a page at a time.
"""

import csv
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from hashlib import file_digest, sha256
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow import parquet
from sqlalchemy import Engine

from hub.db import reading
from hub.errors import NotFound, UsageProblem
from hub.exchange.search import Entry, Filters, iterate
from hub.log.store import load_head

MANIFEST = "manifest.json"
FORMAT = "tanlian-log-entries/1"
ROWS_A_GROUP = 10_000
_SCHEMA = pa.schema(
    [
        ("index", pa.int64()), ("at", pa.timestamp("s", "UTC")), ("kind", pa.string()), ("participant", pa.string()),
        ("purpose", pa.string()), ("outcome", pa.string()), ("window", pa.int32()), ("batch", pa.int64()),
        ("leaf_hash", pa.string()), ("leaf", pa.string()),
    ]
)  # fmt: skip
COLUMNS: tuple[str, ...] = tuple(_SCHEMA.names)
Write = Callable[[Sequence[dict[str, Any]]], None]


class FileFormat(StrEnum):
    """In which form entries are written."""

    CSV = "csv"
    NDJSON = "ndjson"
    PARQUET = "parquet"


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """What was written: the two files, and how many rows."""

    data: Path
    manifest: Path
    rows: int


def export_entries(
    engine: Engine,
    folder: Path,
    filters: Filters,
    form: FileFormat,
    *,
    origin: str,
    now: datetime,
    most: int | None = None,
) -> Written:
    """Write what fits the filters, of everything under the newest checkpoint, and the manifest last.

    Args:
        folder: is made; must not have files of these names. origin: the log's name. most: refuse if there is more.

    Raises:
        NotFound: nothing was ever signed. UsageProblem: a file is there already, or there are more than `most`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    data, manifest = folder / f"entries.{form}", folder / MANIFEST
    for place in (data, manifest):
        if place.exists():
            raise UsageProblem(f"{place}: exists already")
    beside = data.with_name(data.name + ".new")
    try:
        with reading(engine) as session:
            head = load_head(session)
            if head is None or head.checkpoint is None:
                raise NotFound("the log has no checkpoint yet: run the worker first")
            entries = iterate(session, filters, size=head.size, page=ROWS_A_GROUP)
            told = _write(beside, entries, form, most)
        beside.rename(data)
    finally:
        beside.unlink(missing_ok=True)
    document = {
        "format": FORMAT, "made_at": now.isoformat(), "origin": origin, "filters": filters.told(), "order": "newest first",
        "columns": list(COLUMNS), "rows": told.rows, "kinds": dict(sorted(told.kinds.items())),
        "first_index": told.first, "last_index": told.last, "size": head.size, "root": head.frontier.root().hex(),
        "checkpoint": head.checkpoint.decode(),
        "files": [{"name": data.name, "bytes": data.stat().st_size, "sha256": digest_of(data)}],
    }  # fmt: skip
    manifest.write_text(json.dumps(document, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    return Written(data=data, manifest=manifest, rows=told.rows)


def digest_of(file: Path) -> str:
    """SHA-256 of a file in hex."""
    with file.open("rb") as opened:
        return file_digest(opened, "sha256").hexdigest()


@dataclass(slots=True, kw_only=True)
class _Counted:
    rows: int
    first: int | None
    last: int | None
    kinds: dict[str, int]


def _write(place: Path, entries: Iterator[Entry], form: FileFormat, most: int | None) -> _Counted:
    told = _Counted(rows=0, first=None, last=None, kinds={})
    with _WRITERS[form](place) as write:
        while group := [_row(entry) for entry in islice(entries, ROWS_A_GROUP)]:
            told.rows += len(group)
            if most is not None and told.rows > most:
                raise UsageProblem(f"more than {most:,} entries fit; ask for less, by time or kind")
            for row in group:
                told.kinds[row["kind"]] = told.kinds.get(row["kind"], 0) + 1
                told.first = row["index"] if told.first is None else min(told.first, row["index"])
                told.last = row["index"] if told.last is None else max(told.last, row["index"])
            write(group)
    return told


def _row(entry: Entry) -> dict[str, Any]:
    return {
        "index": entry.index, "at": entry.at, "kind": entry.kind, "participant": entry.participant,
        "purpose": entry.purpose, "outcome": entry.outcome, "window": entry.window, "batch": entry.batch,
        "leaf_hash": sha256(b"\x00" + entry.body).hexdigest(), "leaf": entry.body.decode(),
    }  # fmt: skip


def _plain(row: dict[str, Any]) -> dict[str, Any]:
    return row | {"at": row["at"].isoformat().replace("+00:00", "Z")}


@contextmanager
def _csv(place: Path) -> Iterator[Write]:
    with place.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        yield lambda rows: writer.writerows(_plain(row) for row in rows)


@contextmanager
def _ndjson(place: Path) -> Iterator[Write]:
    with place.open("w", encoding="utf-8") as file:

        def write(rows: Sequence[dict[str, Any]]) -> None:
            file.writelines(json.dumps(_plain(row), ensure_ascii=False) + "\n" for row in rows)

        yield write


@contextmanager
def _parquet(place: Path) -> Iterator[Write]:
    with parquet.ParquetWriter(place, _SCHEMA, compression="zstd") as writer:
        yield lambda rows: writer.write_table(pa.Table.from_pylist(list(rows), _SCHEMA))


_WRITERS: dict[FileFormat, Callable[[Path], AbstractContextManager[Write]]] = {
    FileFormat.CSV: _csv,
    FileFormat.NDJSON: _ndjson,
    FileFormat.PARQUET: _parquet,
}
