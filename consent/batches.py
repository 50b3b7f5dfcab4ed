"""SQL that both databases run alike, for whole batches and for races. I/O: only what the named function says.

A list of 50,000 ids as bound variables is over SQLite's limit of 32,766 and PostgreSQL's of 65,535; as one JSON text
(SQLite) or one array (PostgreSQL) it is a single parameter, whatever its length. Statements are built once per kind of
database and kept: building one costs more than running it for a small batch.
"""

import json
import typing
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray
from sqlalchemy import (
    ARRAY,
    BigInteger,
    ColumnElement,
    CursorResult,
    Integer,
    Select,
    Text,
    bindparam,
    cast,
    func,
    literal,
    select,
    type_coerce,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Mapped, Session
from sqlmodel import SQLModel

Query = Select[*tuple[Any, ...]]


def dialect_of(session: Session) -> str:
    return session.get_bind().dialect.name


def among(dialect: str, column: Mapped[Any]) -> ColumnElement[bool]:
    """`column IN :wanted`, to be run by load_columns."""
    if dialect == "postgresql":
        kind = typing.cast("ColumnElement[Any]", column).type
        array = func.unnest(bindparam("wanted", type_=ARRAY(kind)))
        return column.in_(select(array.column_valued("value")))
    rows = func.json_each(bindparam("wanted", type_=Text())).table_valued("value")
    return column.in_(select(rows.c.value))


def epoch_us(dialect: str, column: Mapped[Any]) -> ColumnElement[int]:
    """A stored UTC time as microseconds since 1970, which a frame takes without a Python object per row."""
    if dialect == "postgresql":
        return cast(func.extract("epoch", column) * 1_000_000, BigInteger)
    stored = type_coerce(column, Text())  # 'YYYY-MM-DD HH:MM:SS.ffffff', always six digits
    # Without the fraction: SQLite rounds it to milliseconds, and .9996 would become the next second.
    seconds = cast(func.strftime("%s", func.substr(stored, 1, 19)), Integer)
    return seconds * 1_000_000 + cast(func.substr(stored, 21, 6), Integer)


def load_columns(
    session: Session,
    query: Query,
    wanted: Sequence[int] | Sequence[str],
    parameters: Mapping[str, Any] | None = None,
) -> list[tuple[Any, ...]]:
    """Run a query whose condition is `among`, and return its columns. Writes pending changes of the session first."""
    rows = _run(session, query, wanted, parameters or {}).all()
    width = len(query.selected_columns)
    return list(zip(*rows, strict=True)) if rows else [()] * width


def load_array(
    session: Session,
    query: Query,
    wanted: Sequence[int] | Sequence[str],
    parameters: Mapping[str, Any],
    fields: Sequence[tuple[str, DTypeLike]],
) -> NDArray[np.void]:
    """As load_columns, but one array with a field per column, for what has a line per person.

    Each row is taken from the driver and let go: with 50,000 of them alive the garbage collector would walk through the
    whole process again and again. The driver's values are taken as they are, so only for numbers, truths and texts.
    """
    with _run(session, query, wanted, parameters) as result:
        rows: Any = result.cursor
        return np.fromiter(rows, dtype=np.dtype(list(fields)))


def _run(
    session: Session, query: Query, wanted: Sequence[int] | Sequence[str], parameters: Mapping[str, Any]
) -> CursorResult[Any]:
    session.flush()
    ids = list(wanted) if dialect_of(session) == "postgresql" else json.dumps(list(wanted))
    return session.connection().execute(query, {"wanted": ids, **parameters})


def insert_once(session: Session, table: type[SQLModel], values: Mapping[str, Any]) -> bool:
    """Insert a row unless its key is there; True for exactly one of any number of racing callers.

    Writes no pending changes of the session first: what it inserts depends on nothing that waits.
    """
    statement = _insert_unless_there(table, tuple(sorted(values)), dialect_of(session))
    return (
        session.connection().execute(statement, values).first() is not None
    )  # a row count is not told by every driver


def insert_new(session: Session, table: type[SQLModel], rows: Sequence[Mapping[str, Any]]) -> set[tuple[Any, ...]]:
    """Insert rows of different keys whose keys are not there, in one statement; the keys of those that were inserted."""
    statement = _insert_unless_there(table, tuple(sorted(rows[0])), dialect_of(session), keys=True)
    return {tuple(key) for key in session.connection().execute(statement, rows)}


def insert(session: Session, table: type[SQLModel], rows: Mapping[str, Any] | Sequence[Mapping[str, Any]]) -> None:
    """Insert a row or some, past the unit of work: nobody looks at them again in this transaction."""
    names = rows if isinstance(rows, Mapping) else rows[0]
    session.connection().execute(_insert(table, tuple(sorted(names))), rows)


@cache
def _insert_unless_there(table: type[SQLModel], names: tuple[str, ...], dialect: str, *, keys: bool = False) -> Any:
    target = table.__table__  # type: ignore[attr-defined]
    kind = postgresql.insert if dialect == "postgresql" else sqlite.insert
    blanks = {name: bindparam(name, type_=target.c[name].type) for name in names}
    return (
        kind(target).values(blanks).on_conflict_do_nothing().returning(*(target.primary_key if keys else [literal(1)]))
    )


@cache
def _insert(table: type[SQLModel], names: tuple[str, ...]) -> Any:
    target = table.__table__  # type: ignore[attr-defined]
    return target.insert().values({name: bindparam(name, type_=target.c[name].type) for name in names})
