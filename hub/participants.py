"""Participants: who may deliver, in which format, and how to reach them. I/O: the database.

The configuration is one JSON document per platform, given to `tanlian participants add`; adding the same document again
changes nothing, another one under the same id replaces it. It holds secrets, so it is stored sealed.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from functools import lru_cache
from hashlib import sha256
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from sqlalchemy import select
from sqlalchemy.orm import Session
from sqlmodel import col

from connectors.base import Description, Fetcher, Receiver, Scope, Stop, Transport
from connectors.net.egress import Origin
from connectors.registry import build
from consent.keyring import KeyRing
from consent.seal import place
from hub.changes import log_change
from hub.errors import NotAdmitted, NotFound, UsageProblem
from hub.log.leaves import Kind
from hub.sync.tables import Participant
from mappings import Mapping, MappingError, load_mapping
from standards.behaviours import accepted_behaviours

ID = r"[a-z][a-z0-9-]{1,31}"


class Status(StrEnum):
    """A participant's standing. Unknown or missing means: keep the last."""

    ACTIVE = "active"
    SUSPENDED = "suspended"


class OAuthConfiguration(BaseModel):
    """How the hub, as a client, is known at the platform's authorization server."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    issuer: str
    client_id: str
    client_auth: Literal["client_secret_basic", "private_key_jwt"] = "client_secret_basic"
    client_secret: str | None = Field(default=None, min_length=1, repr=False)
    scopes: list[str] = Field(min_length=1)
    account_from: str = Field(default="userinfo.sub", pattern=r"^(userinfo|token)\.[A-Za-z0-9_]{1,64}$")
    par: bool = Field(default=False, description="push the request (RFC 9126)")
    dpop: bool = Field(default=False, description="bind tokens to a key of the hub (RFC 9449)")

    @model_validator(mode="after")
    def _secret_fits(self) -> Self:
        """A secret that is not used must not lie about; a missing one must not turn into another method unasked."""
        if (self.client_secret is not None) != (self.client_auth == "client_secret_basic"):
            raise ValueError("client_secret belongs to client_secret_basic, and only to that")
        return self


class Pace(BaseModel):
    """How hard a platform may be asked, by all workers together."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    requests_per_minute: int = Field(default=1200, ge=1, le=600_000)
    at_once: int = Field(default=4, ge=1, le=64, description="requests under way at one moment, in each worker")


