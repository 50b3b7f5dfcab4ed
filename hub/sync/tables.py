"""Tables of sync and onboarding. I/O: none here."""

from datetime import datetime

from sqlalchemy import BigInteger, Index, SmallInteger
from sqlmodel import Field, SQLModel

from consent.types import UtcDateTime


class Participant(SQLModel, table=True):
    """A platform's standing in the hub. Its configuration holds secrets and is sealed."""

    __tablename__ = "participant"

    participant_id: str = Field(primary_key=True, max_length=64)
    name_zh: str = Field(max_length=120)
    name_en: str = Field(max_length=120)
    kind: str = Field(max_length=24)
    status: str = Field(max_length=16)
    configuration: bytes
    configuration_digest: bytes
    created_at: datetime = Field(sa_type=UtcDateTime)
    updated_at: datetime = Field(sa_type=UtcDateTime)


class SyncState(SQLModel, table=True):
    """How far one feed was read for one link (or for a whole platform, link '').

    It commits with the rows it stands for. The first feed of a platform has the empty stream. The lane `feed` brings what
    is new; the lane `backfill` reads a stretch of the past (`since` to `until`) once, and then is due no more.
    """

    __tablename__ = "sync_state"
    __table_args__ = (
        Index("ix_sync_state_lane", "lane", "turn", "due_at"),
        Index("ix_sync_state_feed", "platform", "stream", "lane", "turn", "due_at"),
        Index("ix_sync_state_link", "link_id"),
    )

    platform: str = Field(primary_key=True, max_length=64)
    link_id: str = Field(primary_key=True, max_length=32)
    stream: str = Field(default="", primary_key=True, max_length=32)
    lane: str = Field(default="feed", primary_key=True, max_length=8)
    turn: int = Field(default=1, sa_type=SmallInteger, description="0: somebody asked for it; 1: it waits for its turn")
    since: datetime | None = Field(default=None, sa_type=UtcDateTime)
    until: datetime | None = Field(default=None, sa_type=UtcDateTime)
    cursor: bytes | None = None
    due_at: datetime | None = Field(default=None, sa_type=UtcDateTime, description="null: read to its end, for good")
    asked_at: datetime | None = Field(default=None, sa_type=UtcDateTime, description="when somebody asked for it now")
    lease_holder: str | None = Field(default=None, max_length=64)
    lease_until: datetime | None = Field(default=None, sa_type=UtcDateTime)
    failures: int = 0
    last_error: str | None = Field(default=None, max_length=200)
    last_success_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    rows_read: int = Field(default=0, sa_type=BigInteger)


class PlatformPace(SQLModel, table=True):
    """Until when a platform's allowance of requests is used up, by all workers together."""

    __tablename__ = "platform_pace"

    platform: str = Field(primary_key=True, max_length=64)
    next_at: datetime = Field(sa_type=UtcDateTime)


class PrecheckAllowance(SQLModel, table=True):
    """What a platform has used up of its questions about claims: the place of its next call, and the day's counts."""

    __tablename__ = "precheck_allowance"

    platform: str = Field(primary_key=True, max_length=64)
    next_at: datetime = Field(sa_type=UtcDateTime)
    day: int = Field(description="yyyymmdd in China")
    calls: int
    events: int


class ChangeLeaf(SQLModel, table=True):
    """Which log leaf tells of which change: written with both, so that the audit can ask for every change's leaf."""

    __tablename__ = "change_leaf"

    kind: str = Field(primary_key=True, max_length=32)
    reference: str = Field(primary_key=True, max_length=240)
    leaf_id: int = Field(sa_type=BigInteger, index=True)


class HubSequence(SQLModel, table=True):
    """Rising numbers on SQLite; PostgreSQL has real sequences of the same names."""

    __tablename__ = "hub_sequence"

    name: str = Field(primary_key=True, max_length=32)
    value: int = Field(sa_type=BigInteger)


class Disclosure(SQLModel, table=True):
    """That something of a person was shown to a recipient: when, under which consent, how much; never what."""

    __tablename__ = "disclosure"

    disclosure_id: int = Field(sa_type=BigInteger, primary_key=True, sa_column_kwargs={"autoincrement": False})
    grant_id: str = Field(max_length=32, index=True)
    grant_version: int
    subject_id: int = Field(sa_type=BigInteger, index=True)
    recipient: str = Field(max_length=64)
    what: str = Field(max_length=24)
    rows: int
    at: datetime = Field(sa_type=UtcDateTime)


class Webhook(SQLModel, table=True):
    """Something that a receiver has to be told. `due_at` is null once it was taken or given up; then no body is kept."""

    __tablename__ = "webhook"

    webhook_id: str = Field(primary_key=True, max_length=40)
    target: str = Field(max_length=100)
    kind: str = Field(max_length=40)
    body: bytes | None = None
    created_at: datetime = Field(sa_type=UtcDateTime)
    due_at: datetime | None = Field(default=None, sa_type=UtcDateTime, index=True)
    tries: int = 0
    last_result: str | None = Field(default=None, max_length=40)
    delivered_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
