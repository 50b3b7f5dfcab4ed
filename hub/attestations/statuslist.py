"""Token status lists: one bit a statement, in a list so long that asking for it tells nobody which one is meant. Pure.

    {"typ": "statuslist+jwt", ...} . {sub, iss, iat, exp, ttl, status_list: {bits: 1, lst: base64url(zlib(bytes))}} . signature

A bit that is set says: revoked. Bits are counted from the lowest of each byte. Source: Token Status List,
draft-ietf-oauth-status-list-21 (in the RFC Editor's queue), sections 4 (list), 5 (token), 8.3 (validation), 12 (privacy).
"""

import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from joserfc.jwk import ECKey

from hub.attestations.jwt import JwtInvalid, decode_part, encode_part, open_jwt, sign_jwt

TYPE = "statuslist+jwt"
SIZE = 1 << 17
"""Statements a list has room for; every list is as long, however few it has. 16 KiB before compression."""
TTL = timedelta(seconds=60)
"""How long a copy may be kept before the next is asked for: what is revoked is known everywhere within a minute."""
LIFE = timedelta(days=1)
"""After so long a copy says nothing any more, so that nobody can go on showing one from before a revocation."""
MOST_BYTES = 1 << 20
AHEAD = timedelta(seconds=60)


class StatusListInvalid(ValueError):
    """The list cannot be used: forged, over, of another place, or of before the statement; the text says which."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusList:
    """A list that was checked; `issued_at` is the moment for which it speaks."""

    uri: str
    bits: bytes
    issued_at: datetime

    def is_revoked(self, index: int) -> bool:
        """Tell whether a statement is revoked; raises StatusListInvalid if the list has no such place."""
        if not 0 <= index < 8 * len(self.bits):
            raise StatusListInvalid("the list has no place for this statement")
        return bool(bit_of(self.bits, index))


def bit_of(bits: bytes, index: int) -> int:
    """Return a bit.

    Example:
        >>> [bit_of(bytes([0xB9, 0xA3]), index) for index in (0, 1, 3, 8, 15)]
        [1, 0, 1, 1, 1]
    """
    return bits[index // 8] >> (index % 8) & 1


def with_bit(bits: bytes, index: int) -> bytes:
    """Return the bits with one more set."""
    changed = bytearray(bits)
    changed[index // 8] |= 1 << (index % 8)
    return bytes(changed)


def sign_status_list(key: ECKey, bits: bytes, *, uri: str, issuer: str, now: datetime) -> str:
    """Sign a list as it is now."""
    issued = int(now.timestamp())
    claims = {
        "iss": issuer,
        "sub": uri,
        "iat": issued,
        "exp": issued + int(LIFE.total_seconds()),
        "ttl": int(TTL.total_seconds()),
        "status_list": {"bits": 1, "lst": encode_part(zlib.compress(bits, 9))},
    }
    return sign_jwt(key, TYPE, claims)


def open_status_list(text: str, keys: Mapping[str, ECKey], *, uri: str, issuer: str, now: datetime) -> StatusList:
    """Check a list and return it.

    Args:
        uri: where the statement says that its list is; a list of another place does not speak of it.

    Raises:
        StatusListInvalid.
    """
    try:
        claims = open_jwt(text.strip(), keys, TYPE)
    except JwtInvalid as cause:
        raise StatusListInvalid(f"the status list cannot be used: {cause}") from cause
    if claims.get("sub") != uri or claims.get("iss", issuer) != issuer:
        raise StatusListInvalid("the status list is not the one that the statement names")
    issued_at, ends_at = _instant(claims, "iat"), _instant(claims, "exp")
    if issued_at is None or issued_at > now + AHEAD:
        raise StatusListInvalid("the status list does not say when it was made, or says a time that has not come")
    if ends_at is not None and ends_at <= now:
        raise StatusListInvalid(f"the status list is over since {ends_at:%Y-%m-%d %H:%M}Z; fetch a fresh one")
    return StatusList(uri=uri, bits=_bits(claims.get("status_list")), issued_at=issued_at)


def _bits(told: object) -> bytes:
    if not isinstance(told, dict) or told.get("bits") != 1 or not isinstance(told.get("lst"), str):
        raise StatusListInvalid("the status list is not of one bit a statement")
    opening = zlib.decompressobj()
    try:
        # A few kilobytes can be a gigabyte of zeros.
        bits = opening.decompress(decode_part(told["lst"]), MOST_BYTES)
    except (zlib.error, JwtInvalid) as cause:
        raise StatusListInvalid("the status list cannot be read") from cause
    if not opening.eof:
        raise StatusListInvalid("the status list is longer than this reader takes, or cut off")
    return bits


def _instant(claims: Mapping[str, Any], name: str) -> datetime | None:
    value = claims.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 2**40:
        raise StatusListInvalid(f"{name} is no time")
    return datetime.fromtimestamp(value, UTC)
