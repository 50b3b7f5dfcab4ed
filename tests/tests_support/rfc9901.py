"""A verifier of SD-JWTs and status lists that shares no line with the hub's: written from RFC 9901 and its neighbours.

It uses the plain `cryptography` library for the signature and nothing else.
"""

import json
import zlib
from base64 import urlsafe_b64decode, urlsafe_b64encode
from hashlib import sha256
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, SECP256R1, EllipticCurvePublicNumbers
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256


class Refused(Exception):
    """The RFC says that this must be rejected."""


def b64(part: str) -> bytes:
    return urlsafe_b64decode(part + "=" * (-len(part) % 4))


def unb64(content: bytes) -> str:
    return urlsafe_b64encode(content).decode().rstrip("=")


def check_jwt(jwt: str, jwks: dict[str, Any], kind: str) -> dict[str, Any]:
    """Check an ES256 signature by the key that the header names."""
    head, body, signature = jwt.split(".")
    header = json.loads(b64(head))
    if (header["alg"], header["typ"]) != ("ES256", kind):
        raise Refused("header")
    (jwk,) = [one for one in jwks["keys"] if one["kid"] == header["kid"]]
    point = EllipticCurvePublicNumbers(int.from_bytes(b64(jwk["x"])), int.from_bytes(b64(jwk["y"])), SECP256R1())
    raw = b64(signature)
    der = encode_dss_signature(int.from_bytes(raw[:32]), int.from_bytes(raw[32:]))
    point.public_key().verify(der, f"{head}.{body}".encode(), ECDSA(SHA256()))
    claims: dict[str, Any] = json.loads(b64(body))
    return claims


def check_sd_jwt(text: str, jwks: dict[str, Any], kind: str = "dc+sd-jwt") -> dict[str, Any]:
    """Steps of section 7.1: signature, then every disclosure into the place that its digest has."""
    jwt, *shown, binding = text.split("~")
    if binding:
        raise Refused("key binding is checked elsewhere")
    payload = check_jwt(jwt, jwks, kind)
    if payload.pop("_sd_alg", "sha-256") != "sha-256":
        raise Refused("hash")
    known = {unb64(sha256(one.encode()).digest()): json.loads(b64(one)) for one in shown}
    met: list[str] = []

    def walk(value: Any) -> Any:
        if isinstance(value, list):
            return [walk(one) for one in value]
        if not isinstance(value, dict):
            return value
        out = {name: walk(one) for name, one in value.items() if name != "_sd"}
        for digest in value.get("_sd", []):
            met.append(digest)
            if digest in known:
                _salt, name, found = known[digest]
                if name in out or name in ("_sd", "..."):
                    raise Refused("claim name")
                out[name] = walk(found)
        return out

    claims: dict[str, Any] = walk(payload)
    if len(met) != len(set(met)):
        raise Refused("a digest twice")
    if not set(known) <= set(met) or len(known) != len(shown):
        raise Refused("a disclosure that nothing refers to")
    return claims


def status_bit(token: str, jwks: dict[str, Any], status: dict[str, Any]) -> int:
    """Return the bit of a referenced token, as section 8.3 of the status list's specification says."""
    claims = check_jwt(token, jwks, "statuslist+jwt")
    if claims["sub"] != status["status_list"]["uri"] or claims["status_list"]["bits"] != 1:
        raise Refused("another list")
    bits = zlib.decompress(b64(claims["status_list"]["lst"]))
    index = status["status_list"]["idx"]
    return bits[index // 8] >> (index % 8) & 1
