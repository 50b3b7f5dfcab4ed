"""The tables of staff. I/O: none here.

A member of staff has no password and no column that could hold one: they sign in by passkey only. `staff_action` is
append-only by a trigger of the database, as the ledger's entries are.
"""

from datetime import datetime

from sqlalchemy import CheckConstraint, Index, Text
from sqlmodel import Field, SQLModel

from consent.types import UtcDateTime

# Both scopes of a role are stored, and each exactly where the role has it: a platform's staff without a platform, or a
# regulator's without a jurisdiction, would be staff of all of them.
SCOPE_RULE = (
    "(role = 'platform' AND participant_id IS NOT NULL AND jurisdiction IS NULL) OR "
    "(role = 'regulator' AND participant_id IS NULL AND jurisdiction IS NOT NULL) OR "
    "(role = 'operator' AND participant_id IS NULL AND jurisdiction IS NULL)"
)


class Staff(SQLModel, table=True):
    """One member of staff. Never deleted: what they did must keep an author."""

    __tablename__ = "staff"
    __table_args__ = (CheckConstraint(SCOPE_RULE, name="ck_staff_scope"),)

    staff_id: str = Field(primary_key=True, max_length=32)
    name: str = Field(max_length=64, unique=True)
    role: str = Field(max_length=16)
    participant_id: str | None = Field(default=None, max_length=64, foreign_key="participant.participant_id")
    jurisdiction: str | None = Field(default=None, max_length=6)
    created_at: datetime = Field(sa_type=UtcDateTime)
    disabled_at: datetime | None = Field(default=None, sa_type=UtcDateTime)


class StaffEnrolment(SQLModel, table=True):
    """A link that lets its bearer register a member's passkey, once; the row has only the token's hash."""

    __tablename__ = "staff_enrolment"

    token_hash: str = Field(primary_key=True, max_length=64)
    staff_id: str = Field(max_length=32, index=True, foreign_key="staff.staff_id")
    created_at: datetime = Field(sa_type=UtcDateTime)
    expires_at: datetime = Field(sa_type=UtcDateTime, index=True)
    used_at: datetime | None = Field(default=None, sa_type=UtcDateTime)


class StaffSession(SQLModel, table=True):
    """A staff browser session. One without `staff_id` belongs to nobody yet and only carries the forms' CSRF token."""

    __tablename__ = "staff_session"

    token_hash: str = Field(primary_key=True, max_length=64)
    staff_id: str | None = Field(default=None, max_length=32, index=True, foreign_key="staff.staff_id")
    csrf: str = Field(max_length=64)
    created_at: datetime = Field(sa_type=UtcDateTime)
    used_at: datetime = Field(sa_type=UtcDateTime)
    expires_at: datetime = Field(sa_type=UtcDateTime, index=True)


class StaffAction(SQLModel, table=True):
    """One thing a member of staff did or was refused. `ids` is JSON of closed names and ids; no text of anybody's."""

    __tablename__ = "staff_action"
    __table_args__ = (Index("ix_staff_action_staff", "staff_id", "at"),)

    action_id: str = Field(primary_key=True, max_length=32)
    staff_id: str = Field(max_length=32, foreign_key="staff.staff_id")
    at: datetime = Field(sa_type=UtcDateTime)
    right: str = Field(max_length=32)
    what: str = Field(max_length=32)
    ids: str = Field(default="{}", sa_type=Text)
    case_id: str | None = Field(default=None, max_length=64, index=True)


class StaffClient(SQLModel, table=True):
    """The software by which a regulator asks: an OAuth client that has one member's rights, and ends with the member."""

    __tablename__ = "staff_client"

    client_id: str = Field(primary_key=True, max_length=64, foreign_key="oauth_client.client_id")
    staff_id: str = Field(max_length=32, index=True, foreign_key="staff.staff_id")
    created_at: datetime = Field(sa_type=UtcDateTime)
