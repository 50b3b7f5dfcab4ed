"""Proofs that the hub holds the key its platform tokens are bound to (RFC 9449). I/O: the key directory.

Every platform has its own key, and it is not the one that signs assertions: a proof that one platform can obtain is
worth nothing at another, and a token that leaks is worth nothing without the key. The nonces that servers hand out are
only hints, so they live in memory: a forgotten one costs one more call.
"""

import re
import secrets
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from hashlib import sha256
from typing import Any

from joserfc import jwt
from joserfc.jwk import ECKey

from consent.http import origin_of
from consent.keyfiles import create_if_absent
from consent.keyring import KeyRing, KeyRingError

MOST_NONCE = 512  # characters; a longer one is not kept
_PUBLIC = ("kty", "crv", "x", "y")
_NONCE = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]+")  # NQCHAR of RFC 6749, as RFC 9449 8.1 has it


@dataclass(frozen=True, slots=True, kw_only=True)
class ProofKey:
    """One platform's key; `thumbprint` is what a server binds tokens to (`jkt`)."""

    thumbprint: str
    key: ECKey = field(repr=False)

    def prove(self, *, method: str, url: str, now: datetime, access_token: str | None = None) -> str:
        """Make the `DPoP` header of one request; with a token, bound to that token too."""
        claims: dict[str, Any] = {
            "jti": secrets.token_urlsafe(16),
            "htm": method,
            "htu": url.partition("?")[0].partition("#")[0],
            "iat": int(now.timestamp()),
        }
        nonce = self._nonces.get(origin_of(url))
        if nonce is not None:
            claims["nonce"] = nonce
        if access_token is not None:
            claims["ath"] = urlsafe_b64encode(sha256(access_token.encode()).digest()).decode().rstrip("=")
        public = {name: value for name, value in self.key.as_dict(private=False).items() if name in _PUBLIC}
        header = {"typ": "dpop+jwt", "alg": "ES256", "jwk": public}
        return jwt.encode(header, claims, self.key, algorithms=["ES256"])

    def authorise(self, access_token: str, *, method: str, url: str, now: datetime) -> dict[str, str]:
        """Make the headers of one request with a token that is bound to this key."""
        proof = self.prove(method=method, url=url, now=now, access_token=access_token)
        return {"authorization": f"DPoP {access_token}", "dpop": proof}

    def learn(self, url: str, headers: Mapping[str, str]) -> bool:
        """Keep the nonce that an answer brings for its origin; returns whether it is another than before."""
        nonce = headers.get("dpop-nonce")
        if nonce is None or len(nonce) > MOST_NONCE or not _NONCE.fullmatch(nonce):
            return False
        before, self._nonces[origin_of(url)] = self._nonces.get(origin_of(url)), nonce
        return before != nonce

    @property
    def _nonces(self) -> dict[str, str]:
        return _nonces_for(self.thumbprint)


def load_proof_key(keyring: KeyRing, platform: str) -> ProofKey:
    """The key that proves possession to one platform, created at first use."""
    if not re.fullmatch(r"[a-z0-9][a-z0-9-]{0,62}", platform):
        raise KeyRingError("a platform id is made of a-z, 0-9 and -")
    path = keyring.directory / f"proof-{platform}-0001.key"
    if not path.exists():
        create_if_absent(path, ECKey.generate_key("P-256").as_pem(private=True))
    key = ECKey.import_key(path.read_text())
    return ProofKey(key=key, thumbprint=key.thumbprint())


def asks_for_nonce(status: int, headers: Mapping[str, str], error: object) -> bool:
    """Tell whether a server only wants its nonce in the proof (RFC 9449 8 and 9); then one more try is due."""
    if status not in (400, 401) or "dpop-nonce" not in headers:
        return False
    return error == "use_dpop_nonce" or "use_dpop_nonce" in headers.get("www-authenticate", "")


@lru_cache(maxsize=256)
def _nonces_for(thumbprint: str) -> dict[str, str]:
    return {}
