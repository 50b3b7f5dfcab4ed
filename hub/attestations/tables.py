"""Tables of attestations. I/O: none here.

What an attestation says stands sealed under its person's data key; the two sums beside it are there to be set against the
person's acts whenever these change. Who writes the database could set a bit of a list: the audit sets lists against rows.
"""

from datetime import date, datetime

from sqlalchemy import BigInteger, Text, UniqueConstraint
from sqlmodel import Field, SQLModel

from consent.types import UtcDateTime


class StatusListRow(SQLModel, table=True):
    """The bits of one status list; `used` counts the places that are given."""

    __tablename__ = "status_list"

    list_id: int = Field(primary_key=True, sa_column_kwargs={"autoincrement": False})
    size: int
    used: int
    bits: bytes
    created_at: datetime = Field(sa_type=UtcDateTime)


class Attestation(SQLModel, table=True):
    """One attestation. An erasure empties all that says something; the place in the list stays, and its bit is set."""

    __tablename__ = "attestation"
    __table_args__ = (
        UniqueConstraint("list_id", "list_index"),
        UniqueConstraint("recipient", "subject_id", "request_key"),
    )

    attestation_id: str = Field(primary_key=True, max_length=32)
    subject_id: int = Field(sa_type=BigInteger, index=True, foreign_key="person.subject_id")
    recipient: str = Field(max_length=64, description="the client that asked, or `self`: the person, for themself")
    grant_id: str | None = Field(default=None, max_length=32, index=True)
    grant_version: int | None = None
    since: date | None = Field(default=None, description="first and last day of the period, in Asia/Shanghai")
    until: date | None = None
    cleared_mg: int | None = Field(default=None, sa_type=BigInteger)
    final_mg: int | None = Field(default=None, sa_type=BigInteger)
    disclosed: str = Field(sa_type=Text, description="the paths of the claims that were handed out, as JSON")
    list_id: int = Field(foreign_key="status_list.list_id")
    list_index: int
    created_at: datetime = Field(sa_type=UtcDateTime)
    expires_at: datetime = Field(sa_type=UtcDateTime)
    revoked_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    reason: str | None = Field(default=None, max_length=24)
    statement_sealed: bytes
    request_key: str | None = Field(default=None, max_length=64, description="hash of the caller's Idempotency-Key")
    request_digest: str | None = Field(default=None, max_length=64)
