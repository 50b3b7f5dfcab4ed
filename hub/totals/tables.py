"""Tables of programmes and totals. I/O: none here. What was told is appended and never edited.

A release is one telling: of one kind of facts, one month, and the windows from `first_window` to `last_window`. Its cells
share no act, each is of k people or more, and every figure that is ever shown is a sum of cells. ADR 0034.
"""

from datetime import date, datetime

from sqlalchemy import BigInteger, CheckConstraint, Index, Text, UniqueConstraint, text
from sqlmodel import Field, SQLModel

from consent.types import UtcDateTime

STANDING = text("left_at IS NULL AND subject_id IS NOT NULL")


class Programme(SQLModel, table=True):
    """A named thing run by a participant: its name may change; what it takes never does, for people joined that."""

    __tablename__ = "programme"

    programme_id: str = Field(max_length=32, primary_key=True)
    participant_id: str = Field(max_length=32, foreign_key="participant.participant_id", index=True)
    kind: str = Field(max_length=8, description="employer or event")
    name_zh: str = Field(max_length=60)
    name_en: str = Field(max_length=60)
    since: date = Field(description="first day of acts, in Asia/Shanghai")
    until: date = Field(description="last day of acts, included")
    regions: str = Field(sa_type=Text, description="JSON list of GB/T 2260 codes; empty: everywhere")
    behaviours: str = Field(sa_type=Text, description="JSON list of codes; empty: all")
    own_file: bool = Field(description="acts that the participant itself reported are taken without anybody joining")
    rules_digest: bytes = Field(description="SHA-256 of what it takes")
    created_at: datetime = Field(sa_type=UtcDateTime)
    closed_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    closed_after: int | None = Field(default=None, description="the last release before it was closed")


class ProgrammeMembership(SQLModel, table=True):
    """Somebody joined a programme, and perhaps left it again; who joins again has another row.

    Told by releases and not by times: whether a release counts the person must be the same whoever asks, and when.
    """

    __tablename__ = "programme_membership"
    __table_args__ = (
        Index(
            "uq_membership_standing", "programme_id", "subject_id", unique=True,
            sqlite_where=STANDING, postgresql_where=STANDING,
        ),
        CheckConstraint("(left_at IS NULL) = (left_after IS NULL)", name="ck_membership_left"),
    )  # fmt: skip

    membership_id: str = Field(max_length=32, primary_key=True)
    programme_id: str = Field(max_length=32, foreign_key="programme.programme_id")
    subject_id: int | None = Field(
        default=None, sa_type=BigInteger, index=True, description="null: forgotten with the person"
    )
    joined_at: datetime = Field(sa_type=UtcDateTime)
    joined_after: int = Field(description="the last release before; 0: none")
    left_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    left_after: int | None = None


class TotalRelease(SQLModel, table=True):
    """One telling of totals; `digest` commits to its cells and stands in the log."""

    __tablename__ = "total_release"
    __table_args__ = (UniqueConstraint("facts", "month", "first_window"),)

    release_id: int = Field(primary_key=True, sa_column_kwargs={"autoincrement": False})
    facts: str = Field(max_length=12, description="counted, taken_back or used")
    month: int = Field(index=True, description="yyyymm of the acts in Asia/Shanghai; of uses: of when they were used")
    first_window: int
    last_window: int = Field(foreign_key="clearing_window.window_id")
    k: int
    p_percent: int
    cells: int
    digest: bytes
    told_at: datetime = Field(sa_type=UtcDateTime)


class TotalCell(SQLModel, table=True):
    """What a release tells. A null label says: not told apart; 0 or an empty text: the record tells none."""

    __tablename__ = "total_cell"

    release_id: int = Field(
        primary_key=True, foreign_key="total_release.release_id", sa_column_kwargs={"autoincrement": False}
    )
    cell: int = Field(primary_key=True, sa_column_kwargs={"autoincrement": False})
    programme: str | None = Field(default=None, max_length=32)
    province: int | None = None
    city: int | None = None
    category: str | None = Field(default=None, max_length=16)
    behaviour: str | None = Field(default=None, max_length=32)
    day: int | None = Field(default=None, description="yyyymmdd")
    people: int = Field(description="never shown as it is: rounded down to a multiple of k")
    acts: int = Field(sa_type=BigInteger)
    mg: int = Field(sa_type=BigInteger)


class TotalPeople(SQLModel, table=True):
    """How many people stand behind a sum of cells of one month: people are not additive, so they are counted here."""

    __tablename__ = "total_people"

    month: int = Field(primary_key=True, sa_column_kwargs={"autoincrement": False})
    line: int = Field(primary_key=True, sa_column_kwargs={"autoincrement": False})
    scope: str | None = Field(default=None, max_length=32, description="a programme; null: everybody")
    split_by: str = Field(max_length=64, description="the labels that this line is by, joined by commas")
    province: int | None = None
    city: int | None = None
    category: str | None = Field(default=None, max_length=16)
    behaviour: str | None = Field(default=None, max_length=32)
    day: int | None = None
    people: int


class TotalWaiting(SQLModel, table=True):
    """Facts of a month that are of too few people yet; they are told with what comes later."""

    __tablename__ = "total_waiting"

    facts: str = Field(max_length=12, primary_key=True)
    month: int = Field(primary_key=True, sa_column_kwargs={"autoincrement": False})
    first_window: int


class TotalProgress(SQLModel, table=True):
    """The last window whose facts are told or waiting; one row."""

    __tablename__ = "total_progress"

    name: str = Field(max_length=8, primary_key=True)
    window_id: int
