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
from hashlib import sha256
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from sqlalchemy import select
from sqlalchemy.orm import Session
from sqlmodel import col

from connectors.base import Description, Fetcher, Receiver, Stop, Transport
from connectors.net.egress import Origin
from connectors.registry import build
from consent.keyring import KeyRing
from consent.seal import place
from hub.changes import log_change
from hub.errors import NotFound, UsageProblem
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


class ParticipantDocument(BaseModel):
    """The file that onboards a platform."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str = Field(pattern=f"^{ID}$")
    name_zh: str = Field(min_length=1, max_length=60)
    name_en: str = Field(min_length=1, max_length=60)
    kind: str = Field(pattern=r"^(city|bank|enterprise|data_source|aggregator|community|event)$")
    connector: str
    connector_config: dict[str, Any] = {}
    secrets: dict[str, str | list[str]] = Field(default={}, repr=False)
    stream: str
    mapping: str
    behaviours: list[str] = Field(min_length=1)
    oauth: OAuthConfiguration | None = None
    device_code: bool = Field(default=False, description="links by the platform's own code (WeChat mini-program)")
    allow_loopback: bool = False
    statement_url: str | None = None
    webhook_url: str | None = Field(default=None, description="where the hub tells that an account is no longer linked")


@dataclass(frozen=True, slots=True, kw_only=True)
class Platform:
    """A participant ready for use: its document and its connector."""

    document: ParticipantDocument
    status: Status
    connector: Receiver | Fetcher = field(repr=False)

    @property
    def platform_id(self) -> str:
        return self.document.id


def parse_document(text: str | bytes) -> ParticipantDocument:
    """Parse and check an onboarding file; raises UsageProblem with every field that is wrong, in one line."""
    try:
        document = ParticipantDocument.model_validate_json(text)
    except ValidationError as cause:
        wrong = "; ".join(f"{'.'.join(map(str, e['loc'])) or 'file'}: {e['msg']}" for e in cause.errors())
        raise UsageProblem(f"the participant file is not valid: {wrong}") from None
    try:
        mapping = load_mapping(document.mapping)
        connector = build(document.connector, document.connector_config, document.secrets)
    except (MappingError, ValueError, KeyError) as cause:
        raise UsageProblem(f"participant {document.id}: {cause}") from cause
    for fault in _faults(document, connector.describe(), mapping):
        raise UsageProblem(f"participant {document.id}: {fault}")
    return document


def _faults(document: ParticipantDocument, told: Description, mapping: Mapping) -> Iterator[str]:
    """Find what each field alone cannot show: a word that nobody knows, an address that may never be called."""
    if document.stream not in told.streams:
        yield f"field 'stream': the connector {document.connector} has {', '.join(told.streams)}"
    if mapping.needs_link and told.transport is not Transport.PULL:
        yield f"field 'mapping': its rows do not say whose they are, and {document.connector} asks for nobody's"
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
    return document.allow_loopback or bool(document.connector_config.get("allow_loopback"))


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
    fields = {"participant": document.id, "status": row.status, "mapping": document.mapping}
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


def load_document(row: Participant, ring: KeyRing) -> ParticipantDocument:
    """Open a participant's sealed configuration."""
    body = ring.open(row.configuration, place("participant", "configuration", row.participant_id, None))
    return ParticipantDocument.model_validate(json.loads(body))


def open_platform(session: Session, ring: KeyRing, participant_id: str) -> Platform:
    """Load a participant and build its connector; raises NotFound."""
    row = require_participant(session, participant_id)
    document = load_document(row, ring)
    connector = build(document.connector, document.connector_config, document.secrets)
    return Platform(document=document, status=Status(row.status), connector=connector)


def load_participants(session: Session) -> list[Participant]:
    """Return all participants by id."""
    return list(session.execute(select(Participant).order_by(col(Participant.participant_id))).scalars())
