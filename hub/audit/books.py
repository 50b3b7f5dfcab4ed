"""One snapshot of the database, read for an audit. I/O: reads the database.

The audit has its own statements and shares none with the functions that write: a mistake there must not hide itself
here. Whatever may be long is summed up by the database, or read as columns a range at a time (`pages.py`).
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeVar

import polars as pl
from sqlalchemy.orm import Session

from hub.audit.readers import Reader, Schema, SessionReader
from hub.context import Hub

Kept = TypeVar("Kept")

FOREVER_US = 2**62
# What is left of a time of day that was cut down by an erasure: an audit can only ask about the day.
DAY_US = 86_400_000_000
ERASED = "(SELECT subject_id FROM person WHERE erased_at IS NOT NULL)"
FEW_VERSIONS = 2_000_000
"""Versions of grants up to which all grants and links are kept in memory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Books:
    """What the checks read: one consistent snapshot, and the hub's settings and keys."""

    hub: Hub
    reader: Reader
    kept: dict[str, Any] = field(default_factory=dict, repr=False)
    """What several checks read alike, by a name of theirs."""

    def keep(self, name: str, read: Callable[[], Kept]) -> Kept:
        """Return what was read under this name, reading it the first time."""
        if name not in self.kept:
            self.kept[name] = read()
        found: Kept = self.kept[name]
        return found

    @property
    def few_versions(self) -> bool:
        """Tell whether everybody's grants and links fit into memory."""
        return self.keep("number of versions", lambda: self.count("grant_version")) <= FEW_VERSIONS

    @property
    def erased(self) -> pl.Series:
        """Return the people who were erased."""
        return self.keep(
            "erased", lambda: self.frame(f"SELECT subject_id FROM {ERASED} x", {"subject_id": pl.Int64()})
        )["subject_id"]

    @property
    def windows(self) -> pl.DataFrame:
        """Return window_id, is_open and is_cleared of all windows."""
        sql = (
            "SELECT window_id, CASE WHEN state = 'open' THEN 1 ELSE 0 END, "
            "CASE WHEN cleared_at IS NULL THEN 0 ELSE 1 END FROM clearing_window"
        )
        flags = {"window_id": pl.Int64(), "is_open": pl.Boolean(), "is_cleared": pl.Boolean()}
        return self.keep("windows", lambda: self.frame(sql, flags))

    @property
    def session(self) -> Session:
        """Return the session that reads, for what the hub's own code opens; there is none where columns are read."""
        if not isinstance(self.reader, SessionReader):
            raise TypeError("a check that needs a session reads no columns")
        return self.reader.session

    def rows(self, sql: str, **params: Any) -> Iterator[tuple[Any, ...]]:
        """Yield the rows of a SELECT."""
        return self.reader.rows(sql, params)

    def number(self, sql: str, **params: Any) -> int:
        """Return the one whole number that a SELECT gives."""
        ((number,),) = self.reader.rows(sql, params)
        return int(number)

    def count(self, rows: str, **params: Any) -> int:
        """Return how many rows `FROM ...` has."""
        return self.number(f"SELECT COUNT(*) FROM {rows}", **params)

    def pages(self, sql: str, schema: Schema, rows: int) -> Iterator[pl.DataFrame]:
        """Yield what a SELECT gives, in any order, as frames of about so many rows; `schema` names its columns."""
        return self.reader.pages(sql, schema, {}, rows)

    def frame(self, sql: str, schema: Schema, **params: Any) -> pl.DataFrame:
        """Return all that a SELECT gives, in any order."""
        return pl.concat([pl.DataFrame(schema=schema), *self.reader.pages(sql, schema, params, 2**62)])

    def micros(self, column: str) -> str:
        """Return SQL for a stored time as whole microseconds since 1970."""
        if self.reader.is_postgresql:
            return f"CAST(EXTRACT(EPOCH FROM {column}) * 1000000 AS BIGINT)"
        # Without the fraction: SQLite rounds it to milliseconds, and .9996 would become the next second.
        return f"(CAST(strftime('%s', substr({column}, 1, 19)) AS BIGINT) * 1000000 + CAST(substr({column}, 21, 6) AS BIGINT))"
