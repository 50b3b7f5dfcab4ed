"""Tables of the log. I/O: none here.

A leaf's bytes are stored once, when it is appended; entry bundles are cut from them when asked for. Leaves appended
together share one row, because a row for each costs more than hashing, tree and signature together, and the bytes are
in a table of their own, because giving a row its index would write them again.
"""

from datetime import datetime

from sqlalchemy import BigInteger, CheckConstraint, Index, Integer, LargeBinary, text
from sqlmodel import Field, SQLModel

from consent.types import UtcDateTime

# SQLite numbers rows by itself only in a column declared INTEGER.
_RowId = BigInteger().with_variant(Integer, "sqlite")
_WAITING = text("first_index IS NULL")


class LogLeaf(SQLModel, table=True):
    """A run of leaves of one kind, appended together: they stand at first_index ... first_index + count - 1."""

    __tablename__ = "log_leaf"
    __table_args__ = (
        Index("ix_log_leaf_waiting", "leaf_id", sqlite_where=_WAITING, postgresql_where=_WAITING),
        CheckConstraint("count > 0", name="ck_log_leaf_count"),
        {"sqlite_autoincrement": True},  # a number is never given twice, not even after a deletion
    )

    leaf_id: int = Field(sa_type=_RowId, primary_key=True)
    first_index: int | None = Field(default=None, sa_type=BigInteger, unique=True)
    count: int
    kind: str = Field(max_length=40)
    created_at: datetime = Field(sa_type=UtcDateTime)


class LogBody(SQLModel, table=True):
    """The bytes of a run, each entry behind its length as in an entry bundle; never changed."""

    __tablename__ = "log_body"

    leaf_id: int = Field(sa_type=_RowId, primary_key=True, foreign_key="log_leaf.leaf_id")
    data: bytes = Field(sa_type=LargeBinary)


class LogTile(SQLModel, table=True):
    """Hashes of one tile; never changed again once there are 256."""

    __tablename__ = "log_tile"

    level: int = Field(primary_key=True, sa_column_kwargs={"autoincrement": False})
    n: int = Field(sa_type=BigInteger, primary_key=True, sa_column_kwargs={"autoincrement": False})
    data: bytes = Field(sa_type=LargeBinary)


class LogHead(SQLModel, table=True):
    """The one row (id 1) that says how far the log is; locking it makes a sequencer the only one."""

    __tablename__ = "log_head"
    __table_args__ = (
        CheckConstraint("id = 1", name="ck_log_head_single"),
        CheckConstraint("sequenced >= size", name="ck_log_head_sequenced"),
    )

    id: int = Field(primary_key=True, sa_column_kwargs={"autoincrement": False})
    sequenced: int = Field(sa_type=BigInteger, description="indexes below this one are given out")
    size: int = Field(sa_type=BigInteger, description="indexes below this one are under the checkpoint")
    root: bytes = Field(sa_type=LargeBinary)
    frontier: bytes = Field(sa_type=LargeBinary)
    checkpoint: bytes | None = Field(default=None, sa_type=LargeBinary)
    signed_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
