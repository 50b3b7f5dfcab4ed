"""What a subject allowed, as appended versions. I/O: `grant_version`, and its copies for the guard.

    requested -> active -> (amended) -> paused -> active ...        requested | active | paused -> revoked | expired
    requested -> refused

A version is never changed. Two writers that append the same next version collide on the primary key, so a withdrawal
cannot be lost under a concurrent amendment. An empty set of purposes, behaviours or platforms allows nothing.
"""

import json
import secrets
from collections.abc import Collection
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from sqlalchemy import bindparam, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session
from sqlmodel import col

from consent.changes import Change, change
from consent.errors import ConsentError
from consent.guard_copy import is_latest, put_current
from consent.guardians import require_decider
from consent.tables import GrantVersion
from consent.terms import Assurance, Frequency, GrantTerms, Purpose, Sensitive, sensitive_classes

RECORD_SCHEMA = 2  # the form of what is appended; versions of form 1 are older than receipts


class GrantState(StrEnum):
    REQUESTED = "requested"
    ACTIVE = "active"
    PAUSED = "paused"
    REFUSED = "refused"
    REVOKED = "revoked"
    EXPIRED = "expired"


LEGAL: dict[GrantState, frozenset[GrantState]] = {
    GrantState.REQUESTED: frozenset({GrantState.ACTIVE, GrantState.REFUSED, GrantState.REVOKED, GrantState.EXPIRED}),
    GrantState.ACTIVE: frozenset({GrantState.ACTIVE, GrantState.PAUSED, GrantState.REVOKED, GrantState.EXPIRED}),
    GrantState.PAUSED: frozenset({GrantState.ACTIVE, GrantState.REVOKED, GrantState.EXPIRED}),
    GrantState.REFUSED: frozenset(),
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
class Grant:
    """The latest version of a grant."""

    grant_id: str
    version: int
    subject_id: int
    terms: GrantTerms
    state: GrantState
    created_at: datetime
    reason: str
    assurance: Assurance = Assurance.NONE


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


def activate_grant(
    session: Session,
    *,
    grant_id: str,
    subject_id: int,
    now: datetime,
    assurance: Assurance = Assurance.NONE,
    terms: GrantTerms | None = None,
) -> tuple[Grant, Change]:
    """The person said yes, having shown who they are in the way named.

    Args:
        terms: what they said yes to, where it is another thing than was asked for; None: to all that was asked for.

    Raises:
        GuardianNeeded: they are under 14, and it was not their guardian who said yes.
    """
    require_decider(session, subject_id=subject_id, assurance=assurance, now=now)
    current = require_grant(session, grant_id=grant_id, subject_id=subject_id)
    agreed = terms or current.terms
    _require_same_recipient(current, agreed)
    _require_decided(agreed)
    if current.state is not GrantState.REQUESTED:
        raise IllegalTransition(f"a grant that is {current.state} cannot become {GrantState.ACTIVE}")
    return _append(session, current, "activated", state=GrantState.ACTIVE, reason="given", now=now,
                   terms=agreed, assurance=assurance)  # fmt: skip


def refuse_grant(session: Session, *, grant_id: str, subject_id: int, now: datetime) -> tuple[Grant, Change]:
    """The person said no. That is on record, and is another thing than never having been asked."""
    return _move(session, grant_id, subject_id, GrantState.REFUSED, {GrantState.REQUESTED}, "refused", "refused", now)


def pause_grant(session: Session, *, grant_id: str, subject_id: int, now: datetime) -> tuple[Grant, Change]:
    return _move(session, grant_id, subject_id, GrantState.PAUSED, {GrantState.ACTIVE}, "paused", "paused", now)


def resume_grant(session: Session, *, grant_id: str, subject_id: int, now: datetime) -> tuple[Grant, Change]:
    return _move(session, grant_id, subject_id, GrantState.ACTIVE, {GrantState.PAUSED}, "resumed", "resumed", now)


def amend_grant(
    session: Session,
    *,
    grant_id: str,
    subject_id: int,
    terms: GrantTerms,
    now: datetime,
    assurance: Assurance = Assurance.NONE,
    reason: str = "amended",
) -> tuple[Grant, Change]:
    """Replace what is allowed after the person decided anew; a renewal is this, with a later end.

    The recipient cannot change: another recipient takes a separate consent (PIPL article 23), hence another grant.

    Raises:
        GuardianNeeded: they are under 14, and it was not their guardian who decided.
    """
    require_decider(session, subject_id=subject_id, assurance=assurance, now=now)
    current = require_grant(session, grant_id=grant_id, subject_id=subject_id)
    _require_same_recipient(current, terms)
    _require_decided(terms)
    if current.state is not GrantState.ACTIVE:
        raise IllegalTransition(f"a grant that is {current.state} cannot be amended")
    return _append(session, current, "amended", state=GrantState.ACTIVE, reason=reason, now=now,
                   terms=terms, assurance=assurance)  # fmt: skip


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
        # As the guard holds them: who takes many in one order never waits in a circle.
        .order_by(col(GrantVersion.subject_id), col(GrantVersion.recipient), col(GrantVersion.grant_id))
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


def recently_refused(session: Session, subject_id: int, recipient: str, now: datetime, within: timedelta) -> bool:
    """Whether the person said no to this recipient so lately that it may not ask them again yet.

    Source: Regulation on Network Data Security Management, article 22(5). Where the person themself begins, as with
    linking an account, nobody asks them and this is not consulted.
    """
    query = select(col(GrantVersion.grant_id)).where(
        col(GrantVersion.subject_id) == subject_id,
        col(GrantVersion.recipient) == recipient,
        col(GrantVersion.state) == GrantState.REFUSED,
        col(GrantVersion.created_at) > now - within,
    )
    return session.scalars(query.limit(1)).first() is not None


# Built once: it is asked at every use of a token, and building a statement costs more than running it.
_LATEST = (
    select(GrantVersion)
    .where(col(GrantVersion.grant_id) == bindparam("grant_id"))
    .order_by(col(GrantVersion.version).desc())
    .limit(1)
)


def require_grant(session: Session, *, grant_id: str, subject_id: int) -> Grant:
    """The latest version. Raises GrantNotFound, also for another person's grant."""
    row = session.scalars(_LATEST, {"grant_id": grant_id}).one_or_none()
    if row is None or row.subject_id != subject_id:
        raise GrantNotFound
    return parse_grant(row)


def find_client_grant(session: Session, *, grant_id: str, client_id: str) -> Grant | None:
    """The latest version of a grant that this client asked for, if it is in force or paused; another's looks like none."""
    # The client names it, in whatever characters: no database takes half of one as a value, and PostgreSQL no NUL.
    if not (grant_id.isascii() and grant_id.isprintable()):
        return None
    row = session.scalars(_LATEST, {"grant_id": grant_id}).one_or_none()
    if row is None or row.client_id != client_id or row.state not in (GrantState.ACTIVE, GrantState.PAUSED):
        return None
    return parse_grant(row)


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
        sensitive=frozenset(Sensitive(word) for word in json.loads(row.sensitive)),
        frequency=Frequency(row.frequency),
        data_life_days=row.data_life_days,
        purpose_text=row.purpose_text,
        client_id=row.client_id,
        scope=row.scope,
        details=row.details,
    )
    return Grant(
        grant_id=row.grant_id,
        version=row.version,
        subject_id=row.subject_id,
        terms=terms,
        state=GrantState(row.state),
        created_at=row.created_at,
        reason=row.reason,
        assurance=Assurance(row.assurance),
    )


