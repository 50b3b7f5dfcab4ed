"""Signed notes and their keys. Pure.

A note is text, an empty line, and signature lines. Signatures by unknown keys are ignored, so that anybody may add a
line; a known key whose signature is wrong sinks the note.

Source: C2SP signed-note; C2SP tlog-cosignature v1 for the timestamped signatures of witnesses.
"""

import binascii
import struct
from base64 import b64decode, b64encode
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from hashlib import sha256
from typing import Protocol

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from hub.errors import TanlianError

MAX_NOTE_BYTES = 1_000_000
MAX_SIGNATURES = 100  # the specification asks for at least 16
_DASH = "\u2014 "
KEY_ID_BYTES = 4
_PUBLIC_KEY_BYTES = 32
_SIGNATURE_BYTES = 64


class NoteError(TanlianError):
    """The bytes are no signed note, or no note that the given keys vouch for."""


class Algorithm(IntEnum):
    """Signature types that we verify; others are unknown keys to us."""

    ED25519 = 0x01
    COSIGNATURE_V1 = 0x04


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifierKey:
    """The public half of a note key, as its one-line text (vkey) says it."""

    name: str
    algorithm: Algorithm
    public_key: bytes

    def __post_init__(self) -> None:
        _require_key_name(self.name)
        if len(self.public_key) != _PUBLIC_KEY_BYTES:
            raise NoteError("an Ed25519 public key has 32 bytes")

    @property
    def key_id(self) -> bytes:
        """Return the four bytes that a signature line names the key by."""
        return sha256(self.name.encode() + b"\n" + self._typed_key()).digest()[:KEY_ID_BYTES]

    def to_vkey(self) -> str:
        """Return the one-line text form."""
        return f"{self.name}+{self.key_id.hex()}+{b64encode(self._typed_key()).decode()}"

    def verify(self, text: str, signature: bytes) -> bool:
        """Tell whether the signature is this key's over the text."""
        message = text.encode()
        if self.algorithm is Algorithm.COSIGNATURE_V1:
            if len(signature) != 8 + _SIGNATURE_BYTES:
                return False
            (seconds,) = struct.unpack(">Q", signature[:8])
            message, signature = b"cosignature/v1\ntime %d\n" % seconds + message, signature[8:]
        try:
            Ed25519PublicKey.from_public_bytes(self.public_key).verify(signature, message)
        except InvalidSignature:
            return False
        return True

    def _typed_key(self) -> bytes:
        return bytes([self.algorithm]) + self.public_key


def parse_vkey(vkey: str) -> VerifierKey:
    """Return the key of a vkey line; NoteError if it is malformed or its key id is not its own."""
    parts = vkey.split("+", 2)  # the base64 part may hold "+" itself
    if len(parts) != 3:
        raise NoteError("a vkey is name+keyid+key")
    name, key_id, encoded = parts
    typed_key = parse_base64(encoded)
    try:
        algorithm = Algorithm(typed_key[0])
    except (IndexError, ValueError) as cause:
        raise NoteError("the vkey's signature type is unknown") from cause
    key = VerifierKey(name=name, algorithm=algorithm, public_key=typed_key[1:])
    if key.key_id.hex() != key_id:
        raise NoteError("the vkey's key id does not belong to its key")
    return key


class NoteSigner(Protocol):
    """Who signs the log's checkpoints: one key, or several of one name while a new one takes over."""

    @property
    def name(self) -> str: ...

    @property
    def verifiers(self) -> tuple[VerifierKey, ...]: ...

    def sign_note(self, text: str) -> bytes: ...


