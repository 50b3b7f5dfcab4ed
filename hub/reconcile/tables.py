"""Tables of reconciliation: what a stream's two sides came to, and the breaks between them. I/O: none here."""

from datetime import datetime

from sqlalchemy import BigInteger, CheckConstraint, Index, text
from sqlmodel import Field, SQLModel

from consent.types import UtcDateTime

LIVE = text("closed_at IS NULL")


class StreamReconciliation(SQLModel, table=True):
    """The newest comparison of one stream and window: both sides' count, sum and digest.

    The digests are sealed: of a stream with one record, who knows the form of its ids could find the id by trying.
    """

    __tablename__ = "stream_reconciliation"

    window_id: int = Field(primary_key=True, foreign_key="clearing_window.window_id")
    platform: str = Field(primary_key=True, max_length=64)
    stream: str = Field(primary_key=True, max_length=64)
    state: str = Field(max_length=16, description="matched, breaks, or lines_wanted: they differ, nobody knows where")
    ours_count: int = Field(sa_type=BigInteger)
    ours_mg: int = Field(sa_type=BigInteger)
    ours_digest: bytes | None = Field(default=None, description="sealed; empty once a person of it was erased")
    theirs_count: int = Field(sa_type=BigInteger)
    theirs_mg: int = Field(sa_type=BigInteger)
    theirs_digest: bytes | None = None
    same_digest: bool
    matched_count: int | None = Field(default=None, sa_type=BigInteger, description="null while lines are wanted")
    matched_mg: int | None = Field(default=None, sa_type=BigInteger)
    numbered: bool = Field(description="whether lines carry the record's own version number; else 0")
    comparison: str = Field(max_length=120, description="reference of the leaf that tells of it")
    compared_at: datetime = Field(sa_type=UtcDateTime)


class StatementBreak(SQLModel, table=True):
    """One difference between the two sides, until both agree or it is gone.

    `source_id` is the keyed token, as of a source record. The id itself is sealed and kept only while the break lives, so
    that its platform can be told which record it is about.
    """

    __tablename__ = "statement_break"
    __table_args__ = (
        CheckConstraint("(state = 'closed') = (closed_at IS NOT NULL)", name="ck_statement_break_closed"),
        Index("ix_statement_break_place", "window_id", "platform", "stream"),
        Index("ix_statement_break_live", "platform", sqlite_where=LIVE, postgresql_where=LIVE),
        Index(
            "ix_statement_break_record", "record_id",
            sqlite_where=text("record_id IS NOT NULL"), postgresql_where=text("record_id IS NOT NULL"),
        ),
    )  # fmt: skip

    break_id: int = Field(sa_type=BigInteger, primary_key=True, sa_column_kwargs={"autoincrement": False})
    window_id: int = Field(foreign_key="clearing_window.window_id")
    platform: str = Field(max_length=64)
    stream: str = Field(max_length=64, description="empty for deliveries, which are paired across streams")
    record_id: int | None = Field(default=None, sa_type=BigInteger, foreign_key="source_record.record_id")
    source_id: str | None = Field(default=None, max_length=32)
    source_sealed: bytes | None = None
    delivery_id: str | None = Field(default=None, max_length=200)
    kind: str = Field(max_length=16)
    ours: int | None = Field(default=None, sa_type=BigInteger)
    theirs: int | None = Field(default=None, sa_type=BigInteger)
    mg: int = Field(sa_type=BigInteger, description="what it is about, in milligrams of claims")
    owner: str = Field(max_length=8, description="who has to act: platform or hub")
    proposal: str = Field(max_length=40)
    state: str = Field(max_length=16)
    steps: int = Field(description="how often it was proposed or signed; each step is a leaf")
    note: str = Field(max_length=200)
    proposed_by: str | None = Field(default=None, max_length=80, description="platform:CLIENT or hub:STAFF")
    proposed_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    platform_signed_by: str | None = Field(default=None, max_length=80)
    platform_signed_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    hub_signed_by: str | None = Field(default=None, max_length=80)
    hub_signed_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    opened_at: datetime = Field(sa_type=UtcDateTime)
    opened_by: str = Field(max_length=120, description="reference of the leaf of the comparison that showed it")
    closed_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    closed_by: str | None = Field(default=None, max_length=120, description="reference of the leaf that ended it")
    closed_why: str | None = Field(default=None, max_length=8)
