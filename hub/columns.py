"""Whole columns out of the database and into it, for reads and writes of many rows. I/O: the caller's transaction.

No object of an ORM is made per row and no Python value per cell of PostgreSQL's: COPY gives and takes lines of text, which
Polars reads and writes column by column. Drivers that speak Arrow would need a connection, and so a transaction, of their own:
they would neither see what this one wrote nor hold what it locked. Source: PostgreSQL documentation, "COPY".
"""

import re
from datetime import UTC, datetime
from io import BytesIO
from typing import Any

import polars as pl
from sqlalchemy.orm import Session

CHUNK = 20_000
_NAMED = re.compile(r"(?<![:\w]):([a-z_]+)")
_TEXTUAL = (pl.Boolean, pl.Binary)


def load_columns(session: Session, sql: str, schema: dict[str, Any], **params: Any) -> pl.DataFrame:
    """Run a SELECT of at least two columns and return them with the given names and types, in the given order.

    Args:
        sql: with `:name` for each of `params`, which are numbers, booleans, texts, or lists of numbers (PostgreSQL).
    """
    if len(schema) < 2:
        raise ValueError("a row of one null is an empty line, and an empty line is no row")
    if session.get_bind().dialect.name == "postgresql":
        return _copy_out(session, sql, schema, params)
    return _fetch(session, sql, schema, params)


def copy_in(session: Session, table: str, frame: pl.DataFrame) -> None:
    """Append a frame to a table of PostgreSQL; numbers, booleans, texts, bytes and times only."""
    told = [
        pl.when(pl.col(name).is_not_null()).then(pl.lit("\\x") + pl.col(name).bin.encode("hex")).alias(name)
        if kind == pl.Binary
        else pl.col(name)
        for name, kind in frame.schema.items()
    ]
    sql = f"COPY {table} ({', '.join(frame.columns)}) FROM STDIN (FORMAT csv)"
    with _cursor(session).copy(sql) as copy:
        for part in frame.iter_slices(CHUNK):
            # Without quotes nothing stands for null; an empty text has quotes.
            lines = BytesIO()
            part.select(told).write_csv(lines, include_header=False, quote_style="necessary")
            copy.write(lines.getbuffer())


def instant_text(session: Session, at: datetime) -> str:
    """Return an aware time as both databases keep it, and as `UtcDateTime` reads it back."""
    if session.get_bind().dialect.name == "postgresql":
        return at.isoformat()
    return at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S.%f")


def _copy_out(session: Session, sql: str, schema: dict[str, Any], params: dict[str, Any]) -> pl.DataFrame:
    query = _NAMED.sub(r"%(\1)s", sql.replace("%", "%%"))
    statement = f"COPY ({query}) TO STDOUT (FORMAT csv)"
    with _cursor(session).copy(statement, params) as copy:
        told = b"".join(copy)
    kinds = {name: pl.String() if kind in _TEXTUAL else kind for name, kind in schema.items()}
    if not told:
        return pl.DataFrame(schema=schema)
    frame = pl.read_csv(told, has_header=False, schema=kinds)
    return frame.with_columns(
        pl.col(name) == "t" if kind == pl.Boolean else pl.col(name).str.slice(2).str.decode("hex")
        for name, kind in schema.items()
        if kind in _TEXTUAL
    )


def _fetch(session: Session, sql: str, schema: dict[str, Any], params: dict[str, Any]) -> pl.DataFrame:
    parts = [pl.DataFrame(schema=schema)]
    cursor = session.connection().exec_driver_sql(sql, params).cursor
    while rows := cursor.fetchmany(CHUNK):
        columns = zip(schema.items(), zip(*rows, strict=True), strict=True)
        parts.append(pl.DataFrame([_column(name, kind, values) for (name, kind), values in columns]))
    return pl.concat(parts)


def _column(name: str, kind: Any, values: tuple[Any, ...]) -> pl.Series:
    """SQLite has no booleans: they come as 0 and 1."""
    if kind == pl.Boolean:
        return pl.Series(name, values, dtype=pl.Int8()).cast(pl.Boolean())
    return pl.Series(name, values, dtype=kind)


def _cursor(session: Session) -> Any:
    driver = session.connection().connection.driver_connection
    assert driver is not None  # noqa: S101 - a pooled connection always has its driver's
    return driver.cursor()
