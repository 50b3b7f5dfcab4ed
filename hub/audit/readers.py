"""The two ways in which an audit reads one snapshot. I/O: reads the database.

A session reads rows: enough for a small hub, and for what the database sums up itself. The drivers of Apache Arrow hand
whole columns over: no Python object for a row or a value, which is most of what reading ten million rows costs. For SQLite
that driver is a second copy of the library, and two copies must not open one file in one process: closing a file lets go
of the locks of the other. So a process reads in one way or in the other.
"""

import re
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, closing, contextmanager
from decimal import Decimal
from typing import Any, Protocol
from urllib.parse import quote

import polars as pl
from sqlalchemy import Engine, text
from sqlalchemy.orm import Session

from hub.db import is_postgresql

Schema = Mapping[str, Any]
"""Columns by name, in the order of a SELECT, with their types."""

_FETCHED_ROWS = 2_000  # Python objects at once: few enough for the processor's cache
_BATCH_ROWS = 50_000
_NAMED = re.compile(r"(?<![:\w]):([a-z_][a-z_0-9]*)")
# Joins and sums over a whole ledger: with the usual few megabytes both databases would sort on disk.
_ROOM = {
    True: (
        "SET LOCAL work_mem = '256MB'",
        "SET LOCAL random_page_cost = 1.1",
        "SET LOCAL max_parallel_workers_per_gather = 0",
        "SET LOCAL jit = off",
    ),
    False: ("PRAGMA cache_size = -524288", "PRAGMA mmap_size = 17179869184"),
}
# The first row tells SQLite's driver what is in a column, which the first values of a table need not.
_SAMPLES: dict[pl.DataType, str] = {
    pl.Int64(): "0", pl.Int32(): "0", pl.Boolean(): "0", pl.String(): "'x'", pl.Binary(): "x'00'",
}  # fmt: skip


class Reader(Protocol):
    """One snapshot."""

    @property
    def is_postgresql(self) -> bool:
        """Tell which database it is."""

    def rows(self, sql: str, params: Mapping[str, Any]) -> Iterator[tuple[Any, ...]]:
        """Yield the rows of a SELECT."""

    def pages(self, sql: str, schema: Schema, params: Mapping[str, Any], rows: int) -> Iterator[pl.DataFrame]:
        """Yield what a SELECT gives, in any order, as frames of about so many rows."""

    def savepoint(self) -> AbstractContextManager[object]:
        """Whatever fails in here leaves the snapshot to others."""


class SessionReader:
    """Reads rows through a session of the hub's own engine."""

    def __init__(self, session: Session, snapshot: str | None = None) -> None:
        """Begin to read what is there now, or on PostgreSQL what a snapshot of this name shows."""
        self.session = session
        self.is_postgresql = is_postgresql(session)
        if snapshot is not None:
            session.execute(text(f"SET TRANSACTION SNAPSHOT '{snapshot}'"))
        for statement in _ROOM[self.is_postgresql]:
            session.execute(text(statement))
        session.execute(text("SELECT window_id FROM clearing_window LIMIT 1")).all()

    def rows(self, sql: str, params: Mapping[str, Any]) -> Iterator[tuple[Any, ...]]:
        """Yield the rows of a SELECT without holding them all."""
        for some in self._fetched(sql, params):
            yield from some

    def pages(self, sql: str, schema: Schema, params: Mapping[str, Any], rows: int) -> Iterator[pl.DataFrame]:
        """Yield what a SELECT gives as frames of about so many rows."""
        waiting: list[pl.DataFrame] = []
        for some in self._fetched(sql, params):
            told = zip(schema.items(), zip(*some, strict=True), strict=True)
            waiting.append(pl.DataFrame([_column(name, kind, values) for (name, kind), values in told]))
            if len(waiting) * _FETCHED_ROWS >= rows:
                yield pl.concat(waiting)
                waiting = []
        if waiting:
            yield pl.concat(waiting)

    def savepoint(self) -> AbstractContextManager[object]:
        """Whatever fails in here leaves the snapshot to others."""
        return self.session.begin_nested()

    def _fetched(self, sql: str, params: Mapping[str, Any]) -> Iterator[list[tuple[Any, ...]]]:
        driver: Any = self.session.connection().connection.driver_connection
        if self.is_postgresql:
            # A cursor on the server: without it the driver would fetch the whole result at once.
            with closing(driver.cursor(name=f"audit_{id(params)}")) as cursor:
                cursor.execute(_NAMED.sub(r"%(\1)s", sql.replace("%", "%%")), params)
                yield from _some(cursor)
            return
        with closing(driver.cursor()) as cursor:
            cursor.execute(sql, params)
            yield from _some(cursor)


