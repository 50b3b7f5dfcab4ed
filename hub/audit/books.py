"""One snapshot of the database, read for an audit. I/O: reads the database.

The audit has its own statements and shares none with the functions that write: a mistake there must not hide itself
here. Whatever may be long is read in pages.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl
from sqlalchemy import Row, text
from sqlalchemy.orm import Session

from hub.context import Hub
from hub.db import is_postgresql

PAGE_ROWS = 200_000  # about 100 MB while a page's rows are Python objects
FOREVER_US = 2**62


@dataclass(frozen=True, slots=True, kw_only=True)
class Books:
    """What the checks read: one consistent snapshot, and the hub's settings and keys."""

    hub: Hub
    session: Session

    def rows(self, sql: str, **params: Any) -> Iterator[tuple[Any, ...]]:
        """Yield the rows of a SELECT without holding them all."""
        for page in self._partitions(sql, params):
            yield from (tuple(row) for row in page)

    def number(self, sql: str, **params: Any) -> int:
        """Return the one whole number that a SELECT gives."""
        return int(self.session.execute(text(sql), params).scalar_one())

    def count(self, rows: str, **params: Any) -> int:
        """Return how many rows `FROM ...` has."""
        return self.number(f"SELECT COUNT(*) FROM {rows}", **params)

    def pages(self, sql: str, schema: dict[str, Any], **params: Any) -> Iterator[pl.DataFrame]:
        """Yield the rows of a SELECT as frames of at most PAGE_ROWS; the SELECT's columns are named by `schema`."""
        for page in self._partitions(sql, params):
            yield pl.DataFrame([tuple(row) for row in page], schema=schema, orient="row")

    def frame(self, sql: str, schema: dict[str, Any], **params: Any) -> pl.DataFrame:
        """Return all rows of a SELECT that is known to be short."""
        return pl.concat([pl.DataFrame(schema=schema), *self.pages(sql, schema, **params)])

    def _partitions(self, sql: str, params: dict[str, Any]) -> Iterator[Sequence[Row[Any]]]:
        # Streaming: without it PostgreSQL's driver would fetch the whole result at once.
        options = {"stream_results": True, "max_row_buffer": min(PAGE_ROWS, 10_000)}
        return self.session.execute(text(sql), params, execution_options=options).partitions(PAGE_ROWS)

    def micros(self, column: str) -> str:
        """Return SQL for a stored time as whole microseconds since 1970."""
        if is_postgresql(self.session):
            return f"CAST(EXTRACT(EPOCH FROM {column}) * 1000000 AS BIGINT)"
        # Without the fraction: SQLite rounds it to milliseconds, and .9996 would become the next second.
        return f"(CAST(strftime('%s', substr({column}, 1, 19)) AS BIGINT) * 1000000 + CAST(substr({column}, 21, 6) AS BIGINT))"
