"""Tables of the log's search and of what is measured at the doors. I/O: none here.

`log_entry` says nothing that the leaf does not say: it is written with the leaf, in the leaf's transaction, and can be made
anew from the leaves. One narrow row for each, because the leaf's bytes are read only for what is shown.
"""

from datetime import datetime

from sqlalchemy import BigInteger, CheckConstraint, Index, Integer, LargeBinary, text
from sqlmodel import Field, SQLModel

from consent.types import UtcDateTime

# A leaf is found by any of these; what has none of a kind is not in that index.
SEARCHED = ("participant", "purpose", "outcome", "window_id", "batch_id")


def _by(column: str) -> Index:
    given = text(f"{column} IS NOT NULL")
    return Index(f"ix_log_entry_{column}", column, "at", "leaf_id", sqlite_where=given, postgresql_where=given)


class LogEntry(SQLModel, table=True):
    """What one leaf can be found by; every index ends with the time and number that pages go by."""

    __tablename__ = "log_entry"
    __table_args__ = (
        Index("ix_log_entry_at", "at", "leaf_id"),
        Index("ix_log_entry_kind", "kind", "at", "leaf_id"),
        # What is rare of somebody who exchanges a lot is not looked for among all that is theirs.
        Index(
            "ix_log_entry_kind_participant", "kind", "participant", "at", "leaf_id",
            sqlite_where=text("participant IS NOT NULL"), postgresql_where=text("participant IS NOT NULL"),
        ),
        *(_by(column) for column in SEARCHED),
    )  # fmt: skip

    leaf_id: int = Field(sa_type=BigInteger, primary_key=True, sa_column_kwargs={"autoincrement": False})
    at: datetime = Field(sa_type=UtcDateTime)
    kind: str = Field(max_length=40)
    participant: str | None = Field(default=None, max_length=64)
    purpose: str | None = Field(default=None, max_length=40)
    outcome: str | None = Field(default=None, max_length=40)
    window_id: int | None = Field(default=None, sa_type=Integer)
    batch_id: int | None = Field(default=None, sa_type=BigInteger)


class ExchangeCount(SQLModel, table=True):
    """Requests at one door in one hour that ended alike and took about as long; `participant` is "" where it was nobody's."""

    __tablename__ = "exchange_count"
    __table_args__ = (CheckConstraint("requests > 0", name="ck_exchange_count_requests"),)

    hour: int = Field(sa_type=BigInteger, primary_key=True, sa_column_kwargs={"autoincrement": False})
    participant: str = Field(max_length=64, primary_key=True)
    operation: str = Field(max_length=120, primary_key=True)
    outcome: str = Field(max_length=10, primary_key=True)
    reason: str = Field(max_length=64, primary_key=True)
    up_to_ms: int = Field(primary_key=True, sa_column_kwargs={"autoincrement": False})
    requests: int = Field(sa_type=BigInteger)
    sum_us: int = Field(sa_type=BigInteger)
    bytes_in: int = Field(sa_type=BigInteger)
    bytes_out: int = Field(sa_type=BigInteger)


class ExchangeHour(SQLModel, table=True):
    """An hour of one participant's requests that the log has been told of; nothing is counted in it any more."""

    __tablename__ = "exchange_hour"

    hour: int = Field(sa_type=BigInteger, primary_key=True, sa_column_kwargs={"autoincrement": False})
    participant: str = Field(max_length=64, primary_key=True)
    requests: int = Field(sa_type=BigInteger)
    digest: bytes = Field(sa_type=LargeBinary)
    told_at: datetime = Field(sa_type=UtcDateTime)


class TerminalAccess(SQLModel, table=True):
    """That a command showed or changed something of people: what kind of command, and the salt of the leaf's commitment.

    The salt is in the open where the command named no person, and sealed under the person's own key where it did: who it
    was can be shown as long as the person is here, and by nobody afterwards.
    """

    __tablename__ = "terminal_access"

    access_id: str = Field(primary_key=True, max_length=32)
    at: datetime = Field(sa_type=UtcDateTime)
    what: str = Field(max_length=40)
    purpose: str = Field(max_length=40)
    salt: bytes | None = Field(default=None, sa_type=LargeBinary)
    salt_sealed: bytes | None = Field(default=None, sa_type=LargeBinary)
