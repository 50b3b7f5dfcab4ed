"""Access tokens the hub issued: opaque, short, stored as a hash, asked on every request. I/O: `access_token`.

Opaque and not self-contained, because a withdrawal must hold at the next request and not when a token happens to end.
"""

import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import update
from sqlalchemy.orm import Session
from sqlmodel import col

from consent.clients import RegisteredClient
from consent.errors import ConsentError
from consent.grants import GrantNotFound, GrantState, require_grant
from consent.keyring import token_hash
from consent.tables import AccessToken, OAuthClient

TOKEN_LIFE = timedelta(seconds=300)


class TokenRefused(ConsentError):
    """The request may not go on: answer with `status` and the WWW-Authenticate challenge."""

    def __init__(self, status: int, error: str, *, scope: str | None = None) -> None:
        super().__init__(error)
        self.status = status
        self.error = error
        parts = [f'error="{error}"'] if error else []
        self.challenge = "Bearer " + ", ".join([*parts, *([f'scope="{scope}"'] if scope else [])])


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenInfo:
    """Who calls, and what it may do. subject_id and grant_id are set where a person's grant stands behind the token."""

    client_id: str
    participant: str | None
    scope: frozenset[str]
    expires_at: datetime
    subject_id: int | None = None
    grant_id: str | None = None


def new_token() -> str:
    """256 random bits; never stored."""
    return "at_" + secrets.token_urlsafe(32)


def store_token(session: Session, token: str, *, client: RegisteredClient, scope: str, now: datetime) -> None:
    """Record an issued token that no person's grant stands behind."""
    session.add(
        AccessToken(
            token_hash=token_hash(token),
            client_id=client.client_id,
            scope=scope,
            issued_at=now,
            expires_at=now + TOKEN_LIFE,
        )
    )
    session.flush()


def require_token(session: Session, authorization: str | None, *, scope: str, now: datetime) -> TokenInfo:
    """Who is behind an Authorization header, if the token holds now and covers the scope.

    Raises:
        TokenRefused: 401 for no or a dead token, 403 `insufficient_scope`.
    """
    if not authorization:
        raise TokenRefused(401, "")
    scheme, _, token = authorization.partition(" ")
    if scheme.lower() != "bearer" or not token or len(token) > 512:
        raise TokenRefused(401, "invalid_token")
    info = find_token(session, token, now=now)
    if info is None:
        raise TokenRefused(401, "invalid_token")
    if scope not in info.scope:
        raise TokenRefused(403, "insufficient_scope", scope=scope)
    return info


def find_token(session: Session, token: str, *, now: datetime) -> TokenInfo | None:
    """A token that holds now: not ended, not revoked, of a client that may act, of a grant in force."""
    row = session.get(AccessToken, token_hash(token))
    if row is None or row.revoked_at is not None or row.expires_at <= now or row.dpop_jkt is not None:
        return None  # a token bound to a key proves nothing when sent as a bearer token
    client = session.get(OAuthClient, row.client_id)
    if client is None or client.suspended_at is not None or not _grant_holds(session, row, now):
        return None
    return TokenInfo(
        client_id=row.client_id,
        participant=client.participant,
        scope=frozenset(row.scope.split()),
        expires_at=row.expires_at,
        subject_id=row.subject_id,
        grant_id=row.grant_id,
    )


def revoke_token(session: Session, token: str, *, client_id: str, now: datetime) -> None:
    """End one token of this client; another's is left alone. It does not withdraw the grant behind it."""
    statement = update(AccessToken).where(
        col(AccessToken.token_hash) == token_hash(token),
        col(AccessToken.client_id) == client_id,
        col(AccessToken.revoked_at).is_(None),
    )
    session.execute(statement.values(revoked_at=now))


def _grant_holds(session: Session, row: AccessToken, now: datetime) -> bool:
    if row.grant_id is None or row.subject_id is None:
        return row.grant_id is None and row.subject_id is None
    try:
        grant = require_grant(session, grant_id=row.grant_id, subject_id=row.subject_id)
    except GrantNotFound:
        return False
    return grant.state is GrantState.ACTIVE and grant.terms.valid_from <= now < grant.terms.valid_until
