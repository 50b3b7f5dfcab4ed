"""Tables of the ledger. I/O: none here. Entries and postings are immutable: triggers refuse UPDATE and DELETE.

On PostgreSQL a trigger asks for all rows of a statement at once what the foreign keys of entries and postings ask for each row
(migration 0021).

`balance` is what postings sum to, kept beside them so that a check of the database, and not only code, refuses to spend a
gram twice.
"""

from datetime import datetime

from sqlalchemy import BigInteger, CheckConstraint, Index, UniqueConstraint, text
from sqlmodel import Field, SQLModel

from consent.types import UtcDateTime

OF_SUBJECT = text("subject_id IS NOT NULL AND platform IS NULL")
OF_SUBJECT_AT = text("subject_id IS NOT NULL AND platform IS NOT NULL")
REVERSING = text("reverses IS NOT NULL")
OF_PLATFORM = text("subject_id IS NULL AND platform IS NOT NULL")


class Account(SQLModel, table=True):
    """Where grams are; `hub/ledger/postings.py` lists the kinds.

    `activity` and `owed` are a platform's, `buffer` the hub's, all others a subject's; `redeemed`, `transferred`, `issued` and
    `retired` a subject's at a platform.
    """

    __tablename__ = "account"
    __table_args__ = (
        Index(
            "uq_account_subject", "subject_id", "kind", unique=True,
            sqlite_where=OF_SUBJECT, postgresql_where=OF_SUBJECT,
        ),
        Index(
            "uq_account_subject_at", "subject_id", "platform", "kind", unique=True,
            sqlite_where=OF_SUBJECT_AT, postgresql_where=OF_SUBJECT_AT,
        ),
        Index(
            "uq_account_platform", "platform", "kind", unique=True,
            sqlite_where=OF_PLATFORM, postgresql_where=OF_PLATFORM,
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
        Index("ix_entry_reverses", "reverses", sqlite_where=REVERSING, postgresql_where=REVERSING),
        Index("ix_entry_window", "window_id"),
    )

    entry_id: int = Field(sa_type=BigInteger, primary_key=True, sa_column_kwargs={"autoincrement": False})
    kind: str = Field(max_length=16)
    reason: str = Field(max_length=40)
    window_id: int = Field(foreign_key="clearing_window.window_id")
    source_id: int = Field(sa_type=BigInteger, description="what caused it: postings.py tells by kind")
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
    rights: str = Field(default="both", max_length=9, sa_column_kwargs={"server_default": "both"})
    mg: int = Field(sa_type=BigInteger)


class Balance(SQLModel, table=True):
    """What the postings of an account of KEPT sum to, by window, vintage and rights; never below zero."""

    __tablename__ = "balance"
    __table_args__ = (CheckConstraint("mg >= 0", name="ck_balance_mg"),)

    account_id: int = Field(
        sa_type=BigInteger,
        primary_key=True,
        foreign_key="account.account_id",
        sa_column_kwargs={"autoincrement": False},
    )
    window_id: int = Field(primary_key=True, sa_column_kwargs={"autoincrement": False})
    vintage: int = Field(primary_key=True, sa_column_kwargs={"autoincrement": False})
    rights: str = Field(primary_key=True, max_length=9)
    mg: int = Field(sa_type=BigInteger)


class Debt(SQLModel, table=True):
    """Grams that were taken back although they were used or reserved: the platform that reported the act owes them."""

    __tablename__ = "debt"
    __table_args__ = (CheckConstraint("left_mg >= 0 AND left_mg <= mg", name="ck_debt_left"),)

    entry_id: int = Field(
        sa_type=BigInteger,
        primary_key=True,
        foreign_key="journal_entry.entry_id",
        sa_column_kwargs={"autoincrement": False},
    )
    rights: str = Field(primary_key=True, max_length=9)
    subject_id: int = Field(sa_type=BigInteger, index=True)
    platform: str = Field(max_length=64, index=True)
    window_id: int
    vintage: int
    mg: int = Field(sa_type=BigInteger)
    left_mg: int = Field(sa_type=BigInteger)
