"""What a subject allowed, as appended versions. I/O: `grant_version`, and its copies for the guard.

    requested -> active -> (amended) -> paused -> active ...        requested | active | paused -> revoked | expired

A version is never changed. Two writers that append the same next version collide on the primary key, so a withdrawal
cannot be lost under a concurrent amendment. An empty set of purposes, behaviours or platforms allows nothing.
"""

import json
import secrets
from collections.abc import Collection
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from hashlib import sha256

from sqlalchemy import ColumnElement, exists, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session, aliased
from sqlmodel import col

from consent.batches import insert_once
from consent.changes import Change, change
from consent.errors import ConsentError
from consent.tables import GrantCurrent, GrantTermsRow, GrantVersion

HUB = "hub"
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Purpose(StrEnum):
    """One thing that may be done with personal records."""

    COLLECT = "collect"
    CLEAR = "clear"
    CREDIT = "credit"
    DISCLOSE = "disclose"
    RESERVE = "reserve"


class GrantState(StrEnum):
    REQUESTED = "requested"
    ACTIVE = "active"
    PAUSED = "paused"
    REVOKED = "revoked"
    EXPIRED = "expired"


LEGAL: dict[GrantState, frozenset[GrantState]] = {
    GrantState.REQUESTED: frozenset({GrantState.ACTIVE, GrantState.REVOKED, GrantState.EXPIRED}),
    GrantState.ACTIVE: frozenset({GrantState.ACTIVE, GrantState.PAUSED, GrantState.REVOKED, GrantState.EXPIRED}),
    GrantState.PAUSED: frozenset({GrantState.ACTIVE, GrantState.REVOKED, GrantState.EXPIRED}),
    GrantState.REVOKED: frozenset(),
    GrantState.EXPIRED: frozenset(),
}


class GrantNotFound(ConsentError):
    """No such grant of this person; whether it is another person's is not told."""


class IllegalTransition(ConsentError):
    """The grant cannot go from its state to the asked one."""


class GrantConflict(ConsentError):
    """Someone else appended a version meanwhile; load the grant again and decide anew."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GrantTerms:
    """What is allowed: to whom, for which purposes, which behaviours of which platforms, and which time.

    `valid_from` (inclusive) to `valid_until` (exclusive) is both when the grant is in force and which acts it covers;
    it may begin before the grant was given, to cover past acts.
    """

    recipient: str
    purposes: frozenset[Purpose]
    behaviours: frozenset[str]
    platforms: frozenset[str]
    valid_from: datetime
    valid_until: datetime
    notice_version: str
    language: str

    def __post_init__(self) -> None:
        if self.valid_from.tzinfo is None or self.valid_until.tzinfo is None:
            raise ValueError("a consented period needs a zone")
        if self.valid_until <= self.valid_from:
            raise ValueError("a consented period ends after it begins")
        if not self.recipient or not self.notice_version:
            raise ValueError("a grant names its recipient and the notice that was shown")


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """The latest version of a grant."""

    grant_id: str
    version: int
    subject_id: int
    terms: GrantTerms
    state: GrantState
    created_at: datetime
    reason: str


def request_grant(session: Session, *, subject_id: int, terms: GrantTerms, now: datetime) -> tuple[Grant, Change]:
    """Record that a grant was asked for; it allows nothing until activated."""
    grant = Grant(
        grant_id="g_" + secrets.token_urlsafe(16),
        version=1,
        subject_id=subject_id,
        terms=terms,
        state=GrantState.REQUESTED,
        created_at=now,
        reason="requested",
    )
    return grant, _append_version(session, grant, "grant.requested")


def activate_grant(session: Session, *, grant_id: str, subject_id: int, now: datetime) -> tuple[Grant, Change]:
    """The person said yes."""
    return _move(session, grant_id, subject_id, GrantState.ACTIVE, {GrantState.REQUESTED}, "given", "activated", now)


def pause_grant(session: Session, *, grant_id: str, subject_id: int, now: datetime) -> tuple[Grant, Change]:
    return _move(session, grant_id, subject_id, GrantState.PAUSED, {GrantState.ACTIVE}, "paused", "paused", now)


def resume_grant(session: Session, *, grant_id: str, subject_id: int, now: datetime) -> tuple[Grant, Change]:
    return _move(session, grant_id, subject_id, GrantState.ACTIVE, {GrantState.PAUSED}, "resumed", "resumed", now)


def amend_grant(
    session: Session, *, grant_id: str, subject_id: int, terms: GrantTerms, now: datetime
) -> tuple[Grant, Change]:
    """Replace what is allowed after the person decided anew.

    The recipient cannot change: another recipient takes a separate consent (PIPL article 23), hence another grant.
    """
    current = require_grant(session, grant_id=grant_id, subject_id=subject_id)
    if terms.recipient != current.terms.recipient:
        raise IllegalTransition("another recipient takes another grant")
    if current.state is not GrantState.ACTIVE:
        raise IllegalTransition(f"a grant that is {current.state} cannot be amended")
    amended = replace(current, version=current.version + 1, terms=terms, created_at=now, reason="amended")
    return amended, _append_version(session, amended, "grant.amended")


def revoke_grant(
    session: Session, *, grant_id: str, subject_id: int, now: datetime, reason: str
) -> tuple[Grant, Change]:
    """Withdraw. Use withdraw.withdraw_grant, which ends its tokens and links in the same transaction."""
    return _move(session, grant_id, subject_id, GrantState.REVOKED, set(LEGAL), reason, "revoked", now)


def supersede_grant(session: Session, *, grant_id: str, subject_id: int, now: datetime) -> list[Change]:
    """End a grant that a newer one replaces; nothing if it has ended already."""
    if not LEGAL[require_grant(session, grant_id=grant_id, subject_id=subject_id).state]:
        return []
    return [revoke_grant(session, grant_id=grant_id, subject_id=subject_id, now=now, reason="superseded")[1]]


def expire_grants(session: Session, *, now: datetime, limit: int = 1000) -> list[tuple[Grant, Change]]:
    """Record the end of grants whose time is over. The guard does not wait for this: it looks at the time itself."""
    live = [GrantState.REQUESTED, GrantState.ACTIVE, GrantState.PAUSED]
    query = (
        select(GrantVersion)
        .where(is_latest(), col(GrantVersion.valid_until) <= now, col(GrantVersion.state).in_(live))
        .limit(limit)
    )
    grants = [parse_grant(row) for row in session.scalars(query)]
    return [
        _move(session, grant.grant_id, grant.subject_id, GrantState.EXPIRED, set(LEGAL), "time over", "expired", now)
        for grant in grants
    ]


def load_grants(session: Session, *, subject_id: int) -> list[Grant]:
    """Every grant of a person at its latest version, newest first."""
    query = (
        select(GrantVersion)
        .where(is_latest(), col(GrantVersion.subject_id) == subject_id)
        .order_by(col(GrantVersion.created_at).desc())
    )
    return [parse_grant(row) for row in session.scalars(query)]


def load_versions(session: Session, *, grant_id: str, subject_id: int) -> list[Grant]:
    """The history of one grant, oldest first."""
    query = select(GrantVersion).where(
        col(GrantVersion.grant_id) == grant_id, col(GrantVersion.subject_id) == subject_id
    )
    return [parse_grant(row) for row in session.scalars(query.order_by(col(GrantVersion.version)))]


def require_grant(session: Session, *, grant_id: str, subject_id: int) -> Grant:
    """The latest version. Raises GrantNotFound, also for another person's grant."""
    query = select(GrantVersion).where(
        is_latest(), col(GrantVersion.grant_id) == grant_id, col(GrantVersion.subject_id) == subject_id
    )
    row = session.scalars(query).one_or_none()
    if row is None:
        raise GrantNotFound
    return parse_grant(row)


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


