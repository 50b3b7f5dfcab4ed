"""Proof of possession of a key, as RFC 9449 has it and FAPI 2.0 wants it. I/O: `used_jti`.

A proof is a small JWT with its own public key in the header, made for one request. It is good once, for a minute, and
with a nonce of this server, so that proofs cannot be made ahead of time. Nonces are stateless: an HMAC over the minute
count, which every worker can check.
"""

import hmac
import json
import warnings
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any
from urllib.parse import urlsplit

from authlib.oauth2 import OAuth2Error
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from joserfc import jws
from joserfc.errors import JoseError, SecurityWarning
from joserfc.jwk import JWKRegistry, Key
from sqlalchemy.orm import Session

from consent.clients import ALGORITHM_OF_KEY, CURVE_OF_KEY, PRIVATE_MEMBERS, SHORTEST_RSA_BITS
from consent.deferred import use_up

ALGORITHMS = ("ES256", "PS256", "EdDSA", "Ed25519")
PROOF_CHARS = 8192
JTI_CHARS = 256
LATEST = 10**12  # beyond any time; a number may come as NaN, infinite or of a thousand digits
OLDEST_S, NEWEST_S = 120, 15  # FAPI 2.0 5.3.2.1-13: 10 s either way must do; the nonce bounds what is made ahead
NONCE_LIFE = timedelta(minutes=5)
_DEFAULT_PORTS = {"http": 80, "https": 443}
# The library's own bound on a header (512 bytes) leaves no room for an RSA key in it, and unknown members mean nothing.
_REGISTRY = jws.JWSRegistry(algorithms=ALGORITHMS, strict_check_header=False)
_REGISTRY.max_header_length = PROOF_CHARS


class ProofRefused(OAuth2Error):  # type: ignore[misc]
    """The proof does not prove what it should."""

    error = "invalid_dpop_proof"

    def __init__(self, description: str) -> None:
        super().__init__(description=description, status_code=400)


class NonceWanted(OAuth2Error):  # type: ignore[misc]
    """The proof lacks a fresh nonce of this server; the answer carries one, and the client tries again."""

    error = "use_dpop_nonce"

    def __init__(self) -> None:
        super().__init__(description="a DPoP nonce of this server is needed", status_code=400)


