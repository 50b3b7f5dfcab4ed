"""Attestations that are kept: found, opened, shown again, taken back. I/O: the database, inside the caller's transaction."""

import json
from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum

from sqlalchemy import select
from sqlalchemy.orm import Session
from sqlmodel import col

from consent.keyring import KeyRing
from consent.pairwise import pairwise_subject
from consent.vault import load_vault
from hub.attestations.ending import Reason, end_attestations, load_standing
from hub.attestations.jwt import decode_part
from hub.attestations.sdjwt import Opened, open_disclosures, show, split
from hub.attestations.tables import Attestation
from hub.changes import log_change
from hub.errors import NotFound

OWN = "self"
"""The recipient of what people have made for themselves."""


class State(StrEnum):
    """Whether an attestation can be relied on."""

    VALID = "valid"
    REVOKED = "revoked"
    EXPIRED = "expired"


def state_of(row: Attestation, now: datetime) -> State:
    """Return what an attestation is now; what was revoked stays so."""
    if row.revoked_at is not None:
        return State.REVOKED
    return State.EXPIRED if row.expires_at <= now else State.VALID


def subject_of(ring: KeyRing, row: Attestation) -> str:
    """Return the person's name in a statement: one for each recipient, and for each statement made for oneself."""
    whom = f"attestation/{row.attestation_id}" if row.recipient == OWN else row.recipient
    return pairwise_subject(ring, whom, row.subject_id)


def load_attestations(session: Session, *, subject_id: int, recipient: str | None = None) -> list[Attestation]:
    """Load a person's attestations, newest first; of one recipient only, if it is named."""
    query = select(Attestation).where(col(Attestation.subject_id) == subject_id)
    if recipient is not None:
        query = query.where(col(Attestation.recipient) == recipient)
    return list(session.scalars(query.order_by(col(Attestation.created_at).desc(), col(Attestation.attestation_id))))


def require_attestation(
    session: Session, attestation_id: str, *, subject_id: int | None = None, recipient: str | None = None
) -> Attestation:
    """Load one attestation. Raises NotFound, also for another person's or another recipient's where these are named."""
    known = attestation_id.isascii() and attestation_id.isprintable()  # no database takes every text as a value
    row = session.get(Attestation, attestation_id) if known else None
    others = row is not None and (
        (subject_id is not None and row.subject_id != subject_id)
        or (recipient is not None and row.recipient != recipient)
    )
    if row is None or others:
        raise NotFound("there is no such attestation")
    return row


def revoke_attestation(session: Session, row: Attestation, reason: Reason, now: datetime) -> bool:
    """Revoke one attestation with its bit and leaf; False if it was revoked before."""
    rows = load_standing(session, col(Attestation.attestation_id) == row.attestation_id)
    return end_attestations(session, rows, reason, now, tell=log_change) > 0


def open_whole(session: Session, ring: KeyRing, row: Attestation) -> str:
    """Open the kept statement with all its disclosures. Raises ErasedError, SealError."""
    return load_vault(session, ring, [row.subject_id]).open(
        "attestation", "statement_sealed", row_id=row.attestation_id, subject_id=row.subject_id, blob=row.statement_sealed
    ).decode()  # fmt: skip


def open_statement(session: Session, ring: KeyRing, row: Attestation, paths: Sequence[str] | None = None) -> str:
    """Open the kept statement and show the claims that were handed out, or others of it (`paths`)."""
    whole = open_whole(session, ring, row)
    return show(whole, payload_of(whole), json.loads(row.disclosed) if paths is None else paths)


def open_claims(statement: str) -> Opened:
    """Return what a statement of the hub's own shows; its signature is not checked anew."""
    return open_disclosures(payload_of(statement), split(statement).disclosures)


def payload_of(statement: str) -> dict[str, object]:
    """Return the signed payload of a statement of the hub's own."""
    found: dict[str, object] = json.loads(decode_part(split(statement).signed.split(".")[1]))
    return found
