"""Makes what leaves are found by anew from the leaves. I/O: the database, in the caller's transaction."""

import json
from collections.abc import Iterator
from dataclasses import asdict
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, bindparam, text

from consent.types import UtcDateTime
from hub.exchange.entries import found_by
from hub.log.tiles import decode_bundle

PAGE = 5_000
_CLEAR = text("DELETE FROM log_entry")
_NONE = text("SELECT NOT EXISTS (SELECT 1 FROM log_entry) AND EXISTS (SELECT 1 FROM log_leaf WHERE count = 1)")
# Runs of many leaves are of benchmarks: whatever happens here is a leaf by itself.
_LEAVES = text(
    "SELECT l.leaf_id, b.data FROM log_leaf l JOIN log_body b ON b.leaf_id = l.leaf_id "
    "WHERE l.count = 1 AND l.leaf_id > :after ORDER BY l.leaf_id LIMIT :page"
)
_ADD = text(
    "INSERT INTO log_entry (leaf_id, at, kind, participant, purpose, outcome, window_id, batch_id) "
    "VALUES (:leaf_id, :at, :kind, :participant, :purpose, :outcome, :window_id, :batch_id)"
).bindparams(bindparam("at", type_=UtcDateTime()))


def rebuild_entries(connection: Connection) -> int:
    """Replace every row of `log_entry` by what its leaf says; returns how many there are."""
    connection.execute(_CLEAR)
    done = 0
    for page in _pages(connection):
        connection.execute(_ADD, page)
        done += len(page)
    return done


def rebuild_missing_entries(connection: Connection) -> int:
    """Make the rows if there are leaves and none of them can be found: the table has just come. Returns how many."""
    return rebuild_entries(connection) if connection.execute(_NONE).scalar_one() else 0


def _pages(connection: Connection) -> Iterator[list[dict[str, Any]]]:
    after = -1
    while rows := connection.execute(_LEAVES, {"after": after, "page": PAGE}).all():
        after = int(rows[-1][0])
        yield [{"leaf_id": leaf_id, **read_entry(bytes(data))} for leaf_id, data in rows]


def read_entry(data: bytes) -> dict[str, Any]:
    """Return what the one leaf of a run is found by, as columns of `log_entry`."""
    (body,) = decode_bundle(data)
    told = json.loads(body)
    return asdict(found_by(told["kind"], datetime.fromisoformat(told["at"]), told))
