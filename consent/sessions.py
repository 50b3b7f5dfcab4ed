"""Browser sessions: a random token in a cookie, its hash in the database. I/O: `web_session`.

Set the cookie `__Host-`-prefixed, Secure, HttpOnly, SameSite=Lax. The token changes at sign-in and at step-up, so that a
token planted before cannot be used after; what a session had stored is not carried over unless the caller says so.

A session ends 12 hours after its sign-in, however it is used, and sooner where it is not used. A step-up proves that the
person is still there and changes the token, but prolongs nothing.
"""

import hmac
import json
import secrets
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from sqlalchemy import delete, select
from sqlalchemy.orm import Session
from sqlmodel import col

from consent.errors import ConsentError
from consent.keyring import token_hash
from consent.tables import WebSession

ANONYMOUS_LIFE = timedelta(hours=1)
SIGNED_IN_LIFE = timedelta(hours=12)
IDLE = timedelta(hours=1)  # NIST SP 800-63B-4 section 2.2.3: at AAL2 an hour without activity ends a session
TOUCH_EVERY = timedelta(minutes=1)  # a write per page would be a write per page


class CsrfRefused(ConsentError):
    """The form did not come from a page of this session."""


class ProofMethod(StrEnum):
    """How a person proved who they are."""

    PASSWORD = "password"  # noqa: S105 - a word, not a secret
    PASSKEY = "passkey"


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """When and how a person last proved who they are: OpenID Connect's `auth_time` and `amr`, in our words."""

    at: datetime
    method: ProofMethod


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionInfo:
    """A live session. `token_hash` names it inside; the token itself is known to the browser only."""

    token_hash: str
    subject_id: int | None
    csrf: str = field(repr=False)
    expires_at: datetime
    state: dict[str, Any] = field(repr=False)
    created_at: datetime
    used_at: datetime
    proof: Proof | None = None


def start_session(
    session: Session,
    *,
    subject_id: int | None,
    now: datetime,
    state: dict[str, Any] | None = None,
    proof: Proof | None = None,
) -> tuple[str, SessionInfo]:
    """Open a session; returns the token for the cookie, which cannot be read back later.

    Args:
        proof: how the person has just proved who they are; without it every act that needs a recent proof asks anew.
    """
    life = ANONYMOUS_LIFE if subject_id is None else SIGNED_IN_LIFE
    return _open(session, subject_id=subject_id, now=now, state=state, proof=proof, created_at=now, ends_at=now + life)


def load_session(session: Session, token: str | None, *, now: datetime, idle: timedelta = IDLE) -> SessionInfo | None:
    """The session of a cookie, or None if there is none, it ended, it was not used for too long, or it is unknown."""
    row = session.get(WebSession, token_hash(token)) if token else None
    if row is None or row.expires_at <= now:
        return None
    info = _session_info(row)
    return None if info.subject_id is not None and info.used_at + idle <= now else info


def touch_session(session: Session, info: SessionInfo, *, now: datetime) -> None:
    """Remember that the session was used; worth calling where `is_due_for_touch` says so."""
    row = session.get(WebSession, info.token_hash)
    if row is not None:
        row.used_at = now


def is_due_for_touch(info: SessionInfo, *, now: datetime) -> bool:
    """Whether the last use that is written down is long enough ago."""
    return info.subject_id is not None and now - info.used_at >= TOUCH_EVERY


def rotate_session(
    session: Session,
    old_token: str | None,
    *,
    subject_id: int,
    now: datetime,
    state: dict[str, Any] | None = None,
    proof: Proof | None = None,
) -> tuple[str, SessionInfo]:
    """End the session used so far and open one for the person who has just signed in."""
    end_session(session, old_token)
    return start_session(session, subject_id=subject_id, now=now, state=state, proof=proof)


def renew_session(
    session: Session, info: SessionInfo, *, now: datetime, proof: Proof, state: dict[str, Any] | None = None
) -> tuple[str, SessionInfo] | None:
    """Give a session that has just been proved anew another token, with the beginning and the end that it had.

    None if the session has ended meanwhile: of two step-ups at once, or of a step-up and a sign-out, one wins.
    """
    ended = session.execute(
        delete(WebSession).where(col(WebSession.token_hash) == info.token_hash).returning(col(WebSession.subject_id))
    ).first()
    if ended is None or info.subject_id is None or ended.subject_id != info.subject_id:
        return None
    return _open(
        session, subject_id=info.subject_id, now=now, state=state, proof=proof,
        created_at=info.created_at, ends_at=info.expires_at,
    )  # fmt: skip


def save_state(session: Session, info: SessionInfo, state: dict[str, Any]) -> None:
    session.get_one(WebSession, info.token_hash).state = json.dumps(state)


def load_sessions(session: Session, subject_id: int, *, now: datetime, idle: timedelta = IDLE) -> list[SessionInfo]:
    """All live sessions of a person, the last used first."""
    rows = session.scalars(
        select(WebSession).where(col(WebSession.subject_id) == subject_id, col(WebSession.expires_at) > now)
    )
    live = [info for info in map(_session_info, rows) if info.used_at + idle > now]
    return sorted(live, key=lambda info: info.used_at, reverse=True)


def end_session(session: Session, token: str | None) -> None:
    """Sign out here. Ending an unknown session is no error."""
    if token:
        session.execute(delete(WebSession).where(col(WebSession.token_hash) == token_hash(token)))


def end_one_session(session: Session, subject_id: int, hash_of_token: str) -> None:
    """Sign out one browser of a person, named by the token's hash; nobody can end another person's."""
    session.execute(
        delete(WebSession).where(col(WebSession.token_hash) == hash_of_token, col(WebSession.subject_id) == subject_id)
    )


def end_all_sessions(session: Session, subject_id: int, *, but: SessionInfo | None = None) -> None:
    """Sign out everywhere: after a password change, an erasure, or on request.

    Args:
        but: a session to keep, for who signs out all other browsers.
    """
    query = delete(WebSession).where(col(WebSession.subject_id) == subject_id)
    session.execute(query if but is None else query.where(col(WebSession.token_hash) != but.token_hash))


def require_csrf(info: SessionInfo, submitted: str | None) -> None:
    """Raises CsrfRefused unless the form carries this session's token."""
    if submitted is None or not hmac.compare_digest(info.csrf.encode(), submitted.encode()):
        raise CsrfRefused


def _open(
    session: Session,
    *,
    subject_id: int | None,
    now: datetime,
    state: dict[str, Any] | None,
    proof: Proof | None,
    created_at: datetime,
    ends_at: datetime,
) -> tuple[str, SessionInfo]:
    token = secrets.token_urlsafe(32)
    row = WebSession(
        token_hash=token_hash(token),
        subject_id=subject_id,
        csrf=secrets.token_urlsafe(24),
        created_at=created_at,
        expires_at=ends_at,
        state=json.dumps(state or {}),
        used_at=now,
        proved_at=None if proof is None else proof.at,
        proof_method=None if proof is None else str(proof.method),
    )
    session.add(row)
    session.flush()
    return token, _session_info(row)


def _session_info(row: WebSession) -> SessionInfo:
    proof = None
    if row.proved_at is not None and row.proof_method is not None:
        proof = Proof(at=row.proved_at, method=ProofMethod(row.proof_method))
    return SessionInfo(
        token_hash=row.token_hash,
        subject_id=row.subject_id,
        csrf=row.csrf,
        expires_at=row.expires_at,
        state=json.loads(row.state),
        created_at=row.created_at,
        used_at=row.used_at or row.created_at,
        proof=proof,
    )
