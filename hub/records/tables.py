"""Tables of the record store. I/O: none here.

Times of records are whole microseconds since 1970 in BIGINT: the same number on both databases, in Arrow and in the
kernel, and no driver builds a Python object per row. Token columns hold unsigned 64-bit values as signed ones.
"""

from datetime import datetime

from sqlalchemy import BigInteger, Index, Text, UniqueConstraint, text
from sqlmodel import Field, SQLModel

from consent.types import UtcDateTime


class Batch(SQLModel, table=True):
    """One delivery that brought something new; a second one with the same id and digest changes nothing."""

    __tablename__ = "batch"
    __table_args__ = (UniqueConstraint("platform", "stream", "delivery_id"),)

    batch_id: int = Field(sa_type=BigInteger, primary_key=True, sa_column_kwargs={"autoincrement": False})
    platform: str = Field(max_length=64)
    stream: str = Field(max_length=64)
    delivery_id: str = Field(max_length=200)
    digest: bytes
    mapping: str = Field(max_length=120)
    origin: str = Field(
        max_length=8, description="received, fetched, replayed from the quarantine, restated, or released"
    )
    rows: int
    accepted: int
    replayed: int
    conflicting: int
    refused: int
    quarantined: int
    claimed_mg: int = Field(sa_type=BigInteger)
    window_id: int = Field(index=True, foreign_key="clearing_window.window_id")
    records_root: bytes
    received_at: datetime = Field(sa_type=UtcDateTime)


class SourceRecord(SQLModel, table=True):
    """What a platform sent, reduced to the allowed fields and sealed under the person's data key."""

    __tablename__ = "source_record"
    __table_args__ = (
        UniqueConstraint("platform", "stream", "source_id", "digest"),
        # One version stands: of two deliveries of newer versions at one moment, one is turned away and comes again.
        Index(
            "uq_source_record_standing", "platform", "stream", "source_id", unique=True,
            sqlite_where=text("superseded_by IS NULL"), postgresql_where=text("superseded_by IS NULL"),
        ),
        Index(
            "ix_source_record_superseded", "superseded_by",
            sqlite_where=text("superseded_by IS NOT NULL"), postgresql_where=text("superseded_by IS NOT NULL"),
        ),
        Index("ix_source_record_subject", "subject_id"),
    )  # fmt: skip

    record_id: int = Field(sa_type=BigInteger, primary_key=True, sa_column_kwargs={"autoincrement": False})
    platform: str = Field(max_length=64)
    stream: str = Field(max_length=64)
    source_id: str = Field(max_length=32, description="keyed token of the platform's own id")
    version: int = Field(sa_type=BigInteger, description="some platforms count in milliseconds of a clock")
    digest: bytes
    subject_id: int = Field(sa_type=BigInteger)
    link_id: str = Field(max_length=32)
    batch_id: int = Field(sa_type=BigInteger, foreign_key="batch.batch_id")
    window_id: int = Field(foreign_key="clearing_window.window_id")
    payload: bytes
    posted_us: int | None = Field(default=None, sa_type=BigInteger)
    received_us: int = Field(sa_type=BigInteger)
    cancelled: bool
    # The newer version's record, or null: the latest version is the one that nobody supersedes.
    superseded_by: int | None = Field(default=None, sa_type=BigInteger)


