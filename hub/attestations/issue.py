"""Making an attestation: what the acts come to, a place in a list, the signed statement, the row and the leaf, in one
transaction. I/O: the database, the key ring.

The person's row is held first, so that two requests cannot both be the last of a day; then the grant, so that a withdrawal
comes before all this or finds it and revokes it.
"""

import json
import secrets
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from hashlib import sha256

import polars as pl
from sqlalchemy import func, select
from sqlalchemy.orm import Session
from sqlmodel import col

from consent.details import ZONE
from consent.grants import Grant, require_grant
from consent.tables import Person
from consent.vault import load_vault
from hub.attestations.acts import load_own_acts, load_shared_acts
from hub.attestations.content import (
    LIFE,
    MOST_A_DAY,
    TYPE,
    Asked,
    Setting,
    Totals,
    claims_of,
    paths_of,
    require_names,
    require_period,
    total,
    within,
)
from hub.attestations.ending import id_digest
from hub.attestations.jwt import sign_jwt
from hub.attestations.lists import take_place, uri_of
from hub.attestations.sdjwt import join, show
from hub.attestations.store import OWN, open_statement, subject_of
from hub.attestations.tables import Attestation
from hub.changes import log_change
from hub.context import Hub
from hub.db import writing
from hub.disclosure import note_disclosure
from hub.errors import Conflict, NotFound, TanlianError, UsageProblem
from hub.log.leaves import Kind


class TooMany(TanlianError):
    """No more attestations of this person for this recipient today."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Repeatable:
    """What makes a repeated request the same request: digests of the caller's key and of what was asked."""

    key: str
    digest: str

    @classmethod
    def of(cls, key: str, digest: bytes) -> "Repeatable":
        return cls(key=sha256(key.encode()).hexdigest(), digest=digest.hex())


@dataclass(frozen=True, slots=True, kw_only=True)
class Issued:
    """An attestation as it is handed out: `statement` shows the claims that were asked for and hides the others."""

    row: Attestation
    statement: str = field(repr=False)


def issue_own(hub: Hub, subject_id: int, asked: Asked, *, now: datetime) -> Issued:
    """Make an attestation that the person will show to whom they like. Its subject is a name of its own.

    Raises:
        UsageProblem: no such period or claim, or nothing was cleared in it. TooMany. NotFound: no such person.
    """
    require_period(asked.since, asked.until, now=now)
    require_names(asked.disclose)
    with writing(hub.engine) as session:
        _hold_person(session, subject_id)
        _require_allowance(session, subject_id, OWN, now)
        acts = load_own_acts(session, subject_id)
        return _issue(session, hub, subject_id, acts, asked, grant=None, again=None, now=now)


def issue_for(hub: Hub, grant: Grant, asked: Asked, *, again: Repeatable | None, now: datetime) -> Issued:
    """Make an attestation for the recipient of a grant, of no more than the grant lets it see.

    Raises:
        UsageProblem: no such period or claim, or nothing was cleared in it that this recipient may see.
        Conflict: the same key came before with another request. TooMany. TooOften. NotFound: the person is erased.
    """
    require_period(asked.since, asked.until, now=now)
    require_names(asked.disclose)
    with writing(hub.engine) as session:
        _hold_person(session, grant.subject_id)
        before = _find_same(session, grant, again)
        if before is not None:
            return Issued(row=before, statement=open_statement(session, hub.ring, before))
        _require_allowance(session, grant.subject_id, grant.terms.recipient, now)
        acts = load_shared_acts(session, grant, now=now)
        # As it stands now that it is held: a withdrawal since the token was looked at counts.
        grant = require_grant(session, grant_id=grant.grant_id, subject_id=grant.subject_id)
        return _issue(session, hub, grant.subject_id, acts, asked, grant=grant, again=again, now=now)


