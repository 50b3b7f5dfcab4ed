"""Attestations that say more than is left once acts were taken back. I/O: the database, inside the caller's transaction.

Whoever takes acts or grams of a person back calls `revoke_overstated` in the same transaction: no moment exists in which a
statement is valid and says too much. What was attested for a recipient is counted as it was then: by the details of the grant
version that it was made under.
"""

from collections.abc import Sequence
from datetime import datetime

import polars as pl
from sqlalchemy import bindparam, select, text
from sqlalchemy.orm import Session
from sqlmodel import col

from consent.details import load_details
from consent.tables import GrantVersion
from hub.attestations.acts import load_own_acts
from hub.attestations.content import Totals, total, within
from hub.attestations.ending import Reason, end_attestations, load_standing
from hub.attestations.tables import Attestation
from hub.changes import log_change
from hub.disclosure import named_by


def revoke_overstated(session: Session, subject_id: int, now: datetime) -> list[str]:
    """Revoke a person's attestations whose sums are more than the acts of their period come to now; returns their ids.

    Idempotent; cheap for who has none. Call it after entries and reversals are written, in the transaction that writes them.
    """
    rows = load_standing(session, col(Attestation.subject_id) == subject_id)
    if not rows:
        return []
    acts = load_own_acts(session, subject_id)
    over = [row for row in rows if _says_more(row, _left(session, acts, row))]
    end_attestations(session, over, Reason.OVERSTATED, now, tell=log_change)
    return [row.attestation_id for row in over]


def revoke_overstated_by(session: Session, event_ids: Sequence[int], now: datetime) -> list[str]:
    """Do the same for everybody whose events these are."""
    if not event_ids:
        return []
    standing = select(col(Attestation.subject_id)).where(col(Attestation.revoked_at).is_(None)).distinct()
    if session.scalars(standing.limit(1)).first() is None:
        return []
    whose = text("SELECT DISTINCT subject_id FROM event WHERE event_id IN :ids ORDER BY subject_id").bindparams(
        bindparam("ids", expanding=True)
    )
    found = session.execute(whose, {"ids": list(event_ids)}).scalars().all()
    return [one for subject_id in found for one in revoke_overstated(session, int(subject_id), now)]


def _left(session: Session, acts: pl.DataFrame, row: Attestation) -> Totals:
    """Return what the attested acts come to now."""
    assert row.since is not None  # noqa: S101 - only the attestations of erased people have no period, and those are revoked
    assert row.until is not None  # noqa: S101
    counted = within(acts, row.since, row.until)
    if row.grant_id is not None:
        granted = load_details(session.get_one(GrantVersion, (row.grant_id, row.grant_version)).details)
        then = tuple(one for one in granted if "read" in one.actions and one.since <= row.created_at < one.until)
        counted = counted.filter(named_by(then))
    return total(counted)


def _says_more(row: Attestation, left: Totals) -> bool:
    return (row.cleared_mg or 0) > left.cleared_mg or (row.final_mg or 0) > left.final_mg
