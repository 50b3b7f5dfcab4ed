"""Leaf bodies as they stand in the log's tables. I/O: reads the database."""

import json
from collections.abc import Iterator
from typing import Any

from hub.audit.books import Books

_LENGTH_BYTES = 2


def split_run(data: bytes) -> list[bytes]:
    """Return the entries of a run, each behind its length in two bytes; ValueError if they do not fill it."""
    entries, at = [], 0
    while at < len(data):
        end = at + _LENGTH_BYTES + int.from_bytes(data[at : at + _LENGTH_BYTES])
        if end > len(data):
            raise ValueError("the run ends inside an entry")
        entries.append(data[at + _LENGTH_BYTES : end])
        at = end
    return entries


def all_bodies(books: Books) -> Iterator[tuple[int, list[bytes]]]:
    """Yield every run's number and entries."""
    for leaf, data in books.rows("SELECT leaf_id, data FROM log_body ORDER BY leaf_id"):
        yield leaf, split_run(bytes(data))


def leaf_bodies(books: Books, kind: str) -> dict[str, dict[str, Any]]:
    """Return the parsed leaf of every change of a kind, by the change's reference; a missing one is left out."""
    sql = (
        "SELECT c.reference, b.data FROM change_leaf c JOIN log_body b ON b.leaf_id = c.leaf_id "
        "WHERE c.kind = :kind ORDER BY c.reference"
    )
    return {reference: json.loads(split_run(bytes(data))[0]) for reference, data in books.rows(sql, kind=kind)}
