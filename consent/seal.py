"""AES-256-GCM of one column value, bound to its place, naming its key. Pure but for the nonce.

    blob = format 0x01 | algorithm 0x01 | length of key id | key id | nonce (12) | ciphertext and tag

The associated data is the blob's own header and the place (table, column, row, subject), so a ciphertext copied to
another row, column or person does not open, and a blob cannot be renamed to another key. Not Fernet: it is AES-128-CBC
without associated data, so rows can be transplanted.
"""

import os
import struct
from dataclasses import dataclass, field

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from consent.errors import ConsentError

FORMAT = b"\x01\x01"
NONCE_BYTES = 12
LENGTH = struct.Struct(">H")


class SealError(ConsentError):
    """The blob does not open here: another place, another key, or changed bytes. Set the row aside, never retry."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SealedKey:
    """A named 256-bit key."""

    key_id: str
    secret: bytes = field(repr=False)


def place(table: str, column: str, row_id: str | int, subject_id: int | None) -> bytes:
    """Associated data of one cell. Each part is written with its length, so no two places read the same."""
    return place_column(table, column) + place_row(row_id, subject_id)


def place_column(table: str, column: str) -> bytes:
    """The part of a place that a batch shares."""
    return _measured(table) + _measured(column)


def place_row(row_id: str | int, subject_id: int | None) -> bytes:
    """The part of a place that differs by row."""
    return _measured(str(row_id)) + _measured("" if subject_id is None else str(subject_id))


def seal(key: SealedKey, plaintext: bytes, associated: bytes) -> bytes:
    return seal_with(AESGCM(key.secret), header(key.key_id), plaintext, associated)


def open_sealed(key: SealedKey, blob: bytes, associated: bytes) -> bytes:
    """Raises SealError."""
    return open_with(AESGCM(key.secret), header(key.key_id), blob, associated)


def seal_with(cipher: AESGCM, head: bytes, plaintext: bytes, associated: bytes) -> bytes:
    nonce = os.urandom(NONCE_BYTES)
    return head + nonce + cipher.encrypt(nonce, plaintext, head + associated)


def open_with(cipher: AESGCM, head: bytes, blob: bytes, associated: bytes) -> bytes:
    """Raises SealError."""
    if not blob.startswith(head):
        raise SealError("sealed by another key")
    body = len(head) + NONCE_BYTES
    try:
        return cipher.decrypt(blob[len(head) : body], blob[body:], head + associated)
    except (InvalidTag, ValueError) as cause:
        raise SealError("does not open at this place") from cause


def _measured(part: str) -> bytes:
    encoded = part.encode()
    return LENGTH.pack(len(encoded)) + encoded


def header(key_id: str) -> bytes:
    name = key_id.encode()
    return FORMAT + bytes([len(name)]) + name


def key_id_of(blob: bytes) -> str:
    """The name of the key that sealed this blob. Raises SealError if it is none of ours."""
    if not blob.startswith(FORMAT) or len(blob) < 3 + NONCE_BYTES + 16:
        raise SealError("not a sealed value")
    return blob[3 : 3 + blob[2]].decode("ascii", errors="replace")
