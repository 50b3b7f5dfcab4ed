"""Tables of the ledger. I/O: none here. Entries and postings are immutable: triggers refuse UPDATE and DELETE."""

from datetime import datetime

from sqlalchemy import BigInteger, Index, UniqueConstraint, text
from sqlmodel import Field, SQLModel

from consent.types import UtcDateTime


class Account(SQLModel, table=True):
    """Where grams are: `activity` (the world, per platform) against `pending`, `held` and `forfeited` of a subject."""

    __tablename__ = "account"
    __table_args__ = (
        Index(
            "uq_account_subject", "subject_id", "kind", unique=True,
            sqlite_where=text("subject_id IS NOT NULL"), postgresql_where=text("subject_id IS NOT NULL"),
        ),
        Index(
            "uq_account_platform", "platform", "kind", unique=True,
            sqlite_where=text("platform IS NOT NULL"), postgresql_where=text("platform IS NOT NULL"),
        ),
    )  # fmt: skip

    account_id: int = Field(sa_type=BigInteger, primary_key=True, sa_column_kwargs={"autoincrement": False})
    kind: str = Field(max_length=16)
    subject_id: int | None = Field(default=None, sa_type=BigInteger)
    platform: str | None = Field(default=None, max_length=64)


class JournalEntry(SQLModel, table=True):
    """One immutable entry. `(kind, source_id)` is unique, so the same cause is never posted twice."""

    __tablename__ = "journal_entry"
    __table_args__ = (
        UniqueConstraint("kind", "window_id", "source_id"),
        Index("ix_entry_reverses", "reverses"),
        Index("ix_entry_window", "window_id"),
    )

    entry_id: int = Field(sa_type=BigInteger, primary_key=True, sa_column_kwargs={"autoincrement": False})
    kind: str = Field(max_length=16)
    reason: str = Field(max_length=40)
    window_id: int = Field(foreign_key="clearing_window.window_id")
    source_id: int = Field(sa_type=BigInteger, description="the event (issue, reverse) or the subject (hold, forfeit)")
    reverses: int | None = Field(default=None, sa_type=BigInteger, foreign_key="journal_entry.entry_id")
    posted_at: datetime = Field(sa_type=UtcDateTime)


class Posting(SQLModel, table=True):
    """One side of an entry: so many milligrams of one vintage onto one account. An entry's postings sum to zero."""

    __tablename__ = "posting"
    __table_args__ = (Index("ix_posting_account", "account_id", "vintage"), Index("ix_posting_window", "window_id"))

    entry_id: int = Field(
        sa_type=BigInteger,
        primary_key=True,
        foreign_key="journal_entry.entry_id",
        sa_column_kwargs={"autoincrement": False},
    )
    line: int = Field(primary_key=True, sa_column_kwargs={"autoincrement": False})
    account_id: int = Field(sa_type=BigInteger, foreign_key="account.account_id")
    window_id: int = Field(foreign_key="clearing_window.window_id")
    vintage: int = Field(description="day of the act in Asia/Shanghai, yyyymmdd")
    mg: int = Field(sa_type=BigInteger)
