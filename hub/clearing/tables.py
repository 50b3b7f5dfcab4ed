"""Tables of clearing: windows, decisions, events, reversals, reconciliations. I/O: none here."""

from datetime import datetime

from sqlalchemy import BigInteger, CheckConstraint, Index, Text, text
from sqlmodel import Field, SQLModel

from consent.types import UtcDateTime


class ClearingWindow(SQLModel, table=True):
    """A contiguous range of the hub's record sequence, cleared together: open -> ... -> final, never back."""

    __tablename__ = "clearing_window"
    __table_args__ = (
        Index(
            "uq_open_window",
            "state",
            unique=True,
            sqlite_where=text("state = 'open'"),
            postgresql_where=text("state = 'open'"),
        ),
    )

    window_id: int = Field(primary_key=True, sa_column_kwargs={"autoincrement": False})
    state: str = Field(max_length=16)
    first_seq: int = Field(sa_type=BigInteger)
    last_seq: int | None = Field(default=None, sa_type=BigInteger)
    opened_at: datetime = Field(sa_type=UtcDateTime)
    sealed_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    groups: int | None = Field(default=None, description="number of clearing steps, fixed when sealed")
    groups_cleared: int = 0
    cleared_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    provisional_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    final_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    manifest: str | None = Field(default=None, sa_type=Text)
    root: bytes | None = None


class DirtySubject(SQLModel, table=True):
    """A subject with records in the open window that its provisional decisions do not know yet."""

    __tablename__ = "dirty_subject"

    subject_id: int = Field(sa_type=BigInteger, primary_key=True, sa_column_kwargs={"autoincrement": False})
    marks: int = Field(default=1, description="counts up with each batch, so that a mark set meanwhile is not lost")


class DecisionRow(SQLModel, table=True):
    """What a window decided about a record. Provisional ones are rewritten until the window is cleared, then never.

    A record has one decision, of the window in which it came, and a further one for each later window that took its event
    back and decided it anew. The newest stands.
    """

    __tablename__ = "decision"
    __table_args__ = (
        Index("ix_decision_event", "event_id"),
        Index("ix_decision_subject", "subject_id"),
        Index("ix_decision_window", "window_id", "record_id"),
    )

    record_id: int = Field(
        sa_type=BigInteger,
        primary_key=True,
        foreign_key="source_record.record_id",
        sa_column_kwargs={"autoincrement": False},
    )
    window_id: int = Field(
        primary_key=True, foreign_key="clearing_window.window_id", sa_column_kwargs={"autoincrement": False}
    )
    subject_id: int = Field(sa_type=BigInteger)
    event_id: int | None = Field(default=None, sa_type=BigInteger)
    verdict: str = Field(max_length=16)
    rule: str = Field(max_length=40)
    reason: str = Field(max_length=80)
    counted_mg: int = Field(sa_type=BigInteger)
    canonical_record_id: int | None = Field(default=None, sa_type=BigInteger)
    policy: str = Field(max_length=40)
    provisional: bool


class EventRow(SQLModel, table=True):
    """One real act and the one amount that counts for it; named by its canonical record."""

    __tablename__ = "event"
    __table_args__ = (Index("ix_event_subject", "subject_id", "start_us"), Index("ix_event_window", "window_id"))

    event_id: int = Field(sa_type=BigInteger, primary_key=True, sa_column_kwargs={"autoincrement": False})
    window_id: int = Field(foreign_key="clearing_window.window_id")
    subject_id: int = Field(sa_type=BigInteger)
    behaviour: str = Field(max_length=32)
    start_us: int = Field(sa_type=BigInteger)
    end_us: int = Field(sa_type=BigInteger)
    mg: int = Field(sa_type=BigInteger)
    records: int
    policy: str = Field(max_length=40)
    methodology: str = Field(max_length=40)
    provisional: bool


