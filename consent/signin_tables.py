"""Tables of passkeys. I/O: none here; a table class validates nothing, consent/passkeys.py does.

A public key is worth nothing to a thief of the database, but one who can write it could add a key of their own: that is
why a passkey's name and both its times are shown to the person.
"""

from datetime import datetime

from sqlalchemy import BigInteger, CheckConstraint, Text
from sqlmodel import Field, SQLModel

from consent.types import UtcDateTime


class Passkey(SQLModel, table=True):
    """A credential of exactly one person or one member of staff, found by the hash of its id.

    Both kinds share the table so that one credential cannot be registered twice; every look-up names the kind.
    """

    __tablename__ = "passkey"
    __table_args__ = (CheckConstraint("(subject_id IS NULL) <> (staff_id IS NULL)", name="ck_passkey_owner"),)

    credential_hash: str = Field(primary_key=True, max_length=64)
    credential_id: bytes
    # No foreign key: `staff` is a table of the hub, and this package does not know the hub.
    subject_id: int | None = Field(default=None, sa_type=BigInteger, index=True, foreign_key="person.subject_id")
    staff_id: str | None = Field(default=None, max_length=32, index=True)
    user_handle: bytes
    public_key: bytes
    sign_count: int = Field(default=0, sa_type=BigInteger)
    name: str = Field(max_length=60)
    transports: str = Field(default="[]", sa_type=Text)
    created_at: datetime = Field(sa_type=UtcDateTime)
    used_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    doubted_at: datetime | None = Field(default=None, sa_type=UtcDateTime)


class PasskeyChallenge(SQLModel, table=True):
    """The challenge of one ceremony of one browser session; taking it deletes it, so that no answer fits twice."""

    __tablename__ = "passkey_challenge"

    session_hash: str = Field(primary_key=True, max_length=64)
    ceremony: str = Field(primary_key=True, max_length=16)
    challenge: bytes
    bound_to: str = Field(max_length=80)
    user_handle: bytes | None = None
    created_at: datetime = Field(sa_type=UtcDateTime)
    expires_at: datetime = Field(sa_type=UtcDateTime, index=True)