class ReductionRecord(SQLModel, table=True):
    """A platform's report of an act in the common schema, with what the pinned methodology says it is worth."""

    __tablename__ = "reduction_record"
    __table_args__ = (
        Index("ix_reduction_record_subject", "subject_id", "start_us"),
        Index("ix_reduction_record_window", "window_id", "bucket"),
        # Of shared rides only, which two people tell of under one key.
        Index(
            "ix_reduction_record_shared", "event_key",
            sqlite_where=text("behaviour = 'MOB-CARPOOL'"), postgresql_where=text("behaviour = 'MOB-CARPOOL'"),
        ),
        # By number of the act or payment: who asks whether one is claimed names no person.
        Index(
            "ix_reduction_record_event_key", "event_key",
            sqlite_where=text("event_key IS NOT NULL"), postgresql_where=text("event_key IS NOT NULL"),
        ),
        Index(
            "ix_reduction_record_payment_key", "payment_key",
            sqlite_where=text("payment_key IS NOT NULL"), postgresql_where=text("payment_key IS NOT NULL"),
        ),
    )  # fmt: skip

    record_id: int = Field(
        sa_type=BigInteger,
        primary_key=True,
        foreign_key="source_record.record_id",
        sa_column_kwargs={"autoincrement": False},
    )
    window_id: int = Field(foreign_key="clearing_window.window_id")
    bucket: int
    subject_id: int = Field(sa_type=BigInteger)
    platform: str = Field(max_length=64)
    role: str = Field(max_length=16)
    behaviour: str = Field(max_length=32)
    start_us: int = Field(sa_type=BigInteger)
    end_us: int = Field(sa_type=BigInteger)
    precision: str = Field(max_length=8)
    quantity_micro: int | None = Field(default=None, sa_type=BigInteger)
    unit: str | None = Field(default=None, max_length=16)
    event_key: int | None = Field(default=None, sa_type=BigInteger)
    payment_key: int | None = Field(default=None, sa_type=BigInteger)
    region: int | None = None
    claimed_mg: int | None = Field(default=None, sa_type=BigInteger)
    reference_mg: int | None = Field(default=None, sa_type=BigInteger)
    factor_id: str | None = Field(default=None, max_length=120)
    methodology: str = Field(max_length=40)
    mapping: str = Field(max_length=120)


class Quarantined(SQLModel, table=True):
    """A row that could not go on, with the machine reason; never dropped in silence.

    `payload` is kept (sealed, without personal fields) only where a corrected mapping could help. A row that was
    refused for want of consent keeps no payload at all, and neither does one that is no longer open.
    """

    __tablename__ = "quarantined"
    __table_args__ = (
        UniqueConstraint("platform", "stream", "row_key", "reason"),
        Index("ix_quarantined_state", "platform", "state", "quarantine_id"),
    )

    quarantine_id: int = Field(sa_type=BigInteger, primary_key=True, sa_column_kwargs={"autoincrement": False})
    platform: str = Field(max_length=64)
    stream: str = Field(max_length=64)
    row_key: bytes = Field(description="keyed digest of the row: recognises it again, tells nothing about it")
    batch_id: int = Field(sa_type=BigInteger, foreign_key="batch.batch_id")
    mapping: str = Field(max_length=120, description="the last one that was tried on it")
    reason: str = Field(max_length=64)
    detail: str = Field(sa_type=Text)
    payload: bytes | None = None
    state: str = Field(max_length=16)
    received_at: datetime = Field(sa_type=UtcDateTime)


class Corroboration(SQLModel, table=True):
    """An act that an operator's own list tells of without saying whose it was: it confirms, and credits nobody."""

    __tablename__ = "corroboration"

    platform: str = Field(primary_key=True, max_length=64)
    stream: str = Field(primary_key=True, max_length=64)
    event_key: int = Field(sa_type=BigInteger, primary_key=True, sa_column_kwargs={"autoincrement": False})
    behaviour: str = Field(max_length=32)
    start_us: int = Field(sa_type=BigInteger)
    end_us: int = Field(sa_type=BigInteger)
    quantity_micro: int | None = Field(default=None, sa_type=BigInteger)
    digest: bytes
    batch_id: int = Field(sa_type=BigInteger, foreign_key="batch.batch_id", index=True)


class SpentRecord(SQLModel, table=True):
    """A record of somebody who was erased. It may never count again, and nothing here says whose it was."""

    __tablename__ = "spent_record"

    token: bytes = Field(primary_key=True, description="HMAC under the spent key of platform, stream and record token")


class KeyUse(SQLModel, table=True):
    """Which key of a purpose makes new names, where all processes must change over at one moment. ADR 0013."""

    __tablename__ = "key_use"

    purpose: str = Field(primary_key=True, max_length=32)
    key_id: str = Field(max_length=40)
    since: datetime = Field(sa_type=UtcDateTime)
