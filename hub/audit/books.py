"""One snapshot of the database, read for an audit. I/O: reads the database.

The audit has its own statements and shares none with the functions that write: a mistake there must not hide itself
here. Whatever may be long is read in pages, as the driver gives it: no object per row, and columns of a page at once.
"""

import re
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

import polars as pl
from sqlalchemy import text
from sqlalchemy.orm import Session

from hub.context import Hub
from hub.db import is_postgresql

PAGE_ROWS = 200_000  # about 100 MB while a page's rows are Python objects
FOREVER_US = 2**62
_NAMED = re.compile(r"(?<![:\w]):([a-z_]+)")
# Joins and sums over a whole ledger: with the usual few megabytes both databases would sort on disk.
_ROOM = {
    True: ("SET LOCAL work_mem = '256MB'", "SET LOCAL max_parallel_workers_per_gather = 0", "SET LOCAL jit = off"),
    False: ("PRAGMA cache_size = -524288", "PRAGMA mmap_size = 17179869184"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Books:
    """What the checks read: one consistent snapshot, and the hub's settings and keys."""

    hub: Hub
    session: Session
    kept: dict[str, pl.DataFrame] = field(default_factory=dict, repr=False)
    """What several checks read alike, by a name of theirs."""

    def make_room(self) -> None:
        """Let the database use the memory that reading all of it needs, for this session only."""
        for statement in _ROOM[is_postgresql(self.session)]:
            self.session.execute(text(statement))

    def rows(self, sql: str, **params: Any) -> Iterator[tuple[Any, ...]]:
        """Yield the rows of a SELECT without holding them all."""
        for page in self._partitions(sql, params):
            yield from page

    def number(self, sql: str, **params: Any) -> int:
        """Return the one whole number that a SELECT gives."""
        return int(self.session.execute(text(sql), params).scalar_one())

    def count(self, rows: str, **params: Any) -> int:
        """Return how many rows `FROM ...` has."""
        return self.number(f"SELECT COUNT(*) FROM {rows}", **params)

    def pages(self, sql: str, schema: dict[str, Any], **params: Any) -> Iterator[pl.DataFrame]:
        """Yield the rows of a SELECT as frames of at most PAGE_ROWS; the SELECT's columns are named by `schema`."""
        for page in self._partitions(sql, params):
            columns = zip(schema.items(), zip(*page, strict=True), strict=True)
            yield pl.DataFrame([_column(name, kind, values) for (name, kind), values in columns])

    def frame(self, sql: str, schema: dict[str, Any], **params: Any) -> pl.DataFrame:
        """Return all rows of a SELECT that is known to be short."""
        return pl.concat([pl.DataFrame(schema=schema), *self.pages(sql, schema, **params)])

    def _partitions(self, sql: str, params: dict[str, Any]) -> Iterator[list[tuple[Any, ...]]]:
        driver: Any = self.session.connection().connection.driver_connection
        if is_postgresql(self.session):
            # A cursor on the server: without it the driver would fetch the whole result at once.
            with closing(driver.cursor(name=f"audit_{id(params)}")) as cursor:
                cursor.execute(_NAMED.sub(r"%(\1)s", sql.replace("%", "%%")), params)
                yield from _fetched(cursor)
            return
        with closing(driver.cursor()) as cursor:
            cursor.execute(sql, params)
            yield from _fetched(cursor)

    def micros(self, column: str) -> str:
        """Return SQL for a stored time as whole microseconds since 1970."""
        if is_postgresql(self.session):
            return f"CAST(EXTRACT(EPOCH FROM {column}) * 1000000 AS BIGINT)"
        # Without the fraction: SQLite rounds it to milliseconds, and .9996 would become the next second.
        return f"(CAST(strftime('%s', substr({column}, 1, 19)) AS BIGINT) * 1000000 + CAST(substr({column}, 21, 6) AS BIGINT))"


def _fetched(cursor: Any) -> Iterator[list[tuple[Any, ...]]]:
    while page := cursor.fetchmany(PAGE_ROWS):
        yield page


def _column(name: str, kind: Any, values: tuple[Any, ...]) -> pl.Series:
    """Sums are decimals on PostgreSQL, and booleans are 0 and 1 on SQLite."""
    if kind == pl.Boolean:
        return pl.Series(name, [None if one is None else bool(one) for one in values], dtype=kind)
    return pl.Series(name, values, dtype=kind, strict=False)
