"""Browser sessions of staff: apart from those of people, and shorter. I/O: `staff_session`.

Eight hours from the sign-in, one hour without a request. The token changes at sign-in. No state is kept in them.
"""

import secrets
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from sqlalchemy import delete, select
from sqlalchemy.orm import Session
from sqlmodel import col

from consent.keyring import token_hash
from hub.staff.accounts import load_member
from hub.staff.rights import Member
from hub.staff.tables import StaffSession

ANONYMOUS_LIFE = timedelta(hours=1)
LIFE = timedelta(hours=8)
IDLE = timedelta(hours=1)
TOUCH_EVERY = timedelta(minutes=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class StaffVisit:
    """A live session; `member` is None before the sign-in."""

    token: str = field(repr=False)
    token_hash: str
    csrf: str = field(repr=False)
    member: Member | None
    used_at: datetime

    def is_due_for_touch(self, now: datetime) -> bool:
        """Whether the last use that is written down is long enough ago."""
        return self.member is not None and now - self.used_at >= TOUCH_EVERY


def start_staff_session(
    session: Session, member: Member | None, *, now: datetime, instead_of: str | None
) -> StaffVisit:
    """Open a session in the place of the one used so far."""
    end_staff_session(session, instead_of)
    token = secrets.token_urlsafe(32)
    row = StaffSession(
        token_hash=token_hash(token), staff_id=None if member is None else member.staff_id,
        csrf=secrets.token_urlsafe(24), created_at=now, used_at=now,
        expires_at=now + (ANONYMOUS_LIFE if member is None else LIFE),
    )  # fmt: skip
    session.add(row)
    session.flush()
    return StaffVisit(token=token, token_hash=row.token_hash, csrf=row.csrf, member=member, used_at=now)


def load_staff_session(session: Session, token: str, *, now: datetime) -> StaffVisit | None:
    """The session of a cookie; None if it ended, was not used for too long, or its member is disabled."""
    row = session.get(StaffSession, token_hash(token))
    if row is None or row.expires_at <= now:
        return None
    member = None
    if row.staff_id is not None:
        member = load_member(session, row.staff_id)
        if member is None or row.used_at + IDLE <= now:
            return None
    return StaffVisit(token=token, token_hash=row.token_hash, csrf=row.csrf, member=member, used_at=row.used_at)


def touch_staff_session(session: Session, visit: StaffVisit, *, now: datetime) -> None:
    """Remember that the session was used."""
    row = session.get(StaffSession, visit.token_hash)
    if row is not None:
        row.used_at = now


def end_staff_session(session: Session, token: str | None) -> None:
    """Sign out here. Ending an unknown session is no error."""
    if token:
        session.execute(delete(StaffSession).where(col(StaffSession.token_hash) == token_hash(token)))


def purge_staff(session: Session, *, now: datetime, limit: int = 1000) -> int:
    """Delete at most `limit` sessions that have ended; the record of actions is never purged."""
    old = select(col(StaffSession.token_hash)).where(col(StaffSession.expires_at) <= now).limit(limit)
    ended = session.execute(
        delete(StaffSession).where(col(StaffSession.token_hash).in_(old)).returning(col(StaffSession.token_hash))
    )
    return len(ended.all())
