"""Removing what has ended, in bounded batches. I/O: deletes from the tables named below, and from no other.

Grants, links and people are never purged: they are the record. A table of short-lived rows that nobody cleans grows
until its cleaning becomes the outage.
"""

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import delete, select
from sqlalchemy.orm import Mapped, Session
from sqlmodel import SQLModel, col

from consent.signin_tables import PasskeyChallenge
from consent.tables import (
    AccessToken,
    AuthorizationCode,
    GuardianRequest,
    LinkAttempt,
    ParRequest,
    RefreshToken,
    SignInThrottle,
    UsedJti,
    WebSession,
)


def purge_ended(session: Session, *, now: datetime, limit: int = 1000) -> dict[str, int]:
    """Delete at most `limit` ended rows per table, the oldest first; returns the number per table."""
    at_once, day = timedelta(0), timedelta(hours=24)
    ended: list[tuple[type[SQLModel], Mapped[str], Mapped[Any], timedelta]] = [
        (AccessToken, col(AccessToken.token_hash), col(AccessToken.expires_at), at_once),
        (AuthorizationCode, col(AuthorizationCode.code_hash), col(AuthorizationCode.expires_at), day),  # replays
        (
            GuardianRequest,
            col(GuardianRequest.request_id),
            col(GuardianRequest.expires_at),
            at_once,
        ),  # a used yes stays
        (LinkAttempt, col(LinkAttempt.state_hash), col(LinkAttempt.expires_at), at_once),
        (ParRequest, col(ParRequest.request_hash), col(ParRequest.expires_at), at_once),
        (PasskeyChallenge, col(PasskeyChallenge.session_hash), col(PasskeyChallenge.expires_at), at_once),
        (
            RefreshToken,
            col(RefreshToken.token_hash),
            col(RefreshToken.revoked_at),
            day,
        ),  # a code replayed ends it again
        (SignInThrottle, col(SignInThrottle.name_hash), col(SignInThrottle.updated_at), day),
        (UsedJti, col(UsedJti.jti_hash), col(UsedJti.expires_at), at_once),
        (WebSession, col(WebSession.token_hash), col(WebSession.expires_at), at_once),
    ]
    counts = {}
    for table, key, end, kept in ended:
        old = select(key).where(end <= now - kept).order_by(end).limit(limit)
        result = session.execute(delete(table).where(key.in_(old), end <= now - kept))
        counts[str(table.__tablename__)] = int(result.rowcount)  # type: ignore[attr-defined]
    return counts