@dataclass(frozen=True, slots=True, kw_only=True)
class Nonces:
    """Makes and checks nonces; two servers with the same key take each other's."""

    key: bytes = field(repr=False)
    required: bool = True

    def current(self, now: datetime) -> str:
        """The nonce to give out now; it is good for one to two lives."""
        return self._of(int(now.timestamp() // NONCE_LIFE.total_seconds()))

    def is_fresh(self, nonce: object, now: datetime) -> bool:
        if not isinstance(nonce, str) or not nonce.isascii():
            return False
        turn = int(now.timestamp() // NONCE_LIFE.total_seconds())
        return any(hmac.compare_digest(nonce.encode(), self._of(turn - age).encode()) for age in (0, 1))

    def _of(self, turn: int) -> str:
        return _text(hmac.digest(self.key, b"dpop-nonce\x1f" + str(turn).encode(), "sha256")[:18])


def verify_proof(
    session: Session,
    proofs: Sequence[str],
    *,
    method: str,
    url: str,
    nonces: Nonces,
    now: datetime,
    access_token: str | None = None,
) -> str:
    """Check the DPoP headers of a request and return the thumbprint (RFC 7638) of the key that made the proof.

    Args:
        url: the address as the outside sees it, from the configured issuer.
        access_token: at the resource server: the token that the proof must name.

    Raises:
        ProofRefused, NonceWanted.
    """
    if len(proofs) != 1 or not 1 <= len(proofs[0]) <= PROOF_CHARS or not proofs[0].isascii():
        raise ProofRefused("exactly one DPoP proof is needed")
    key, claims = _read(proofs[0])
    if claims.get("htm") != method or not _is_same_address(claims.get("htu"), url):
        raise ProofRefused("htm or htu")
    issued = claims.get("iat")
    if isinstance(issued, bool) or not isinstance(issued, int | float) or not abs(issued) < LATEST:
        raise ProofRefused("iat")
    if access_token is not None and claims.get("ath") != _text(sha256(access_token.encode()).digest()):
        raise ProofRefused("ath")
    nonce = claims.get("nonce")
    if (nonces.required or nonce is not None) and not nonces.is_fresh(nonce, now):
        raise NonceWanted
    if not -OLDEST_S <= issued - now.timestamp() <= NEWEST_S:
        raise ProofRefused("iat")
    thumbprint: str = key.thumbprint()
    _use_up(session, thumbprint, claims.get("jti"), now)
    return thumbprint


def _read(proof: str) -> tuple[Key, Mapping[str, Any]]:
    """The key of the header and the claims that it signed."""
    try:
        header = json.loads(urlsafe_b64decode(proof.partition(".")[0] + "=="))
        algorithm, jwk = header["alg"], header["jwk"]
        if str(header["typ"]).lower() != "dpop+jwt" or algorithm not in ALGORITHMS:
            raise ProofRefused("typ or alg")
        key = _import_key(jwk, algorithm)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SecurityWarning)  # EdDSA under its older name is Ed25519 here
            content = jws.deserialize_compact(proof, key, algorithms=[algorithm], registry=_REGISTRY)
        claims = json.loads(content.payload)
    except (JoseError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as cause:
        raise ProofRefused("the proof cannot be read or its signature does not fit") from cause
    if not isinstance(claims, dict):
        raise ProofRefused("the proof has no claims")
    return key, claims


def _import_key(jwk: Any, algorithm: str) -> Key:
    if not isinstance(jwk, dict) or PRIVATE_MEMBERS & jwk.keys():
        raise ProofRefused("jwk must be a public key")
    kind = jwk.get("kty")
    if algorithm not in ALGORITHM_OF_KEY.get(str(kind), ()) or jwk.get("crv") != CURVE_OF_KEY.get(str(kind)):
        raise ProofRefused("jwk does not fit alg")
    members = {"EC": ("crv", "kty", "x", "y"), "RSA": ("e", "kty", "n"), "OKP": ("crv", "kty", "x")}[str(kind)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SecurityWarning)  # the length is judged below, as a refusal
        # Only what makes the key: a `use` or `key_ops` of the sender's choice decides nothing here.
        key = JWKRegistry.import_key({name: jwk[name] for name in members})
    if isinstance(key.raw_value, RSAPublicKey) and key.raw_value.key_size < SHORTEST_RSA_BITS:
        raise ProofRefused("jwk is too short")
    return key


def _is_same_address(told: object, url: str) -> bool:
    """RFC 9449 section 4.3: without query and fragment, after the normalisation of RFC 3986."""
    if not isinstance(told, str):
        return False
    try:
        return _normal(told) == _normal(url)
    except ValueError:
        return False


def _normal(url: str) -> tuple[str, str | None, int | None, str]:
    parts = urlsplit(url)
    scheme = parts.scheme.lower()
    return scheme, parts.hostname, parts.port or _DEFAULT_PORTS.get(scheme), parts.path or "/"


def _use_up(session: Session, thumbprint: str, jti: object, now: datetime) -> None:
    """The first to insert wins, over all workers; kept for as long as the proof could be used."""
    if not isinstance(jti, str) or not 1 <= len(jti) <= JTI_CHARS:
        raise ProofRefused("jti")
    expires_at = now + timedelta(seconds=OLDEST_S + NEWEST_S + 1)  # both ends of the window count
    if not use_up(session, f"dpop:{thumbprint}", jti, expires_at=expires_at):
        raise ProofRefused("the proof was used before")


def _text(digest: bytes) -> str:
    return urlsafe_b64encode(digest).rstrip(b"=").decode()