class LogSigner:
    """The log's own signing key: Ed25519 under the log's origin as its name."""

    def __init__(self, name: str, seed: bytes) -> None:
        """Take the key's 32-byte seed; it is not kept readable and never printed."""
        self._private_key = Ed25519PrivateKey.from_private_bytes(seed)
        self.verifier = VerifierKey(
            name=name, algorithm=Algorithm.ED25519, public_key=self._private_key.public_key().public_bytes_raw()
        )

    @property
    def name(self) -> str:
        """Return the origin."""
        return self.verifier.name

    @property
    def vkey(self) -> str:
        """Return the verifier key line to publish."""
        return self.verifier.to_vkey()

    @property
    def verifiers(self) -> tuple[VerifierKey, ...]:
        """Return the one key that signs here."""
        return (self.verifier,)

    def sign_note(self, text: str) -> bytes:
        """Return the note with this key's signature. Deterministic: the same text gives the same bytes."""
        return f"{text}\n{self.sign_line(text)}".encode()

    def sign_line(self, text: str) -> str:
        """Return this key's signature line: a note may carry lines of several keys."""
        _require_text(text)
        blob = self.verifier.key_id + self._private_key.sign(text.encode())
        return f"{_DASH}{self.name} {b64encode(blob).decode()}\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenedNote:
    """A note that known keys vouch for."""

    text: str
    signed_by: tuple[VerifierKey, ...]


def open_note(note: bytes, keys: Iterable[VerifierKey]) -> OpenedNote:
    """Return the note's text and which of `keys` signed it.

    Raises:
        NoteError: malformed, no signature by any of the keys, or a wrong one by one of them.
    """
    text, signatures = parse_note(note)
    known = {(key.name, key.key_id): key for key in keys}
    signed_by: dict[tuple[str, bytes], VerifierKey] = {}
    for name, blob in signatures:
        identity = (name, blob[:KEY_ID_BYTES])
        key = known.get(identity)
        if key is None or identity in signed_by:
            continue
        if not key.verify(text, blob[KEY_ID_BYTES:]):
            raise NoteError("a known key's signature is wrong")
        signed_by[identity] = key
    if not signed_by:
        raise NoteError("no signature by a known key")
    return OpenedNote(text=text, signed_by=tuple(signed_by.values()))


def parse_note(note: bytes) -> tuple[str, Sequence[tuple[str, bytes]]]:
    """Return the text and the (name, key id || signature) pairs of a note, nothing verified yet."""
    if len(note) > MAX_NOTE_BYTES:
        raise NoteError("the note is too long")
    try:
        content = note.decode()
    except UnicodeDecodeError as cause:
        raise NoteError("the note is not UTF-8") from cause
    # From the end: the text may hold empty lines, the signatures may not.
    text, separator, block = content.rpartition("\n\n")
    if not separator or not block.endswith("\n"):
        raise NoteError("the note has no signature block")
    _require_text(text + "\n")
    lines = block[:-1].split("\n")
    if len(lines) > MAX_SIGNATURES:
        raise NoteError("the note has too many signatures")
    return text + "\n", [_parse_signature(line) for line in lines]


def _parse_signature(line: str) -> tuple[str, bytes]:
    name, separator, encoded = line.removeprefix(_DASH).partition(" ")
    if not line.startswith(_DASH) or not separator:
        raise NoteError("a signature line is malformed")
    _require_key_name(name)
    blob = parse_base64(encoded)
    if len(blob) <= KEY_ID_BYTES:
        raise NoteError("a signature line holds no signature")
    return name, blob


def parse_base64(encoded: str) -> bytes:
    """Return the bytes of standard base64; NoteError unless it is the one spelling of them."""
    try:
        data = b64decode(encoded, validate=True)
    except (binascii.Error, ValueError) as cause:
        raise NoteError("not base64") from cause
    # Python accepts stray bits in the last character, so one value would have several spellings.
    if b64encode(data).decode() != encoded:
        raise NoteError("not canonical base64")
    return data


def _require_key_name(name: str) -> None:
    if not name or "+" in name or any(character.isspace() or ord(character) < 0x20 for character in name):
        raise NoteError("a key name is not empty and has no space and no '+'")


def _require_text(text: str) -> None:
    if not text.endswith("\n") or any(character < " " and character != "\n" for character in text):
        raise NoteError("a note's text ends a line and has no control characters")