class ArrowReader:
    """Reads columns through a connection of its own; `close` it."""

    def __init__(self, engine: Engine, snapshot: str | None = None) -> None:
        """Begin to read what is there now, or on PostgreSQL what a snapshot of this name shows."""
        self.is_postgresql = engine.dialect.name == "postgresql"
        self._connection = _connect(engine)
        if snapshot is not None:
            self._execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            self._execute(f"SET TRANSACTION SNAPSHOT '{snapshot}'")
        for statement in _ROOM[self.is_postgresql]:
            self._execute(statement)
        list(self.rows("SELECT window_id FROM clearing_window LIMIT 1", {}))

    def rows(self, sql: str, params: Mapping[str, Any]) -> Iterator[tuple[Any, ...]]:
        """Yield the rows of a SELECT that is known to be short."""
        with closing(self._connection.cursor()) as cursor:
            self._look_at(cursor, 1_000_000)  # all rows, to tell what is in a column
            cursor.execute(_literal(sql, params))
            for row in cursor.fetchall():
                yield tuple(int(value) if isinstance(value, Decimal) else value for value in row)

    def pages(self, sql: str, schema: Schema, params: Mapping[str, Any], rows: int) -> Iterator[pl.DataFrame]:
        """Yield what a SELECT gives as frames of about so many rows."""
        has_sample = not self.is_postgresql
        if has_sample:
            sample = ", ".join(_SAMPLES[kind] for kind in schema.values())
            sql = f"SELECT {sample} UNION ALL SELECT * FROM ({sql})"
        sql = _literal(sql, params)
        waiting: list[pl.DataFrame] = []
        with closing(self._connection.cursor()) as cursor:
            self._look_at(cursor, _BATCH_ROWS)
            cursor.execute(sql)
            for batch in cursor.fetch_record_batch():
                told: Any = pl.from_arrow(batch.rename_columns(list(schema)), rechunk=False)
                waiting.append((told[1:] if has_sample else told).cast(dict(schema), strict=False))
                has_sample = False
                if sum(map(len, waiting)) >= rows:
                    yield pl.concat(waiting)
                    waiting = []
        if waiting:
            yield pl.concat(waiting)

    @contextmanager
    def savepoint(self) -> Iterator[None]:
        """Whatever fails in here leaves the snapshot to others."""
        self._execute("SAVEPOINT columns")
        try:
            yield
        except BaseException:
            self._execute("ROLLBACK TO SAVEPOINT columns")
            raise
        self._execute("RELEASE SAVEPOINT columns")

    def close(self) -> None:
        """Give the connection back."""
        self._connection.close()

    def _look_at(self, cursor: Any, rows: int) -> None:
        if not self.is_postgresql:
            cursor.adbc_statement.set_options(**{"adbc.sqlite.query.batch_rows": str(rows)})

    def _execute(self, statement: str) -> None:
        with closing(self._connection.cursor()) as cursor:
            cursor.execute(statement)


def _connect(engine: Engine) -> Any:
    # Loaded where they are used: with all that they load they take half a second, and no command but one needs them.
    if engine.dialect.name == "postgresql":
        from adbc_driver_postgresql import dbapi as postgresql

        return postgresql.connect(engine.url.set(drivername="postgresql").render_as_string(hide_password=False))
    from adbc_driver_sqlite import dbapi as sqlite

    return sqlite.connect(f"file:{quote(str(engine.url.database))}?mode=ro")


def _literal(sql: str, params: Mapping[str, Any]) -> str:
    """Put parameters into the text: the Arrow drivers name none."""
    if not params:
        return sql
    return str(text(sql).bindparams(**params).compile(compile_kwargs={"literal_binds": True}))


def _some(cursor: Any) -> Iterator[list[tuple[Any, ...]]]:
    while some := cursor.fetchmany(_FETCHED_ROWS):
        yield some


def _column(name: str, kind: Any, values: tuple[Any, ...]) -> pl.Series:
    """Sums are decimals on PostgreSQL, and booleans are 0 and 1 on SQLite."""
    if kind == pl.Boolean:
        return pl.Series(name, [None if one is None else bool(one) for one in values], dtype=kind)
    return pl.Series(name, values, dtype=kind, strict=False)
