"""Tables of the log. I/O: none here.

A leaf's bytes are stored once, when it is appended; entry bundles are cut from them when asked for. Leaves appended
together share one row, because a row for each costs more than hashing, tree and signature together, and the bytes are
in a table of their own, because giving a row its index would write them again.
"""

from datetime import datetime

from sqlalchemy import BigInteger, CheckConstraint, Index, Integer, LargeBinary, Text, text
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


class LogWitness(SQLModel, table=True):
    """What one witness of the policy said last, and when it is to be asked again."""

    __tablename__ = "log_witness"

    key: str = Field(primary_key=True, max_length=300, description="its verifier key line")
    size: int = Field(sa_type=BigInteger, description="the size that it cosigned last, as far as the hub knows")
    root: bytes | None = Field(default=None, sa_type=LargeBinary)
    line: str | None = Field(default=None, sa_type=Text, description="its signature line of that size and root")
    cosigned_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    next_at: datetime = Field(sa_type=UtcDateTime)
    failures: int = Field(default=0, description="how often in a row it did not cosign")
    problem: str | None = Field(default=None, max_length=40)


class LogWitnessed(SQLModel, table=True):
    """The newest checkpoint that had the quorum of witnesses (id 1), with its cosignatures."""

    __tablename__ = "log_witnessed"
    __table_args__ = (CheckConstraint("id = 1", name="ck_log_witnessed_single"),)

    id: int = Field(primary_key=True, sa_column_kwargs={"autoincrement": False})
    size: int = Field(sa_type=BigInteger)
    note: bytes = Field(sa_type=LargeBinary)
    at: datetime = Field(sa_type=UtcDateTime)