def _issue(
    session: Session,
    hub: Hub,
    subject_id: int,
    acts: pl.DataFrame,
    asked: Asked,
    *,
    grant: Grant | None,
    again: Repeatable | None,
    now: datetime,
) -> Issued:
    counted = within(acts, asked.since, asked.until)
    if counted.is_empty():
        raise UsageProblem("nothing that may be told was cleared in this period")
    totals = total(counted)
    paths = paths_of(totals, asked.disclose)
    if grant is not None:
        note_disclosure(session, grant, what="attestation", rows=len(counted), now=now)
    list_id, index = take_place(session, now=now)
    row = Attestation(
        attestation_id="att_" + secrets.token_urlsafe(16), subject_id=subject_id,
        recipient=OWN if grant is None else grant.terms.recipient,
        grant_id=None if grant is None else grant.grant_id, grant_version=None if grant is None else grant.version,
        since=asked.since, until=asked.until, cleared_mg=totals.cleared_mg, final_mg=totals.final_mg,
        disclosed=json.dumps(paths), list_id=list_id, list_index=index, created_at=now,
        expires_at=now + LIFE if grant is None else min(now + LIFE, grant.terms.valid_until), statement_sealed=b"",
        request_key=None if again is None else again.key, request_digest=None if again is None else again.digest,
    )  # fmt: skip
    signed, whole, shown = _sign(hub, row, totals, asked, paths)
    vault = load_vault(session, hub.ring, [subject_id])
    row.statement_sealed = vault.seal(
        "attestation", "statement_sealed", row_id=row.attestation_id, subject_id=subject_id, plaintext=whole.encode()
    )
    session.add(row)
    session.flush()
    # The digest is of random salts and a random signature: it says nothing to who has not the statement, and lets who has
    # it show when the hub knew of it.
    fields = {"attestation": id_digest(row.attestation_id), "statement": sha256(signed.encode()).digest()}
    log_change(session, Kind.ATTESTATION_ISSUED, row.attestation_id, now, fields)
    return Issued(row=row, statement=shown)


def _sign(hub: Hub, row: Attestation, totals: Totals, asked: Asked, paths: tuple[str, ...]) -> tuple[str, str, str]:
    """Return the signed part, the statement with all disclosures, and the one with those of `paths`."""
    setting = Setting(
        attestation_id=row.attestation_id,
        issuer=hub.settings.issuer,
        subject=subject_of(hub.ring, row),
        audience=None if row.recipient == OWN else row.recipient,
        scope="account" if row.recipient == OWN else "consent",
        issued_at=row.created_at,
        expires_at=row.expires_at,
        status_uri=uri_of(hub.settings.issuer, row.list_id),
        status_index=row.list_index,
    )
    payload, disclosures = claims_of(totals, asked, setting)
    signed = sign_jwt(hub.ring.attestation_key, TYPE, payload)
    whole = join(signed, disclosures)
    return signed, whole, show(whole, payload, paths)


def _hold_person(session: Session, subject_id: int) -> None:
    person = session.get(Person, subject_id, with_for_update={"key_share": True}, populate_existing=True)
    if person is None or person.erased_at is not None:
        raise NotFound("there is no such person")


def _find_same(session: Session, grant: Grant, again: Repeatable | None) -> Attestation | None:
    if again is None:
        return None
    query = select(Attestation).where(
        col(Attestation.recipient) == grant.terms.recipient,
        col(Attestation.subject_id) == grant.subject_id,
        col(Attestation.request_key) == again.key,
    )
    before = session.scalars(query).one_or_none()
    if before is not None and before.request_digest != again.digest:
        raise Conflict("this Idempotency-Key came before with another request")
    return before


def _require_allowance(session: Session, subject_id: int, recipient: str, now: datetime) -> None:
    today = now.astimezone(ZONE).replace(hour=0, minute=0, second=0, microsecond=0)
    made = select(func.count()).select_from(Attestation).where(
        col(Attestation.subject_id) == subject_id,
        col(Attestation.recipient) == recipient,
        col(Attestation.created_at) >= today,
        col(Attestation.created_at) < today + timedelta(days=1),
    )  # fmt: skip
    if session.execute(made).scalar_one() >= MOST_A_DAY:
        raise TooMany(f"at most {MOST_A_DAY} attestations a day; try again tomorrow (China)")
