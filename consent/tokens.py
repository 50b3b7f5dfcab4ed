"""Tokens that the hub issued: opaque, bound to a key, stored as a hash, asked at every request. I/O: token tables.

Opaque and not self-contained, because a withdrawal must hold at the next request and not when a token happens to end. A
token without its key is worth nothing: whoever sends it proves the key (DPoP) or shows the certificate (RFC 8705).
"""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from sqlalchemy import bindparam, select, update
from sqlalchemy.orm import Session
from sqlmodel import col

from consent.deferred import insert_later, write_rows
from consent.dpop import ALGORITHMS, Nonces, NonceWanted, ProofRefused, verify_proof
from consent.errors import ConsentError
from consent.grants import Grant, GrantNotFound, GrantState, require_grant
from consent.keyring import token_hash
from consent.tables import AccessToken, AuthorizationCode, OAuthClient, RefreshToken

TOKEN_LIFE = timedelta(seconds=300)


class TokenRefused(ConsentError):
    """The request may not go on: answer with `status` and these headers."""

    def __init__(self, status: int, error: str, headers: Mapping[str, str]) -> None:
        super().__init__(error or "no token")
        self.status = status
        self.error = error
        self.headers = headers


@dataclass(frozen=True, slots=True, kw_only=True)
class Binding:
    """What a token is bound to: the thumbprint of a key (DPoP) or of a certificate (mTLS); exactly one is set."""

    jkt: str | None = None
    certificate: str | None = None

    def confirmation(self) -> dict[str, str]:
        """The `cnf` member of RFC 7800."""
        return {"jkt": self.jkt} if self.jkt else {"x5t#S256": self.certificate or ""}


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenInfo:
    """Who calls, and what it may do. `grant` is set where a person's consent stands behind the token."""

    client_id: str
    participant: str | None
    scope: frozenset[str]
    binding: Binding
    issued_at: datetime
    expires_at: datetime | None  # None: a refresh token, which lives as its grant does
    grant: Grant | None = None
    code_hash: str | None = None  # the code that it came from, over a refresh token too


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiCall:
    """A request to a protected address: its method and address as the outside sees it, and what it proves itself with."""

    method: str
    url: str
    authorization: str | None = field(default=None, repr=False)
    proofs: tuple[str, ...] = field(default=(), repr=False)
    certificate: str | None = None


def new_token(prefix: str) -> str:
    """256 random bits; never stored."""
    return f"{prefix}_{secrets.token_urlsafe(32)}"


def store_access_token(
    session: Session,
    token: str,
    *,
    client_id: str,
    scope: str,
    binding: Binding,
    now: datetime,
    grant: Grant | None = None,
    code_hash: str | None = None,
) -> None:
    """Record an issued access token."""
    row = {
        "token_hash": token_hash(token), "client_id": client_id, "scope": scope, "dpop_jkt": binding.jkt,
        "certificate_thumbprint": binding.certificate, "code_hash": code_hash, "issued_at": now,
        "expires_at": now + TOKEN_LIFE, "subject_id": grant.subject_id if grant else None,
        "grant_id": grant.grant_id if grant else None, "revoked_at": None,
    }  # fmt: skip
    insert_later(session, AccessToken, row)


def store_refresh_token(
    session: Session,
    token: str,
    *,
    client_id: str,
    scope: str,
    binding: Binding,
    grant: Grant,
    code_hash: str,
    now: datetime,
) -> None:
    """Record an issued refresh token."""
    row = {
        "token_hash": token_hash(token), "client_id": client_id, "scope": scope, "dpop_jkt": binding.jkt,
        "certificate_thumbprint": binding.certificate, "code_hash": code_hash, "issued_at": now,
        "subject_id": grant.subject_id, "grant_id": grant.grant_id, "revoked_at": None,
    }  # fmt: skip
    insert_later(session, RefreshToken, row)


def require_token(
    session: Session, call: ApiCall, *, scope: str, issuer: str, nonces: Nonces, now: datetime
) -> TokenInfo:
    """Who is behind a request, if its token holds now, is proved to be theirs, and covers the scope.

    Commit the transaction even when this raises: a proof that was seen stays seen.

    Raises:
        TokenRefused: 401 for no token, a dead one or no proof of its key; 403 `insufficient_scope`.
    """
    scheme, _, token = (call.authorization or "").partition(" ")
    metadata = f'resource_metadata="{issuer}/.well-known/oauth-protected-resource"'
    if not token:
        raise TokenRefused(401, "", _challenge(metadata))
    info = find_access_token(session, token, now=now) if len(token) <= 512 else None
    if info is None:
        raise TokenRefused(401, "invalid_token", _challenge('error="invalid_token"', metadata))
    try:
        _require_possession(session, call, scheme.lower(), token, info.binding, nonces, now)
    except NonceWanted:
        headers = {**_challenge('error="use_dpop_nonce"', metadata), "dpop-nonce": nonces.current(now)}
        raise TokenRefused(401, "use_dpop_nonce", headers) from None
    except ProofRefused:
        raise TokenRefused(401, "invalid_dpop_proof", _challenge('error="invalid_dpop_proof"', metadata)) from None
    if scope not in info.scope:
        raise TokenRefused(403, "insufficient_scope", _challenge('error="insufficient_scope"', f'scope="{scope}"'))
    return info


