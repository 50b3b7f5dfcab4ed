"""Checkpoints: the signed statement of the log's size and root. Pure. Source: C2SP tlog-checkpoint."""

import re
from base64 import b64encode
from collections.abc import Iterable
from dataclasses import dataclass

from hub.log.merkle import HASH_BYTES
from hub.log.note import NoteError, NoteSigner, VerifierKey, open_note, parse_base64, parse_note

_SIZE = re.compile(r"0|[1-9][0-9]{0,18}")
MAX_SIZE = 2**63 - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """One state of one log."""

    origin: str
    size: int
    root: bytes

    def to_text(self) -> str:
        """Return the text that is signed. No extension lines: they cannot be audited."""
        return f"{self.origin}\n{self.size}\n{b64encode(self.root).decode()}\n"


def parse_checkpoint(text: str) -> Checkpoint:
    """Return the checkpoint a note's text says; extension lines are allowed and ignored."""
    lines = text.split("\n")
    if len(lines) < 4 or lines[-1] or not all(lines[:-1]):
        raise NoteError("a checkpoint has an origin, a size and a root, one a line")
    origin, size, root = lines[0], lines[1], parse_base64(lines[2])
    if not _SIZE.fullmatch(size) or int(size) > MAX_SIZE or len(root) != HASH_BYTES:
        raise NoteError("the checkpoint's size or root is malformed")
    return Checkpoint(origin=origin, size=int(size), root=root)


def sign_checkpoint(signer: NoteSigner, *, size: int, root: bytes) -> bytes:
    """Return the signed checkpoint. The caller answers for never signing two roots at one size."""
    return signer.sign_note(Checkpoint(origin=signer.name, size=size, root=root).to_text())


def open_checkpoint(
    note: bytes, log_key: VerifierKey, *, witnesses: Iterable[VerifierKey] = (), quorum: int = 0
) -> Checkpoint:
    """Return the checkpoint that the log's key signed and at least `quorum` of the witnesses cosigned.

    Raises:
        NoteError: malformed, not signed by the log under its own name, or too few witnesses.
    """
    opened = open_note(note, (log_key, *witnesses))
    checkpoint = parse_checkpoint(opened.text)
    if checkpoint.origin != log_key.name:
        raise NoteError("the checkpoint is another log's")
    if log_key not in opened.signed_by:
        raise NoteError("the log's key did not sign the checkpoint")
    if len(opened.signed_by) - 1 < quorum:
        raise NoteError(f"{len(opened.signed_by) - 1} known witnesses cosigned, the quorum is {quorum}")
    return checkpoint


def open_by_any(note: bytes, log_keys: Iterable[VerifierKey]) -> Checkpoint:
    """Return the checkpoint that at least one of the log's keys signed; raises NoteError as open_checkpoint does."""
    reasons = []
    for key in log_keys:
        try:
            return open_checkpoint(note, key)
        except NoteError as cause:
            reasons.append(cause)
    raise reasons[0] if reasons else NoteError("no key to verify with")


def parse_unverified(note: bytes) -> Checkpoint:
    """Return what a checkpoint note says without checking who signed it: only for notes from the log's own disk."""
    return parse_checkpoint(parse_note(note)[0])
