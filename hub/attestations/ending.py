"""Attestations that end before their time: the row, its bit and the log's leaf together. I/O: the database.

    by_person        the person took it back
    consent_ended    the consent under which a recipient got it was withdrawn, replaced or ran out
    consent_changed  the person allows that recipient less than was attested
    overstated       acts were taken back, and less is left than was attested
    erased           the person is forgotten; everything that the attestation said is destroyed too
    by_operator      `tanlian attest revoke`

`hub/changes.py` calls this for every change of a consent and hands in how it tells the log, because it is above this module.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime, time, timedelta
from enum import StrEnum
from hashlib import sha256
from typing import Any

from sqlalchemy import ColumnElement, select
from sqlalchemy.orm import Session
from sqlmodel import col

from consent.details import ZONE, load_details
from consent.tables import GrantVersion
from hub.attestations.content import still_covers
from hub.attestations.lists import set_bits
from hub.attestations.tables import Attestation
from hub.log.leaves import Kind

Tell = Callable[[Session, Kind, str, datetime, Mapping[str, Any]], None]
_ENDED = ("revoked", "expired")


class Reason(StrEnum):
    """Why an attestation was revoked."""

    BY_PERSON = "by_person"
    CONSENT_ENDED = "consent_ended"
    CONSENT_CHANGED = "consent_changed"
    OVERSTATED = "overstated"
    ERASED = "erased"
    BY_OPERATOR = "by_operator"


HUBS_OWN = frozenset({Reason.OVERSTATED, Reason.BY_OPERATOR})


def id_digest(attestation_id: str) -> bytes:
    """An attestation's random id as leaves name it."""
    return sha256(f"attestation_id:{attestation_id}".encode()).digest()


def begin_of(day: date) -> datetime:
    """Return the instant at which a day begins in Asia/Shanghai."""
    return datetime.combine(day, time.min, tzinfo=ZONE)


def end_attestations(
    session: Session, rows: Sequence[Attestation], reason: Reason, now: datetime, *, tell: Tell
) -> int:
    """Revoke those that are not revoked yet; returns how many. The rows are held until the transaction ends.

    The leaf says whether the person's will or the hub's finding was the cause, and no more: who holds a statement could
    otherwise read in the log that its person was erased.
    """
    places: dict[int, list[int]] = defaultdict(list)
    ended = [row for row in rows if row.revoked_at is None]
    for row in ended:
        row.revoked_at, row.reason = now, reason.value
        places[row.list_id].append(row.list_index)
    set_bits(session, places)
    for row in ended:
        fields = {"attestation": id_digest(row.attestation_id), "by": "hub" if reason in HUBS_OWN else "holder"}
        tell(session, Kind.ATTESTATION_REVOKED, row.attestation_id, now, fields)
    return len(ended)


def end_by_consent(session: Session, grant_id: str, version: int, now: datetime, *, tell: Tell) -> int:
    """Revoke what hangs on a grant that ended with this version, or that allows less by it than was attested."""
    rows = load_standing(session, col(Attestation.grant_id) == grant_id)
    if not rows:
        return 0
    grant = session.get_one(GrantVersion, (grant_id, version))
    if grant.state in _ENDED:
        return end_attestations(session, rows, Reason.CONSENT_ENDED, now, tell=tell)
    new = load_details(grant.details)
    narrowed = []
    for row in rows:
        old = load_details(session.get_one(GrantVersion, (grant_id, row.grant_version)).details)
        if row.since is None or row.until is None or not still_covers(
            new, old, begin=begin_of(row.since), end=begin_of(row.until + timedelta(days=1))
        ):  # fmt: skip
            narrowed.append(row)
    return end_attestations(session, narrowed, Reason.CONSENT_CHANGED, now, tell=tell)


def forget_attestations(session: Session, subject_id: int, now: datetime, *, tell: Tell) -> int:
    """Revoke all of a person who is erased and empty them: what stays is a random id and a place in a list."""
    end_attestations(
        session, load_standing(session, col(Attestation.subject_id) == subject_id), Reason.ERASED, now, tell=tell
    )
    rows = session.scalars(select(Attestation).where(col(Attestation.subject_id) == subject_id)).all()
    for row in rows:
        row.since, row.until, row.cleared_mg, row.final_mg = None, None, None, None
        row.disclosed, row.statement_sealed, row.request_key, row.request_digest = "[]", b"", None, None
        # Why it had ended before says something of the person; that it ended does not.
        row.reason = Reason.ERASED.value
    session.flush()
    return len(rows)


def load_standing(session: Session, which: ColumnElement[bool]) -> list[Attestation]:
    """Load attestations that are not revoked, held until the transaction ends, in one order."""
    query = select(Attestation).where(which, col(Attestation.revoked_at).is_(None))
    held = query.order_by(col(Attestation.attestation_id)).with_for_update()
    return list(session.scalars(held.execution_options(populate_existing=True)))
