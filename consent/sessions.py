"""Browser sessions: a random token in a cookie, its hash in the database. I/O: `web_session`.

Set the cookie `__Host-`-prefixed, Secure, HttpOnly, SameSite=Lax. The token changes at sign-in, so that a token planted
before cannot be used after; what an anonymous session had stored is not carried over unless the caller says so.
"""

import hmac
import json
import secrets
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import delete
from sqlalchemy.orm import Session
from sqlmodel import col

from consent.errors import ConsentError
from consent.keyring import token_hash
from consent.tables import WebSession

ANONYMOUS_LIFE = timedelta(hours=1)
SIGNED_IN_LIFE = timedelta(hours=12)


class CsrfRefused(ConsentError):
    """The form did not come from a page of this session."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionInfo:
    """A live session. `token_hash` names it inside; the token itself is known to the browser only."""

    token_hash: str
    subject_id: int | None
    csrf: str = field(repr=False)
    expires_at: datetime
    state: dict[str, Any] = field(repr=False)


def start_session(
    session: Session, *, subject_id: int | None, now: datetime, state: dict[str, Any] | None = None
) -> tuple[str, SessionInfo]:
    """Open a session; returns the token for the cookie, which cannot be read back later."""
    token = secrets.token_urlsafe(32)
    life = ANONYMOUS_LIFE if subject_id is None else SIGNED_IN_LIFE
    row = WebSession(
        token_hash=token_hash(token),
        subject_id=subject_id,
        csrf=secrets.token_urlsafe(24),
        created_at=now,
        expires_at=now + life,
        state=json.dumps(state or {}),
    )
    session.add(row)
    session.flush()
    return token, _session_info(row)


def load_session(session: Session, token: str | None, *, now: datetime) -> SessionInfo | None:
    """The session of a cookie, or None if there is none, it ended, or it is unknown."""
    row = session.get(WebSession, token_hash(token)) if token else None
    return None if row is None or row.expires_at <= now else _session_info(row)


def rotate_session(
    session: Session, old_token: str | None, *, subject_id: int, now: datetime, state: dict[str, Any] | None = None
) -> tuple[str, SessionInfo]:
    """End the session used so far and open one for the person who has just signed in."""
    end_session(session, old_token)
    return start_session(session, subject_id=subject_id, now=now, state=state)


def save_state(session: Session, info: SessionInfo, state: dict[str, Any]) -> None:
    session.get_one(WebSession, info.token_hash).state = json.dumps(state)


def end_session(session: Session, token: str | None) -> None:
    """Sign out here. Ending an unknown session is no error."""
    if token:
        session.execute(delete(WebSession).where(col(WebSession.token_hash) == token_hash(token)))


def end_all_sessions(session: Session, subject_id: int) -> None:
    """Sign out everywhere: after a password change, an erasure, or on request."""
    session.execute(delete(WebSession).where(col(WebSession.subject_id) == subject_id))


def require_csrf(info: SessionInfo, submitted: str | None) -> None:
    """Raises CsrfRefused unless the form carries this session's token."""
    if submitted is None or not hmac.compare_digest(info.csrf.encode(), submitted.encode()):
        raise CsrfRefused


def _session_info(row: WebSession) -> SessionInfo:
    return SessionInfo(
        token_hash=row.token_hash,
        subject_id=row.subject_id,
        csrf=row.csrf,
        expires_at=row.expires_at,
        state=json.loads(row.state),
    )
