"""Tables of disputes. I/O: none here. A dispute is never deleted; its texts go with an erasure."""

from datetime import datetime

from sqlalchemy import BigInteger, CheckConstraint, Index, UniqueConstraint, text
from sqlmodel import Field, SQLModel

from consent.types import UtcDateTime

LIVE = text("closed_at IS NULL")
LOCKED = text("unlocked_at IS NULL")


class Dispute(SQLModel, table=True):
    """One dispute. Its id is random: who knows it was told, and a digest over it says nothing to others."""

    __tablename__ = "dispute"
    __table_args__ = (
        CheckConstraint("(state IN ('opened', 'evidence', 'review')) = (closed_at IS NULL)", name="ck_dispute_closed"),
        CheckConstraint("(state = 'upheld') = (adjust IS NOT NULL)", name="ck_dispute_adjust"),
        # One open dispute about one thing: who opens it a second time is told of the first.
        Index("uq_dispute_live", "target_key", unique=True, sqlite_where=LIVE, postgresql_where=LIVE),
        Index("ix_dispute_subject", "subject_id"),
        Index("ix_dispute_platform", "platform"),
        Index("ix_dispute_opener_platform", "opener_platform"),
    )

    dispute_id: str = Field(max_length=32, primary_key=True)
    target: str = Field(max_length=10, description="rules.Target")
    target_key: str = Field(max_length=80, description="an event and its amount are one thing")
    event_id: int | None = Field(default=None, sa_type=BigInteger, foreign_key="event.event_id")
    link_id: str | None = Field(default=None, max_length=32, foreign_key="link.link_id")
    reservation_id: str | None = Field(default=None, max_length=40, foreign_key="reservation.reservation_id")
    claimed_mg: int | None = Field(
        default=None, sa_type=BigInteger, description="of an amount: what is said to be right"
    )
    reason: str = Field(max_length=4, description="as of adjustments")
    subject_id: int = Field(sa_type=BigInteger, foreign_key="person.subject_id", description="whose grams it is about")
    platform: str = Field(max_length=64, description="whose report, account or use it is about")
    region: str = Field(max_length=6, description="GB/T 2260, or CN where it has no place")
    opener: str = Field(max_length=10, description="rules.Side")
    opener_platform: str | None = Field(default=None, max_length=64)
    opener_staff: str | None = Field(default=None, max_length=32, foreign_key="staff.staff_id")
    state: str = Field(max_length=10, description="rules.State")
    steps: int = Field(default=0, description="each is a leaf")
    locked_mg: int = Field(default=0, sa_type=BigInteger, description="what was locked when it was opened")
    used: bool = Field(default=False, description="some of it was used or reserved already, and is not locked")
    opened_at: datetime = Field(sa_type=UtcDateTime)
    acknowledge_due_at: datetime = Field(sa_type=UtcDateTime)
    evidence_due_at: datetime = Field(sa_type=UtcDateTime)
    decision_due_at: datetime = Field(sa_type=UtcDateTime)
    answer_due_at: datetime | None = Field(default=None, sa_type=UtcDateTime, description="who opened it has to answer")
    acknowledged_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    review_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    closed_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    decided_by: str | None = Field(default=None, max_length=32, foreign_key="staff.staff_id")
    adjust: str | None = Field(default=None, max_length=8, description="rules.Adjust, of one that was upheld")
    adjustments: int = Field(default=0, description="how many were posted with the outcome")
    why: str = Field(default="", max_length=200)


class DisputeEvidence(SQLModel, table=True):
    """What one side wrote, sealed under the key of the person whom the dispute is about. Append-only."""

    __tablename__ = "dispute_evidence"
    __table_args__ = (UniqueConstraint("dispute_id", "number"),)

    evidence_id: str = Field(max_length=32, primary_key=True)
    dispute_id: str = Field(max_length=32, foreign_key="dispute.dispute_id")
    number: int
    subject_id: int = Field(sa_type=BigInteger, index=True)
    side: str = Field(max_length=10, description="rules.Side")
    platform: str | None = Field(default=None, max_length=64, description="which one wrote")
    text_sealed: bytes = Field(description="JSON of the text and a salt; empty once the person was erased")
    digest: bytes = Field(description="over both; it says nothing once the salt is gone")
    at: datetime = Field(sa_type=UtcDateTime)


class DisputeLock(SQLModel, table=True):
    """Grams of one event that a dispute locks. `number` is the source of the entries that lock and unlock them."""

    __tablename__ = "dispute_lock"
    __table_args__ = (
        CheckConstraint("both_mg >= 0 AND incentive_mg >= 0 AND attribute_mg >= 0", name="ck_dispute_lock_mg"),
        Index("uq_dispute_lock_event", "event_id", unique=True, sqlite_where=LOCKED, postgresql_where=LOCKED),
        Index("ix_dispute_lock_dispute", "dispute_id"),
    )

    number: int = Field(sa_type=BigInteger, primary_key=True, sa_column_kwargs={"autoincrement": False})
    dispute_id: str = Field(max_length=32, foreign_key="dispute.dispute_id")
    event_id: int = Field(sa_type=BigInteger, foreign_key="event.event_id")
    window_id: int = Field(foreign_key="clearing_window.window_id", description="whose grams they are")
    vintage: int
    both_mg: int = Field(sa_type=BigInteger)
    incentive_mg: int = Field(sa_type=BigInteger, description="whose attribute was used before")
    attribute_mg: int = Field(sa_type=BigInteger, description="whose incentive was used before")
    locked_at: datetime = Field(sa_type=UtcDateTime)
    unlocked_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
