"""The grants of the token endpoint: code, refresh token, client credentials. I/O: token and code tables.

Built on Authlib's grants. What is different here, and why: tokens are bound to a key or a certificate, so each request
proves it before anything else is looked at; a code is used up by one UPDATE that only one of any number of racing
requests wins, before a token exists, where Authlib stores the token first and deletes the code later; a refresh token
stays the same for the life of its grant (FAPI 2.0 5.3.2.1-9).
"""

import secrets
from typing import Any

from authlib.oauth2.rfc6749 import (
    AuthorizationCodeGrant,
    ClientCredentialsGrant,
    InvalidGrantError,
    InvalidRequestError,
    InvalidScopeError,
    RefreshTokenGrant,
)
from authlib.oauth2.rfc7636 import create_s256_code_challenge
from sqlalchemy import bindparam, update
from sqlmodel import col

from consent.clients import RegisteredClient
from consent.details import load_details
from consent.dpop import verify_proof
from consent.grants import Grant, GrantNotFound, GrantState, require_grant
from consent.keyring import token_hash
from consent.tables import AuthorizationCode
from consent.tokens import (
    TOKEN_LIFE,
    Binding,
    TokenInfo,
    end_tokens_of_code,
    find_refresh_token,
    new_token,
    store_access_token,
    store_refresh_token,
)
from consent.types import UtcDateTime


class _Bound:
    """A grant whose client has proved its key (or shown its certificate) by the time that it is known."""

    TOKEN_ENDPOINT_AUTH_METHODS = ("private_key_jwt",)
    request: Any
    server: Any

    def authenticate_token_endpoint_client(self) -> RegisteredClient:
        client: RegisteredClient = super().authenticate_token_endpoint_client()  # type: ignore[misc]
        self.request.binding = self._prove(client)
        return client

    def _prove(self, client: RegisteredClient) -> Binding:
        posted = self.request.posted
        if client.shows_certificate:
            if posted.certificate is None:
                raise InvalidRequestError("this client's tokens are bound to its TLS certificate, and none was shown")
            return Binding(certificate=posted.certificate)
        authority = self.server.authority
        jkt = verify_proof(
            self.server.session, posted.proofs, method="POST", url=authority.issuer + posted.path,
            nonces=authority.nonces, now=self.server.now,
        )  # fmt: skip
        return Binding(jkt=jkt)

    def answer_token(self, scope: str, *, grant: Grant | None = None, code_hash: str | None = None) -> dict[str, Any]:
        """Issue an access token and say what it is for."""
        access, binding, client = new_token("at"), self.request.binding, self.request.client
        store_access_token(
            self.server.session, access, client_id=client.client_id, scope=scope, binding=binding, grant=grant,
            code_hash=code_hash, now=self.server.now,
        )  # fmt: skip
        answer: dict[str, Any] = {
            "access_token": access,
            "token_type": "DPoP" if binding.jkt else "Bearer",
            "expires_in": int(TOKEN_LIFE.total_seconds()),
            "scope": scope,
        }
        if grant is not None:
            answer["grant_id"] = grant.grant_id
            answer["authorization_details"] = [detail.to_json() for detail in load_details(grant.terms.details)]
        return answer


class ClientCredentials(_Bound, ClientCredentialsGrant):  # type: ignore[misc]
    """A platform acts for itself: no person, no refresh token."""

    def validate_requested_scope(self) -> None:
        """Refuse what the client may not have, rather than leave it out unsaid."""
        super().validate_requested_scope()
        asked = set((self.request.payload.scope or "").split())
        if not asked <= set(self.request.client.scopes):
            raise InvalidScopeError

    def create_token_response(self) -> tuple[int, dict[str, Any], Any]:
        scope = self.request.client.get_allowed_scope(self.request.payload.scope)
        if scope is None:
            raise InvalidScopeError
        return 200, self.answer_token(scope), self.TOKEN_RESPONSE_HEADER


_USE_UP = (
    update(AuthorizationCode)
    .where(col(AuthorizationCode.code_hash) == bindparam("code"), col(AuthorizationCode.used_at).is_(None))
    .values(used_at=bindparam("now", type_=UtcDateTime()))
)


