"""SQL that both databases run alike, for whole batches and for races. I/O: only what the named function says.

A list of 50,000 ids as bound variables is over SQLite's limit of 32,766 and PostgreSQL's of 65,535; as one JSON text
(SQLite) or one array (PostgreSQL) it is a single parameter, whatever its length.
"""

import json
import typing
from collections.abc import Sequence
from typing import Any

from sqlalchemy import ARRAY, BigInteger, ColumnElement, Integer, Text, bindparam, cast, func, select, type_coerce
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Mapped, Session
from sqlmodel import SQLModel


def among(session: Session, column: Mapped[Any], values: Sequence[int] | Sequence[str]) -> ColumnElement[bool]:
    """`column IN values` for any number of values, all integers or all strings. Runs nothing."""
    if _is_postgresql(session):
        kind = typing.cast("ColumnElement[Any]", column).type
        wanted = func.unnest(bindparam(None, list(values), type_=ARRAY(kind)))
        return column.in_(select(wanted.column_valued("wanted")))
    rows = func.json_each(json.dumps(list(values))).table_valued("value")
    return column.in_(select(rows.c.value))


def epoch_us(session: Session, column: Mapped[Any]) -> ColumnElement[int]:
    """A stored UTC time as microseconds since 1970, which a frame takes without a Python object per row."""
    if _is_postgresql(session):
        return cast(func.extract("epoch", column) * 1_000_000, BigInteger)
    stored = type_coerce(column, Text())  # 'YYYY-MM-DD HH:MM:SS.ffffff', always six digits
    seconds = cast(func.strftime("%s", stored), Integer)
    return seconds * 1_000_000 + cast(func.substr(stored, 21, 6), Integer)


def insert_once(session: Session, table: type[SQLModel], values: dict[str, Any]) -> bool:
    """Insert a row unless its key is there; True for exactly one of any number of racing callers."""
    target = table.__table__  # type: ignore[attr-defined]
    insert = postgresql.insert if _is_postgresql(session) else sqlite.insert
    result = session.execute(insert(target).values(values).on_conflict_do_nothing())
    return bool(result.rowcount == 1)  # type: ignore[attr-defined]


def _is_postgresql(session: Session) -> bool:
    return session.get_bind().dialect.name == "postgresql"