def find_access_token(session: Session, token: str, *, now: datetime) -> TokenInfo | None:
    """An access token that holds now: not ended, not revoked, of a client that may act, of a grant in force."""
    row = session.get(AccessToken, token_hash(token))
    if row is None or row.revoked_at is not None or row.expires_at <= now:
        return None
    return _info(session, row, expires_at=row.expires_at, now=now)


def find_refresh_token(session: Session, token: str, *, now: datetime) -> TokenInfo | None:
    """A refresh token that holds now."""
    row = session.get(RefreshToken, token_hash(token))
    if row is None or row.revoked_at is not None:
        return None
    return _info(session, row, expires_at=None, now=now)


def revoke_token(session: Session, token: str, *, client_id: str, now: datetime) -> None:
    """End one token of this client; another's is left alone. It does not withdraw the grant behind it.

    The access tokens that came of a refresh token end with it (RFC 7009 section 2.1).
    """
    hashed = token_hash(token)
    for table in (AccessToken, RefreshToken):
        mine = (col(table.token_hash) == hashed, col(table.client_id) == client_id, col(table.revoked_at).is_(None))
        session.execute(update(table).where(*mine).values(revoked_at=now))
    refresh = session.get(RefreshToken, hashed)
    if refresh is not None and refresh.client_id == client_id:
        end_tokens_of_grant(session, refresh.grant_id, now=now, refresh_too=False)


def end_tokens_of_grant(session: Session, grant_id: str, *, now: datetime, refresh_too: bool = True) -> None:
    """End every token that hangs on a grant, and every code that could still become one."""
    write_rows(session)
    for table in (AccessToken, RefreshToken) if refresh_too else (AccessToken,):
        hanging = (col(table.grant_id) == grant_id, col(table.revoked_at).is_(None))
        session.execute(update(table).where(*hanging).values(revoked_at=now))
    if refresh_too:
        unused = (col(AuthorizationCode.grant_id) == grant_id, col(AuthorizationCode.used_at).is_(None))
        session.execute(update(AuthorizationCode).where(*unused).values(used_at=now))


def end_tokens_of_code(session: Session, code_hash: str, *, now: datetime) -> None:
    """End what a code gave when it was used the first time: it is used again, so somebody else has it too."""
    write_rows(session)
    for table in (AccessToken, RefreshToken):
        given = (col(table.code_hash) == code_hash, col(table.revoked_at).is_(None))
        session.execute(update(table).where(*given).values(revoked_at=now))


def _require_possession(
    session: Session, call: ApiCall, scheme: str, token: str, binding: Binding, nonces: Nonces, now: datetime
) -> None:
    if binding.jkt is None:
        if scheme != "bearer" or binding.certificate is None or call.certificate != binding.certificate:
            raise ProofRefused("the certificate is not the token's")
        return
    if scheme != "dpop":
        raise ProofRefused("this token is bound to a key")
    jkt = verify_proof(
        session, call.proofs, method=call.method, url=call.url, nonces=nonces, now=now, access_token=token
    )
    if not secrets.compare_digest(jkt, binding.jkt):
        raise ProofRefused("another key than the token's")


def _challenge(*parts: str) -> dict[str, str]:
    algorithms = f'algs="{" ".join(ALGORITHMS)}"'
    return {"www-authenticate": "DPoP " + ", ".join([*parts, algorithms])}


_STANDING = select(col(OAuthClient.participant), col(OAuthClient.suspended_at)).where(
    col(OAuthClient.client_id) == bindparam("client_id")
)


def _info(
    session: Session, row: AccessToken | RefreshToken, *, expires_at: datetime | None, now: datetime
) -> TokenInfo | None:
    client = session.connection().execute(_STANDING, {"client_id": row.client_id}).one_or_none()
    if client is None or client.suspended_at is not None:
        return None
    grant, scope = None, frozenset(row.scope.split())
    if row.grant_id is not None or row.subject_id is not None:
        grant = _grant_in_force(session, row, now)
        if grant is None:
            return None
        scope &= set(grant.terms.scope.split())  # as the person allows it now, whatever was allowed at issue
    return TokenInfo(
        client_id=row.client_id,
        participant=client.participant,
        scope=scope,
        binding=Binding(jkt=row.dpop_jkt, certificate=row.certificate_thumbprint),
        issued_at=row.issued_at,
        expires_at=expires_at,
        grant=grant,
        code_hash=row.code_hash,
    )


def _grant_in_force(session: Session, row: AccessToken | RefreshToken, now: datetime) -> Grant | None:
    if row.grant_id is None or row.subject_id is None:
        return None
    try:
        grant = require_grant(session, grant_id=row.grant_id, subject_id=row.subject_id)
    except GrantNotFound:
        return None
    in_force = grant.state is GrantState.ACTIVE and grant.terms.valid_from <= now < grant.terms.valid_until
    return grant if in_force else None
