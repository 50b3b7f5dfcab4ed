"""The guard's copy of the latest version of each grant. I/O: `grant_current`, `grant_terms`.

Written in the transaction that appends a version, by the one function that appends them; find_drift compares the two.
"""

from datetime import UTC, datetime, timedelta
from hashlib import sha256

from sqlalchemy import ColumnElement, exists, select
from sqlalchemy.orm import Session, aliased
from sqlmodel import col

from consent.batches import insert_once
from consent.tables import GrantCurrent, GrantTermsRow, GrantVersion

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def put_current(session: Session, row: GrantVersion) -> None:
    words = {"purposes": row.purposes, "behaviours": row.behaviours, "platforms": row.platforms}
    insert_once(session, GrantTermsRow, {"terms_id": terms_id_of(row), **words})
    session.merge(_copy_of(row))


def _copy_of(row: GrantVersion) -> GrantCurrent:
    return GrantCurrent(
        subject_id=row.subject_id,
        recipient=row.recipient,
        grant_id=row.grant_id,
        version=row.version,
        state=row.state,
        terms_id=terms_id_of(row),
        valid_from_us=(row.valid_from - EPOCH) // timedelta(microseconds=1),
        valid_until_us=(row.valid_until - EPOCH) // timedelta(microseconds=1),
    )


def terms_id_of(row: GrantVersion) -> int:
    """63 bits of the digest of what is allowed: the same words have the same id in every database."""
    digest = sha256("\x1f".join([row.purposes, row.behaviours, row.platforms]).encode()).digest()
    return int.from_bytes(digest[:8]) >> 1


def is_latest() -> ColumnElement[bool]:
    """Condition on GrantVersion: no later version of the grant. Versions are dense, so one key is looked up per row."""
    later = aliased(GrantVersion)
    return ~exists().where(
        col(later.grant_id) == col(GrantVersion.grant_id), col(later.version) == col(GrantVersion.version) + 1
    )


def find_drift(session: Session) -> list[str]:
    """Grants whose copy for the guard is not their latest version. Always empty, or somebody wrote past this module."""
    latest = {row.grant_id: row for row in session.scalars(select(GrantVersion).where(is_latest()))}
    current = {row.grant_id: row for row in session.scalars(select(GrantCurrent))}
    return sorted(
        grant_id
        for grant_id in latest.keys() | current.keys()
        if grant_id not in latest or grant_id not in current or not _agree(latest[grant_id], current[grant_id])
    )


def _agree(row: GrantVersion, current: GrantCurrent) -> bool:
    expected = _copy_of(row)
    return all(getattr(current, name) == getattr(expected, name) for name in GrantCurrent.model_fields)
