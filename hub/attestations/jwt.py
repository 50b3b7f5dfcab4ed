"""The signed part of attestations and status lists: compact JWS by ES256, read without tolerance. Pure.

Base64url has room in its last character: some readers take two texts for one signature. Here each part must be written as it
would be written again, so that a changed character anywhere is a refusal. Source: RFC 7515, RFC 8725 section 3.
"""

import json
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping
from typing import Any

from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import ECKey

from connectors.strict_json import MalformedJsonError, parse_object

ALGORITHM = "ES256"
MOST_BYTES = 120_000  # what the library reads; a status list has 40,000 at most
_PART = re.compile(r"[A-Za-z0-9_-]+")
_PUBLIC = ("kty", "crv", "x", "y")


class JwtInvalid(ValueError):
    """Not of this form, of another type, or signed by nobody whose keys these are; the text says which."""


def encode_part(content: bytes) -> str:
    """Return bytes as base64url without padding."""
    return urlsafe_b64encode(content).rstrip(b"=").decode()


def decode_part(part: str) -> bytes:
    """Return the bytes of a base64url text; raises JwtInvalid if it is not written in the one way that there is."""
    if not _PART.fullmatch(part):
        raise JwtInvalid("a part is not base64url")
    try:
        content = urlsafe_b64decode(part + "=" * (-len(part) % 4))
    except ValueError:
        raise JwtInvalid("a part is not base64url") from None
    if encode_part(content) != part:
        raise JwtInvalid("a part is not written in the one way that there is")
    return content


def sign_jwt(key: ECKey, kind: str, claims: Mapping[str, Any]) -> str:
    """Sign claims as a JWT of a type (`typ`)."""
    header = {"alg": ALGORITHM, "typ": kind, "kid": key.kid}
    payload = json.dumps(claims, ensure_ascii=False, separators=(",", ":")).encode()
    return str(jws.serialize_compact(header, payload, key, algorithms=[ALGORITHM]))


def open_jwt(text: str, keys: Mapping[str, ECKey], kind: str) -> dict[str, Any]:
    """Return the claims of a JWT of this type that one of these keys, by the key id in its header, has signed.

    Raises:
        JwtInvalid: whatever else it is.
    """
    header = _header(text)
    if header.get("typ") != kind:
        raise JwtInvalid(f"not of the type {kind}")
    key = keys.get(str(header.get("kid")))
    if key is None:
        raise JwtInvalid("signed with a key that is not among those given")
    return open_with(text, key, kind)


def open_with(text: str, key: ECKey, kind: str) -> dict[str, Any]:
    """Return the claims of a JWT of this type that this key has signed. Raises JwtInvalid."""
    header = _header(text)
    # The algorithm is ours to say and not the header's: with `none` or a MAC anybody could sign (RFC 8725, 3.1).
    if header.get("alg") != ALGORITHM or header.get("typ") != kind:
        raise JwtInvalid(f"not of the type {kind} signed by {ALGORITHM}")
    try:
        checked = jws.deserialize_compact(text, key, algorithms=[ALGORITHM])
        return parse_object(checked.payload or b"")
    except MalformedJsonError as cause:
        raise JwtInvalid("the content is not strict JSON") from cause
    except (JoseError, ValueError, TypeError) as cause:
        raise JwtInvalid("the signature does not fit, or the statement was changed") from cause


def parse_public_key(jwk: object) -> ECKey:
    """Return the public key of a JWK, with its key id if it has one.

    Raises:
        JwtInvalid: not an elliptic key on P-256, or one that tells its private half.
    """
    if not isinstance(jwk, dict) or jwk.get("kty") != "EC" or jwk.get("crv") != "P-256":
        raise JwtInvalid("a key must be a JWK of type EC on the curve P-256")
    if "d" in jwk:
        raise JwtInvalid("the private half of a key must stay with its holder")
    try:
        key: ECKey = ECKey.import_key({name: jwk[name] for name in _PUBLIC})
        known = {name: key.as_dict(private=False)[name] for name in _PUBLIC}
    except (JoseError, ValueError, KeyError, TypeError, AttributeError) as cause:
        raise JwtInvalid("a key cannot be read") from cause
    return ECKey.import_key({**known, **({"kid": jwk["kid"]} if isinstance(jwk.get("kid"), str) else {})})


def public_members(key: ECKey) -> dict[str, Any]:
    """Return what a public key consists of, and nothing else that came with it."""
    told = key.as_dict(private=False)
    return {name: told[name] for name in _PUBLIC}


def _header(text: str) -> dict[str, Any]:
    if len(text) > MOST_BYTES or text.count(".") != 2:
        raise JwtInvalid("not a signed JWT")
    parts = [decode_part(part) for part in text.split(".")]
    try:
        return parse_object(parts[0])
    except MalformedJsonError as cause:
        raise JwtInvalid("the header is not strict JSON") from cause