class Code(_Bound, AuthorizationCodeGrant):  # type: ignore[misc]
    """A code becomes tokens once, for the client, address, verifier and key that it was made for."""

    def validate_token_request(self) -> None:
        client = self.authenticate_token_endpoint_client()
        self.request.client = client
        if not client.check_grant_type("authorization_code"):
            raise InvalidGrantError("this client does not use codes")
        code = self.request.form.get("code")
        if code is None:
            raise InvalidRequestError("code is missing")
        row = self.server.session.get(AuthorizationCode, token_hash(code))
        if row is None or row.client_id != client.client_id:
            raise InvalidGrantError("the code is not known")
        if row.used_at is not None:
            self._replayed(row)
        self._require_fitting(row)
        self.request.authorization_code = row

    def create_token_response(self) -> tuple[int, dict[str, Any], Any]:
        row, session, now = self.request.authorization_code, self.server.session, self.server.now
        used = session.connection().execute(_USE_UP, {"code": row.code_hash, "now": now})
        if used.rowcount != 1:
            self._replayed(row)
        grant = self._grant(row)
        answer = self.answer_token(row.scope, grant=grant, code_hash=row.code_hash)
        if self.request.client.check_grant_type("refresh_token"):
            answer["refresh_token"] = new_token("rt")
            store_refresh_token(
                session, answer["refresh_token"], client_id=row.client_id, scope=row.scope, binding=self.request.binding,
                grant=grant, code_hash=row.code_hash, now=now,
            )  # fmt: skip
        return 200, answer, self.TOKEN_RESPONSE_HEADER

    def _require_fitting(self, row: AuthorizationCode) -> None:
        verifier = self.request.form.get("code_verifier", "")
        fits = (
            row.expires_at > self.server.now
            and self.request.form.get("redirect_uri") == row.redirect_uri
            and 43 <= len(verifier) <= 128
            and secrets.compare_digest(create_s256_code_challenge(verifier), row.code_challenge)
            and row.dpop_jkt in (None, self.request.binding.jkt)
        )
        if not fits:
            raise InvalidGrantError("the code is over, or was made for another address, verifier or key")

    def _grant(self, row: AuthorizationCode) -> Grant:
        try:
            grant = require_grant(self.server.session, grant_id=row.grant_id, subject_id=row.subject_id)
        except GrantNotFound:
            raise InvalidGrantError("the consent is over") from None
        if grant.state is not GrantState.ACTIVE:
            raise InvalidGrantError("the consent is over")
        return grant

    def _replayed(self, row: AuthorizationCode) -> None:
        """Somebody else has the code too: what it gave ends (RFC 6749 section 4.1.2)."""
        end_tokens_of_code(self.server.session, row.code_hash, now=self.server.now)
        raise InvalidGrantError("the code was used before")


class Refresh(_Bound, RefreshTokenGrant):  # type: ignore[misc]
    """A new access token for as long as the grant is in force, for the same key; the refresh token stays."""

    def validate_token_request(self) -> None:
        client = self.authenticate_token_endpoint_client()
        self.request.client = client
        if not client.check_grant_type("refresh_token"):
            raise InvalidGrantError("this client does not use refresh tokens")
        token = self.request.form.get("refresh_token")
        if token is None:
            raise InvalidRequestError("refresh_token is missing")
        info = find_refresh_token(self.server.session, token, now=self.server.now)
        if info is None or info.client_id != client.client_id or info.binding != self.request.binding:
            raise InvalidGrantError("the refresh token is over, or another client's or key's")
        asked = set((self.request.payload.scope or "").split())
        if not asked <= info.scope:
            raise InvalidScopeError
        self.request.refresh_token = info
        self.request.refresh_scope = asked or info.scope

    def create_token_response(self) -> tuple[int, dict[str, Any], Any]:
        info: TokenInfo = self.request.refresh_token
        # Never more than the client may still ask for: its registration can have been narrowed since.
        scope = " ".join(sorted(self.request.refresh_scope & set(self.request.client.scopes)))
        if not scope:
            raise InvalidScopeError
        return 200, self.answer_token(scope, grant=info.grant, code_hash=info.code_hash), self.TOKEN_RESPONSE_HEADER
