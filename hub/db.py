"""The engine and its sessions. I/O: the database.

SQLAlchemy's default transactions on SQLite lose updates silently, so writers begin with BEGIN IMMEDIATE, and every
connection runs WAL with synchronous=FULL (acknowledged means durable). A test reads both back from the live pool.
Source: SQLite documentation "Write-Ahead Logging", "PRAGMA synchronous"; ADR 0003.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import polars as pl
from sqlalchemy import Connection, Engine, bindparam, create_engine, event, make_url, text
from sqlalchemy.orm import Session

from hub.columns import copy_in

BUSY_TIMEOUT_MS = 60_000
INSERT_CHUNK = 5_000
MANY_ROWS = 5_000
_ARRAYS = {int: "bigint", str: "text", bytes: "bytea"}


def make_engine(url: str) -> Engine:
    """Return an engine for `sqlite:///file` or `postgresql://...`; the file's folder is created."""
    parsed = make_url(url)
    if parsed.get_backend_name() == "sqlite":
        return _sqlite_engine(url, parsed.database)
    if parsed.drivername == "postgresql":
        parsed = parsed.set(drivername="postgresql+psycopg")
    return create_engine(parsed, pool_pre_ping=True, pool_size=10, max_overflow=10)


def _sqlite_engine(url: str, database: str | None) -> Engine:
    if database and database != ":memory:":
        Path(database).parent.mkdir(parents=True, exist_ok=True)
    engine = create_engine(url, connect_args={"timeout": BUSY_TIMEOUT_MS / 1000, "check_same_thread": False})

    @event.listens_for(engine, "connect")
    def configure(connection: Any, _record: Any) -> None:
        connection.isolation_level = None  # SQLAlchemy, not the driver, begins transactions
        cursor = connection.cursor()
        # What is erased must not stay in freed pages; some builds of SQLite overwrite them anyway, others only if told.
        own = ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "secure_delete=ON")
        for pragma in (*own, f"busy_timeout={BUSY_TIMEOUT_MS}"):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        reading = connection.get_execution_options().get("tanlian_reading", False)
        connection.exec_driver_sql("BEGIN" if reading else "BEGIN IMMEDIATE")

    return engine


@contextmanager
def writing(engine: Engine) -> Iterator[Session]:
    """Give one transaction that may write: commits on leaving, rolls back on any exception."""
    with Session(engine, expire_on_commit=False) as session, session.begin():
        yield session


@contextmanager
def reading(engine: Engine) -> Iterator[Session]:
    """Give one consistent snapshot to read from; nothing is committed."""
    with engine.connect().execution_options(tanlian_reading=True) as connection:
        if connection.dialect.name == "postgresql":
            connection = connection.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
        with Session(connection) as session:
            yield session


def next_sequence(session: Session, name: str, count: int) -> list[int]:
    """Take `count` rising numbers of a hub sequence.

    PostgreSQL's sequences never block other writers; numbers of a rolled-back transaction are lost, which is why
    windows are ranges of the sequence and not lists. On SQLite the single writer makes a row enough.
    """
    if count <= 0:
        return []
    if is_postgresql(session):
        taken = session.execute(text(f"SELECT nextval('{name}_seq') FROM generate_series(1, :n)"), {"n": count})
        return sorted(int(value) for value in taken.scalars())
    last = session.execute(
        text("UPDATE hub_sequence SET value = value + :n WHERE name = :name RETURNING value"),
        {"n": count, "name": name},
    ).scalar_one()
    return list(range(int(last) - count + 1, int(last) + 1))


def append_frame(session: Session, table: str, frame: pl.DataFrame) -> int:
    """Insert all rows of a frame whose columns are named as the table's; returns the number of rows.

    COPY on PostgreSQL, executemany on SQLite. Durable when the caller's transaction commits.
    """
    if frame.is_empty():
        return 0
    if is_postgresql(session):
        copy_in(session, table, frame)
        if len(frame) >= MANY_ROWS:
            _introduce(session, table)
        return len(frame)
    columns = ", ".join(frame.columns)
    marks = ", ".join("?" * frame.width)
    connection = session.connection()
    for start in range(0, len(frame), INSERT_CHUNK):
        rows = frame.slice(start, INSERT_CHUNK).rows()
        connection.exec_driver_sql(f"INSERT INTO {table} ({columns}) VALUES ({marks})", rows)
    return len(frame)


def _introduce(session: Session, table: str) -> None:
    """Let PostgreSQL's planner know a table of which it knows nothing yet, and which has just got many rows.

    Until it looks by itself, within a minute, it takes a new table for nearly empty, and compares each row with each. Only one
    transaction does this at a time: two that did so for two tables could wait for each other.
    """
    unknown = (
        "SELECT reltuples <= 0 AND pg_try_advisory_xact_lock(hashtext('introduce')) FROM pg_class "
        "WHERE oid = to_regclass(:t)"
    )
    if session.execute(text(unknown), {"t": table}).scalar_one():
        session.execute(text(f"ANALYZE {table}"))


def load_frame(session: Session, sql: str, schema: dict[str, Any], **params: Any) -> pl.DataFrame:
    """Run a SELECT and return its rows as a frame with the given columns, in the given order and types."""
    rows = session.execute(text(sql), params).fetchall()
    return pl.DataFrame([tuple(r) for r in rows], schema=schema, orient="row")


def load_by_ids(
    session: Session,
    sql: str,
    schema: dict[str, Any],
    ids: Sequence[int] | Sequence[str] | Sequence[bytes],
    **params: Any,
) -> pl.DataFrame:
    """Run a SELECT whose text holds `IN :ids` for as many ids as there are, in bounded statements."""
    statement = text(sql).bindparams(bindparam("ids", expanding=True))
    if ids and is_postgresql(session):
        # A list of values is compared with every row where the planner does not think of the index, as it does not while a
        # table has no statistics yet; rows of an array are joined, by the index or by a hash.
        kind = next(word for known, word in _ARRAYS.items() if isinstance(ids[0], known))
        statement = text(sql.replace("IN :ids", f"IN (SELECT unnest(CAST(:ids AS {kind}[])))"))
    rows: list[tuple[Any, ...]] = []
    for start in range(0, len(ids), INSERT_CHUNK):
        chunk = list(ids[start : start + INSERT_CHUNK])
        rows += [tuple(r) for r in session.execute(statement, {"ids": chunk, **params})]
    return pl.DataFrame(rows, schema=schema, orient="row")


def lock(session: Session, name: str) -> None:
    """Hold a named lock until the transaction ends: one writer at a time on both databases."""
    if is_postgresql(session):
        session.execute(text("SELECT pg_advisory_xact_lock(hashtext(:n))"), {"n": name})


def is_postgresql(session: Session) -> bool:
    """Tell which of the two databases a session talks to."""
    return session.get_bind().dialect.name == "postgresql"