def _require_decided(terms: GrantTerms) -> None:
    """A sensitive class takes a yes of its own; whoever bundles it with the rest has a bug, and the person no grant."""
    if undecided := sensitive_classes(terms.behaviours) - terms.sensitive:
        raise ValueError(f"no decision of its own on {', '.join(sorted(undecided))}")


def _require_same_recipient(current: Grant, terms: GrantTerms) -> None:
    if terms.recipient != current.terms.recipient:
        raise IllegalTransition("another recipient takes another grant")


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
    return _append(session, current, verb, state=state, reason=reason, now=now)


def _append(
    session: Session,
    current: Grant,
    verb: str,
    *,
    state: GrantState,
    reason: str,
    now: datetime,
    terms: GrantTerms | None = None,
    assurance: Assurance | None = None,
) -> tuple[Grant, Change]:
    """Append the next version; what is not named stays as it was, who had decided included."""
    following = replace(
        current,
        version=current.version + 1,
        state=state,
        reason=reason,
        created_at=now,
        terms=terms or current.terms,
        assurance=current.assurance if assurance is None else assurance,
    )
    return following, _append_version(session, following, f"grant.{verb}")


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
        sensitive=_json_set(grant.terms.sensitive),
        frequency=grant.terms.frequency.value,
        data_life_days=grant.terms.data_life_days,
        purpose_text=grant.terms.purpose_text,
        client_id=grant.terms.client_id,
        scope=grant.terms.scope,
        details=grant.terms.details,
        assurance=grant.assurance.value,
        created_at=grant.created_at,
        reason=grant.reason,
        schema_version=RECORD_SCHEMA,
    )
    try:
        with session.begin_nested():
            session.add(row)
    except IntegrityError as cause:
        raise GrantConflict(f"version {grant.version} was appended by someone else") from cause
    put_current(session, row)
    return change(
        what, grant_id=grant.grant_id, version=grant.version, state=grant.state.value, recipient=grant.terms.recipient
    )


def _json_set(words: Collection[str]) -> str:
    return json.dumps(sorted(str(word) for word in words), separators=(",", ":"))
