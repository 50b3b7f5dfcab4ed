"""Salted commitments: what a public leaf may say about one person. Pure.

Everything about a person in the log is an HMAC under that person's own 32-byte key. Who is shown the key's derived
salt and the payload can check the commitment; once the key is destroyed, nobody can tell it from random bytes.
A tag differs from leaf to leaf, so leaves of one person cannot be joined without the key either.
"""

import hashlib
import hmac

SCHEME = "tanlian"
KEY_BYTES = 32
TAG_BYTES = 16


def subject_tag(subject_key: bytes, reference: str, *, scheme: str = SCHEME) -> bytes:
    """Return the 16-byte mark by which the holder of the key finds the person's leaf about `reference`."""
    return _derive(subject_key, f"{scheme}/tag/v1", reference.encode())[:TAG_BYTES]


def field_salt(subject_key: bytes, reference: str, field: str, *, scheme: str = SCHEME) -> bytes:
    """Return the salt of one field of one leaf: handing it out opens that field and no other."""
    return _derive(subject_key, f"{scheme}/salt/v1", field.encode(), reference.encode())


def commitment(salt: bytes, field: str, payload: bytes, *, scheme: str = SCHEME) -> bytes:
    """Return the 32-byte commitment to `payload` that stands in the leaf."""
    return _derive(salt, f"{scheme}/commit/v1", field.encode(), payload)


def _derive(key: bytes, label: str, *parts: bytes) -> bytes:
    if len(key) != KEY_BYTES:
        raise ValueError(f"a commitment key has {KEY_BYTES} bytes")
    # Only the last part may hold a zero byte (labels, fields and references are text), so no two inputs read alike.
    return hmac.digest(key, b"\x00".join((label.encode(), *parts)), hashlib.sha256)
