"""Ending a grant: one way for the person's withdrawal, a client that gives it up, expiry and the operator.

I/O: `grant_version`, `link`, token and code tables. In one transaction the grant ends, its links close and its tokens die, so
that no moment exists in which the grant is over and something still works. Telling the platform comes after, from the
outbox: its being down must not keep a withdrawal from taking effect.
"""

from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session
from sqlmodel import col

from consent.changes import Change
from consent.grants import expire_grants, revoke_grant
from consent.links import LinkState, close_link
from consent.tables import Link
from consent.tokens import end_tokens_of_grant


def withdraw_grant(
    session: Session, *, grant_id: str, subject_id: int, now: datetime, reason: str = "withdrawn"
) -> list[Change]:
    """End a grant and all that hangs on it.

    Raises:
        GrantNotFound: not a grant of this person.
        IllegalTransition: it has ended already.
    """
    _grant, change = revoke_grant(session, grant_id=grant_id, subject_id=subject_id, now=now, reason=reason)
    return [change, *_end_dependants(session, grant_id, now, reason)]


def withdraw_all(session: Session, *, subject_id: int, grant_ids: list[str], now: datetime) -> list[Change]:
    """Stop everything that is listed. The list is explicit: a forgotten argument must not revoke all."""
    changes: list[Change] = []
    for grant_id in grant_ids:
        changes += withdraw_grant(session, grant_id=grant_id, subject_id=subject_id, now=now)
    return changes


def expire_due(session: Session, *, now: datetime, limit: int = 1000) -> list[Change]:
    """Record the end of grants whose time is over, with their links and tokens, at most `limit` of them."""
    changes: list[Change] = []
    for grant, change in expire_grants(session, now=now, limit=limit):
        changes += [change, *_end_dependants(session, grant.grant_id, now, "expired")]
    return changes


def _end_dependants(session: Session, grant_id: str, now: datetime, reason: str) -> list[Change]:
    end_tokens_of_grant(session, grant_id, now=now)
    query = select(Link).where(col(Link.grant_id) == grant_id, col(Link.state) != LinkState.REVOKED)
    return [
        close_link(session, link_id=link.link_id, subject_id=link.subject_id, now=now, reason=reason)
        for link in session.scalars(query).all()
    ]
