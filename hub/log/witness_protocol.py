"""What a log and its witnesses say to each other: requests, cosignatures. Pure.

Source: C2SP tlog-witness (add-checkpoint) and tlog-cosignature (cosignature/v1, Ed25519).
"""

import re
import struct
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from hub.log.checkpoint import MAX_SIZE
from hub.log.merkle import HASH_BYTES
from hub.log.note import Algorithm, NoteError, VerifierKey, parse_base64, parse_note

MAX_PROOF_HASHES = 63
MAX_REQUEST_BYTES = 64 * 1024
MAX_ANSWER_BYTES = 16 * 1024
SIZE_TYPE = "text/x.tlog.size"
_DECIMAL = re.compile(r"0|[1-9][0-9]{0,18}", re.ASCII)
_KEY_ID_BYTES = 4
_TIME_BYTES = 8


class ProtocolError(NoteError):
    """The bytes are no such message."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AddCheckpoint:
    """A log's wish: cosign this checkpoint, which grew from a tree of `old_size` as the proof shows."""

    old_size: int
    proof: tuple[bytes, ...]
    note: bytes


def format_request(*, old_size: int, proof: Sequence[bytes], note: bytes) -> bytes:
    """Return the body of an add-checkpoint request."""
    lines = [f"old {old_size}", *(b64encode(item).decode() for item in proof)]
    return "\n".join(lines).encode() + b"\n\n" + note


def parse_request(body: bytes) -> AddCheckpoint:
    """Return the parts of an add-checkpoint request, nothing verified yet; raises ProtocolError."""
    if len(body) > MAX_REQUEST_BYTES:
        raise ProtocolError("the request is too long")
    head, separator, note = body.partition(b"\n\n")
    try:
        first, *proof = head.decode("ascii").split("\n")
    except UnicodeDecodeError:
        raise ProtocolError("the request does not begin with ASCII lines") from None
    old_size = parse_size(first.removeprefix("old "))
    if not separator or not first.startswith("old ") or old_size is None:
        raise ProtocolError("the request does not begin with an old size and a proof")
    if len(proof) > MAX_PROOF_HASHES:
        raise ProtocolError(f"a proof has at most {MAX_PROOF_HASHES} hashes")
    return AddCheckpoint(old_size=old_size, proof=tuple(map(_parse_hash, proof)), note=note)


def parse_size(text: str) -> int | None:
    """Return a tree size in decimal, or None if it is none."""
    if not _DECIMAL.fullmatch(text) or int(text) > MAX_SIZE:
        return None
    return int(text)


def _parse_hash(line: str) -> bytes:
    value = parse_base64(line)
    if len(value) != HASH_BYTES:
        raise ProtocolError("a hash of the proof has not 32 bytes")
    return value


@dataclass(frozen=True, slots=True, kw_only=True)
class Cosignature:
    """One witness's word: its signature line, and when it gave it, in POSIX seconds."""

    line: str
    at_s: int


class Cosigner:
    """A witness's key: Ed25519 under the witness's own name, over the checkpoint and the time."""

    def __init__(self, name: str, seed: bytes) -> None:
        """Take the key's 32-byte seed; it is not kept readable and never printed."""
        self._private_key = Ed25519PrivateKey.from_private_bytes(seed)
        self.verifier = VerifierKey(
            name=name, algorithm=Algorithm.COSIGNATURE_V1, public_key=self._private_key.public_key().public_bytes_raw()
        )

    def cosign(self, text: str, at_s: int) -> Cosignature:
        """Return the cosignature of a checkpoint's text at a time. The caller answers for its consistency."""
        message = f"cosignature/v1\ntime {at_s}\n{text}".encode()
        blob = self.verifier.key_id + struct.pack(">Q", at_s) + self._private_key.sign(message)
        return Cosignature(line=f"\u2014 {self.verifier.name} {b64encode(blob).decode()}\n", at_s=at_s)


def find_cosignature(note: bytes, lines: bytes, key: VerifierKey) -> Cosignature:
    """Return this witness's newest cosignature of the note among the lines that it answered; others are passed over.

    Raises:
        NoteError: no line, or a wrong one, is of this key; or the answer is no signature lines.
    """
    if len(lines) > MAX_ANSWER_BYTES:
        raise ProtocolError("the answer is too long")
    text, _ = parse_note(note)
    _, signatures = parse_note(text.encode() + b"\n" + lines)
    found: list[Cosignature] = []
    for name, blob in signatures:
        if (name, blob[:_KEY_ID_BYTES]) != (key.name, key.key_id):
            continue
        signature = blob[_KEY_ID_BYTES:]
        if not key.verify(text, signature):
            raise ProtocolError("the witness's cosignature is wrong")
        (at_s,) = struct.unpack(">Q", signature[:_TIME_BYTES])
        found.append(Cosignature(line=f"\u2014 {name} {b64encode(blob).decode()}\n", at_s=at_s))
    if not found:
        raise ProtocolError("the answer has no cosignature of this witness")
    return max(found, key=lambda one: one.at_s)


def add_lines(note: bytes, lines: Sequence[str]) -> bytes:
    """Return the note with further signature lines; each key's line once."""
    return note + "".join(line for line in dict.fromkeys(lines) if line.encode() not in note).encode()