def parse_grant(row: GrantVersion) -> Grant:
    terms = GrantTerms(
        recipient=row.recipient,
        purposes=frozenset(Purpose(purpose) for purpose in json.loads(row.purposes)),
        behaviours=frozenset(json.loads(row.behaviours)),
        platforms=frozenset(json.loads(row.platforms)),
        valid_from=row.valid_from,
        valid_until=row.valid_until,
        notice_version=row.notice_version,
        language=row.language,
    )
    return Grant(
        grant_id=row.grant_id,
        version=row.version,
        subject_id=row.subject_id,
        terms=terms,
        state=GrantState(row.state),
        created_at=row.created_at,
        reason=row.reason,
    )


def _move(
    session: Session,
    grant_id: str,
    subject_id: int,
    state: GrantState,
    sources: Collection[GrantState],
    reason: str,
    verb: str,
    now: datetime,
) -> tuple[Grant, Change]:
    current = require_grant(session, grant_id=grant_id, subject_id=subject_id)
    if current.state not in sources or state not in LEGAL[current.state]:
        raise IllegalTransition(f"a grant that is {current.state} cannot become {state}")
    moved = replace(current, version=current.version + 1, state=state, created_at=now, reason=reason)
    return moved, _append_version(session, moved, f"grant.{verb}")


def _append_version(session: Session, grant: Grant, what: str) -> Change:
    row = GrantVersion(
        grant_id=grant.grant_id,
        version=grant.version,
        subject_id=grant.subject_id,
        recipient=grant.terms.recipient,
        purposes=_json_set(grant.terms.purposes),
        behaviours=_json_set(grant.terms.behaviours),
        platforms=_json_set(grant.terms.platforms),
        valid_from=grant.terms.valid_from,
        valid_until=grant.terms.valid_until,
        state=grant.state.value,
        notice_version=grant.terms.notice_version,
        language=grant.terms.language,
        created_at=grant.created_at,
        reason=grant.reason,
    )
    try:
        with session.begin_nested():
            session.add(row)
    except IntegrityError as cause:
        raise GrantConflict(f"version {grant.version} was appended by someone else") from cause
    _put_current(session, row)
    return change(
        what, grant_id=grant.grant_id, version=grant.version, state=grant.state.value, recipient=grant.terms.recipient
    )


def _put_current(session: Session, row: GrantVersion) -> None:
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


def _json_set(words: Collection[str]) -> str:
    return json.dumps(sorted(str(word) for word in words), separators=(",", ":"))
