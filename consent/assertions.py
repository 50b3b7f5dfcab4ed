"""Recognising a client by a signed assertion (private_key_jwt, RFC 7523, as FAPI 2.0 narrows it). I/O: `used_jti`.

Built on Authlib's JWTBearerClientAssertion, whose defaults are not those of FAPI: it takes RS256 and refuses PS256 and
EdDSA, takes an array as audience, a life of ten years, and another client's `client_id` beside a valid assertion.
"""

import warnings
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

from authlib.oauth2.rfc6749 import InvalidClientError
from authlib.oauth2.rfc6749.requests import OAuth2Request
from authlib.oauth2.rfc7523 import JWTBearerClientAssertion
from joserfc import jwt
from joserfc.errors import JoseError, SecurityWarning
from joserfc.jwk import Key, KeySet
from sqlalchemy.orm import Session

from consent.clients import ALGORITHM_OF_KEY, RegisteredClient
from consent.deferred import use_up

ALGORITHMS = ("ES256", "PS256", "EdDSA", "Ed25519")
SKEW_S = 10  # FAPI 2.0 5.3.2.1-13: accept up to 10 s ahead, refuse over 60 s
LONGEST_LIFE_S = 300  # bounds the table of used identifiers
ASSERTION_CHARS = 8192
JTI_CHARS = 256
LATEST = 10**12  # beyond any time; a number may come as NaN, infinite or of a thousand digits
# What the libraries let out when a stranger's JSON is not what they expect of it.
UNREADABLE = (JoseError, ValueError, TypeError, KeyError, AttributeError, RecursionError)


class ClientAssertion(JWTBearerClientAssertion):  # type: ignore[misc]
    """private_key_jwt: `iss` = `sub` = client id, `aud` = this issuer as one string, used once, short-lived."""

    CLIENT_AUTH_METHOD = "private_key_jwt"

    def __init__(self, session: Session, *, issuer: str, now: datetime) -> None:
        super().__init__(validate_jti=True)
        self._session, self._issuer, self._now = session, issuer, now

    def __call__(
        self, query_client: Callable[[str], RegisteredClient | None], request: OAuth2Request
    ) -> RegisteredClient:
        assertion = request.form.get("client_assertion", "")
        if len(assertion) > ASSERTION_CHARS or not assertion:
            raise _refused("a client assertion is required")
        try:
            client: RegisteredClient | None = super().__call__(query_client, request)
        except InvalidClientError as cause:
            raise _refused("the client assertion is not accepted") from cause
        if client is None:
            raise _refused("client_assertion_type is not jwt-bearer")
        if request.form.get("client_id", client.client_id) != client.client_id:
            raise _refused("client_id is not the assertion's")
        return client

    def resolve_client_public_key(self, client: RegisteredClient) -> KeySet:
        return client.keys

    def extract_assertion(self, assertion: str) -> tuple[dict[str, Any], dict[str, Any]]:
        try:
            read: tuple[dict[str, Any], dict[str, Any]] = super().extract_assertion(assertion)
        except UNREADABLE as cause:
            raise InvalidClientError(description="not a JWT") from cause
        return read

    def process_assertion_claims(self, assertion: str, resolve_key: KeySet) -> dict[str, Any]:
        headers, _ = self.extract_assertion(assertion)
        for key in _candidates(resolve_key, headers):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", SecurityWarning)  # EdDSA under its older name is Ed25519 here
                try:
                    claims = jwt.decode(assertion, key, algorithms=[headers["alg"]]).claims
                except UNREADABLE:
                    continue
            self.verify_claims(claims)
            return claims
        raise InvalidClientError(description="no key of the client verifies the assertion")

    def verify_claims(self, claims: Mapping[str, Any]) -> None:
        now = self._now.timestamp()
        if claims.get("iss") != claims.get("sub") or claims.get("aud") != self._issuer:
            raise InvalidClientError(description="iss, sub or aud")
        expires = _require_time(claims, "exp")
        if not now - SKEW_S < expires <= now + LONGEST_LIFE_S + SKEW_S:
            raise InvalidClientError(description="exp")
        for name in ("iat", "nbf"):
            if name in claims and _require_time(claims, name) > now + SKEW_S:
                raise InvalidClientError(description=name)
        jti = claims.get("jti")
        if not isinstance(jti, str) or not 1 <= len(jti) <= JTI_CHARS or not self.validate_jti(claims, jti):
            raise InvalidClientError(description="jti")

    def validate_jti(self, claims: Mapping[str, Any], jti: str) -> bool:
        """The first to insert wins, over all workers; kept until the assertion could not be used anyway."""
        expires_at = self._now + timedelta(seconds=LONGEST_LIFE_S + 2 * SKEW_S)
        return use_up(self._session, claims["sub"], jti, expires_at=expires_at)


def _candidates(keys: KeySet, headers: Mapping[str, Any]) -> list[Key]:
    """The client's keys that could have made this signature: of the right kind, and of the named id if one is named."""
    algorithm, kid = headers.get("alg"), headers.get("kid")
    if algorithm not in ALGORITHMS:
        return []
    fitting = [key for key in keys.keys if algorithm in ALGORITHM_OF_KEY[key.key_type]]
    return [key for key in fitting if kid is None or key.kid == kid][:8]


def _require_time(claims: Mapping[str, Any], name: str) -> float:
    value = claims.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < LATEST:
        raise InvalidClientError(description=name)
    return float(value)


def _refused(description: str) -> InvalidClientError:
    return InvalidClientError(description=description, status_code=401)