class FeedDocument(BaseModel):
    """One connector's worth of a platform: a stream in one format, and the mapping that translates it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    connector: str
    connector_config: dict[str, Any] = {}
    secrets: dict[str, str | list[str]] = Field(default={}, repr=False)
    stream: str = Field(pattern=r"^[a-z][a-z0-9_]{1,31}$")
    mapping: str
    poll_minutes: int | None = Field(default=None, ge=1, le=60 * 24 * 31, description="default: the hub's")


class ParticipantDocument(FeedDocument):
    """The file that onboards a platform: who it is, and its first feed; most platforms have no other."""

    id: str = Field(pattern=f"^{ID}$")
    name_zh: str = Field(min_length=1, max_length=60)
    name_en: str = Field(min_length=1, max_length=60)
    kind: str = Field(pattern=r"^(city|bank|enterprise|data_source|aggregator|community|event|personal)$")
    more_feeds: list[FeedDocument] = Field(default=[], max_length=8)
    pace: Pace = Pace()
    notice_secret: str | None = Field(
        default=None, pattern=r"^whsec_[A-Za-z0-9+/=]{32,88}$", repr=False,
        description="signs notices of change: the platform tells which accounts have something new",
    )  # fmt: skip
    behaviours: list[str] = Field(min_length=1)
    oauth: OAuthConfiguration | None = None
    device_code: bool = Field(default=False, description="links by the platform's own code (WeChat mini-program)")
    allow_loopback: bool = False
    statement_url: str | None = None
    statement_streams: bool = Field(
        default=False, description="the statement also tells count, sum and digest of each stream, and lines when asked"
    )
    webhook_url: str | None = Field(default=None, description="where the hub tells that an account is no longer linked")

    @property
    def feeds(self) -> tuple[FeedDocument, ...]:
        return (self, *self.more_feeds)


@dataclass(frozen=True, slots=True, kw_only=True)
class Feed:
    """A feed ready for use."""

    document: FeedDocument
    connector: Receiver | Fetcher = field(repr=False)

    @property
    def stream(self) -> str:
        return self.document.stream

    @property
    def mapping(self) -> str:
        return self.document.mapping


@dataclass(frozen=True, slots=True, kw_only=True)
class Platform:
    """A participant ready for use: its document and its feeds."""

    document: ParticipantDocument
    status: Status
    feeds: tuple[Feed, ...]

    @property
    def platform_id(self) -> str:
        return self.document.id

    def feed(self, stream: str) -> Feed:
        """Return the feed of a stream (the empty name is the first one's); raises NotFound."""
        for feed in self.feeds:
            if stream in ("", feed.stream):
                return feed
        raise NotFound(f"{self.platform_id} has no stream {stream!r}")

    def state_name(self, feed: Feed) -> str:
        """Return the stream under which the reading of a feed is written down."""
        return "" if feed is self.feeds[0] else feed.stream

    def fetched(self, scope: Scope) -> Iterator[Feed]:
        """Yield the feeds that the hub reads: those of one account at a time, or those of the whole platform."""
        for feed in self.feeds:
            if isinstance(feed.connector, Fetcher) and feed.connector.describe().scope is scope:
                yield feed


def parse_document(text: str | bytes) -> ParticipantDocument:
    """Parse and check an onboarding file; raises UsageProblem with every field that is wrong, in one line."""
    try:
        document = ParticipantDocument.model_validate_json(text)
    except ValidationError as cause:
        wrong = "; ".join(f"{'.'.join(map(str, e['loc'])) or 'file'}: {e['msg']}" for e in cause.errors())
        raise UsageProblem(f"the participant file is not valid: {wrong}") from None
    for feed in document.feeds:
        try:
            mapping = load_mapping(feed.mapping)
            connector = build(feed.connector, feed.connector_config, feed.secrets)
        except (MappingError, ValueError, KeyError) as cause:
            raise UsageProblem(f"participant {document.id}: {cause}") from cause
        for fault in _feed_faults(feed, connector.describe(), mapping):
            raise UsageProblem(f"participant {document.id}: {fault}")
    for fault in _faults(document):
        raise UsageProblem(f"participant {document.id}: {fault}")
    return document


def _feed_faults(feed: FeedDocument, told: Description, mapping: Mapping) -> Iterator[str]:
    if feed.stream not in told.streams:
        yield f"field 'stream': the connector {feed.connector} has {', '.join(told.streams)}"
    if mapping.corroborates and "event_key" not in mapping.fields:
        yield "field 'mapping': rows that name nobody confirm acts by their event_key, and this mapping fills none"
    if mapping.corroborates is not told.corroborates:
        yield f"field 'mapping': {feed.connector} and the mapping do not agree on whether rows name anybody"
    knows_whose = told.scope is Scope.LINK or told.transport is Transport.UPLOAD
    if mapping.needs_link and not knows_whose:
        yield f"field 'mapping': its rows do not say whose they are, and {feed.connector} asks for nobody's"


def _faults(document: ParticipantDocument) -> Iterator[str]:
    """Find what each field alone cannot show: a word that nobody knows, an address that may never be called."""
    streams = [feed.stream for feed in document.feeds]
    if len(set(streams)) != len(streams):
        yield "field 'more_feeds': every feed needs a stream of its own"
    for code in document.behaviours:
        if code not in accepted_behaviours():
            yield f"field 'behaviours': there is no behaviour {code!r}"
    addresses = {
        "statement_url": document.statement_url,
        "webhook_url": document.webhook_url,
        "oauth.issuer": document.oauth and document.oauth.issuer,
    }
    for name, url in addresses.items():
        try:
            Origin.parse(url or "https://none.example", allow_loopback=document.allow_loopback)
        except Stop as stop:
            yield f"field '{name}': this address cannot be called ({stop.reason})"


def wants_loopback(document: ParticipantDocument) -> bool:
    """Say whether anything of a participant may be on this machine: the connector has a switch of its own."""
    return document.allow_loopback or any(feed.connector_config.get("allow_loopback") for feed in document.feeds)


def add_participant(session: Session, ring: KeyRing, document: ParticipantDocument, now: datetime) -> bool:
    """Add or replace a participant, with its log leaf; returns whether anything changed."""
    body = document.model_dump_json().encode()
    digest = sha256(body).digest()
    row = session.get(Participant, document.id)
    if row is not None and row.configuration_digest == digest:
        return False
    if row is None:
        row = Participant(
            participant_id=document.id, name_zh="", name_en="", kind="", status=Status.ACTIVE,
            configuration=b"", configuration_digest=b"", created_at=now, updated_at=now,
        )  # fmt: skip
        session.add(row)
    row.name_zh, row.name_en, row.kind = document.name_zh, document.name_en, document.kind
    row.configuration = ring.seal(body, place("participant", "configuration", document.id, None))
    row.configuration_digest = digest
    row.updated_at = now
    session.flush()
    fields = {
        "participant": document.id,
        "status": row.status,
        "mapping": ",".join(feed.mapping for feed in document.feeds),
    }
    log_change(session, Kind.PARTICIPANT_CHANGED, f"{document.id}:{digest.hex()[:16]}:{now.isoformat()}", now, fields)
    return True


def set_status(session: Session, participant_id: str, status: Status, now: datetime) -> bool:
    """Suspend or reinstate, in force for the next act; returns whether anything changed."""
    row = require_participant(session, participant_id)
    if row.status == status:
        return False
    row.status = status
    row.updated_at = now
    fields = {"participant": participant_id, "status": str(status)}
    log_change(session, Kind.PARTICIPANT_CHANGED, f"{participant_id}:{status}:{now.isoformat()}", now, fields)
    return True


def require_participant(session: Session, participant_id: str) -> Participant:
    """Load a participant's row; raises NotFound."""
    # What is no id is not asked for: PostgreSQL cannot even be asked for a text with a zero byte.
    row = session.get(Participant, participant_id) if re.fullmatch(ID, participant_id) else None
    if row is None:
        raise NotFound(f"there is no participant {participant_id!r}")
    return row


def require_active(session: Session, participant_id: str) -> Participant:
    """Load the row of a participant that takes part now.

    Raises:
        NotAdmitted: it is none, or is not active.
    """
    row = session.get(Participant, participant_id) if re.fullmatch(ID, participant_id) else None
    if row is None or row.status != Status.ACTIVE:
        raise NotAdmitted("this participant does not take part now")
    return row


def load_document(row: Participant, ring: KeyRing) -> ParticipantDocument:
    """Open a participant's sealed configuration."""
    return ParticipantDocument.model_validate(json.loads(_open_body(row, ring)))


def _open_body(row: Participant, ring: KeyRing) -> bytes:
    return ring.open(row.configuration, place("participant", "configuration", row.participant_id, None))


def open_platform(session: Session, ring: KeyRing, participant_id: str) -> Platform:
    """Load a participant and build its connector; raises NotFound."""
    row = require_participant(session, participant_id)
    document, feeds = _built(_open_body(row, ring))
    return Platform(document=document, status=Status(row.status), feeds=feeds)


@lru_cache(maxsize=256)
def _built(body: bytes) -> tuple[ParticipantDocument, tuple[Feed, ...]]:
    """Build what a configuration says, once: a connector keeps its connections open from one reading to the next."""
    document = ParticipantDocument.model_validate(json.loads(body))
    feeds = [
        Feed(document=feed, connector=build(feed.connector, feed.connector_config, feed.secrets))
        for feed in document.feeds
    ]
    return document, tuple(feeds)


def load_participants(session: Session) -> list[Participant]:
    """Return all participants by id."""
    return list(session.execute(select(Participant).order_by(col(Participant.participant_id))).scalars())