class EventReversal(SQLModel, table=True):
    """Says that a cleared event no longer counts. The event itself is never edited.

    `by_record_id` is the newer version that took it back; the event's own record where staff did (`adjustment`).
    """

    __tablename__ = "event_reversal"

    event_id: int = Field(
        sa_type=BigInteger, primary_key=True, foreign_key="event.event_id", sa_column_kwargs={"autoincrement": False}
    )
    by_record_id: int = Field(sa_type=BigInteger, foreign_key="source_record.record_id")
    window_id: int = Field(index=True, foreign_key="clearing_window.window_id")
    reason: str = Field(max_length=40)
    decided_anew: int | None = Field(
        default=None, description="how many other reports of it were decided anew; null: before the hub did that"
    )


class WindowEventKey(SQLModel, table=True):
    """The key under which a final window published a counted event: what a platform's one act is known by, keyed.

    No act of a platform counts twice while no two live events have one key. The token is an HMAC of the source record's own
    keyed name; it stays when a person is erased, because the window's manifest commits to it, and nothing leads back from it.
    """

    __tablename__ = "window_event_key"
    __table_args__ = (Index("ix_window_event_key_token", "window_id", "token"),)

    event_id: int = Field(
        sa_type=BigInteger, primary_key=True, foreign_key="event.event_id", sa_column_kwargs={"autoincrement": False}
    )
    window_id: int = Field(foreign_key="clearing_window.window_id")
    token: bytes


class HoldReview(SQLModel, table=True):
    """What a reviewer decided about a hold, once. What was decided in its window stays; a release goes on as a new version.

    `why` is the reviewer's own line; it never leaves the hub (the log has a digest of the row) and goes with an erasure.
    """

    __tablename__ = "hold_review"
    __table_args__ = (
        CheckConstraint("(outcome = 'released') = (record_id IS NOT NULL)", name="ck_hold_review_record"),
        CheckConstraint("outcome IN ('released', 'rejected')", name="ck_hold_review_outcome"),
    )

    event_id: int = Field(
        sa_type=BigInteger, primary_key=True, foreign_key="event.event_id", sa_column_kwargs={"autoincrement": False}
    )
    review_id: str = Field(max_length=32, unique=True)
    subject_id: int = Field(sa_type=BigInteger, index=True)
    outcome: str = Field(max_length=8)
    rule: str = Field(max_length=40, description="by which it was held")
    reason: str = Field(max_length=80)
    staff_id: str = Field(max_length=32, foreign_key="staff.staff_id")
    why: str = Field(max_length=200)
    record_id: int | None = Field(
        default=None, sa_type=BigInteger, foreign_key="source_record.record_id",
        description="of a release: the version that is cleared instead",
    )  # fmt: skip
    window_id: int = Field(
        foreign_key="clearing_window.window_id", description="the open one, in which a release counts"
    )
    at: datetime = Field(sa_type=UtcDateTime)


class WindowLearning(SQLModel, table=True):
    """What a window's records taught about platforms (counts by platform and behaviour); written before it is cleared."""

    __tablename__ = "window_learning"

    window_id: int = Field(
        primary_key=True, foreign_key="clearing_window.window_id", sa_column_kwargs={"autoincrement": False}
    )
    counts: str = Field(sa_type=Text)


class Reconciliation(SQLModel, table=True):
    """Ours against a platform's own statement for one window."""

    __tablename__ = "reconciliation"

    window_id: int = Field(primary_key=True, foreign_key="clearing_window.window_id")
    platform: str = Field(primary_key=True, max_length=64)
    state: str = Field(max_length=16)
    ours_deliveries: int
    ours_rows: int
    theirs_deliveries: int | None = None
    theirs_rows: int | None = None
    breaks: str = Field(default="[]", sa_type=Text)
    compared_at: datetime = Field(sa_type=UtcDateTime)


class PolicyAdoption(SQLModel, table=True):
    """Says that a clearing policy decides about every window from `first_window` on, until the next one is adopted."""

    __tablename__ = "policy_adoption"

    adoption: int = Field(primary_key=True, sa_column_kwargs={"autoincrement": False})
    policy: str = Field(max_length=40)
    former: str = Field(max_length=40, description="the policy that decided until then")
    first_window: int
    why: str = Field(sa_type=Text, description="the operator's words; the log has a digest of them")
    adopted_at: datetime = Field(sa_type=UtcDateTime)
