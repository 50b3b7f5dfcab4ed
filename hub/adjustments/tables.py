"""Tables of adjustments. I/O: none here."""

from datetime import datetime

from sqlalchemy import BigInteger, CheckConstraint
from sqlmodel import Field, SQLModel

from consent.types import UtcDateTime


class Adjustment(SQLModel, table=True):
    """One new entry that changes the effect of an old one. Never edited, but for `why`, which goes with an erasure."""

    __tablename__ = "adjustment"
    __table_args__ = (
        CheckConstraint("posted_as IN ('reverse', 'adjust', 'draw')", name="ck_adjustment_posted_as"),
        CheckConstraint("mg > 0 AND owed_mg >= 0 AND owed_mg <= mg", name="ck_adjustment_mg"),
    )

    adjustment_id: str = Field(max_length=32, primary_key=True, description="random: a digest over it says nothing")
    kind: str = Field(max_length=16, description="kinds.AdjustmentKind")
    reason: str = Field(max_length=4, description="kinds.Reason")
    event_id: int | None = Field(default=None, sa_type=BigInteger, foreign_key="event.event_id", index=True)
    subject_id: int | None = Field(default=None, sa_type=BigInteger, index=True)
    platform: str = Field(max_length=64, description="for which the event counted until then; of a draw, who owed")
    to_platform: str | None = Field(
        default=None, max_length=64, description="of a re-attribution: for which it counts now"
    )
    mg: int = Field(sa_type=BigInteger, description="milligrams that were taken back, moved or drawn")
    owed_mg: int = Field(sa_type=BigInteger, description="how many of them the platform owes, because they were used")
    posted_as: str = Field(max_length=8, description="kind of its entry: reverse (all of an event), adjust, draw")
    source_id: int = Field(
        sa_type=BigInteger,
        description="of its entry: the event of a full reversal, the payment of a draw, its own number else",
    )
    case_id: str | None = Field(default=None, max_length=64, index=True)
    staff_id: str = Field(max_length=32, foreign_key="staff.staff_id")
    why: str = Field(max_length=200)
    window_id: int = Field(foreign_key="clearing_window.window_id", description="the open one, in which it was posted")
    at: datetime = Field(sa_type=UtcDateTime, index=True)


class EventAdjusted(SQLModel, table=True):
    """What was taken back of an event that still counts, and for which platform it counts now.

    The event itself is never edited: whoever tells what it counts takes `taken_mg` off. A full reversal is an
    `event_reversal` instead, as when a newer version takes an act back.
    """

    __tablename__ = "event_adjusted"
    __table_args__ = (CheckConstraint("taken_mg >= 0", name="ck_event_adjusted_mg"),)

    event_id: int = Field(
        sa_type=BigInteger, primary_key=True, foreign_key="event.event_id", sa_column_kwargs={"autoincrement": False}
    )
    taken_mg: int = Field(default=0, sa_type=BigInteger)
    platform: str | None = Field(default=None, max_length=64, description="where it was re-attributed")
