"""The receipt for one leaf: index, inclusion proof and signed checkpoint in one file. Pure. Source: C2SP tlog-proof."""

from base64 import b64encode
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from hub.log.checkpoint import MAX_SIZE, Checkpoint, open_checkpoint
from hub.log.merkle import HASH_BYTES, leaf_hash
from hub.log.note import NoteError, VerifierKey, parse_base64
from hub.log.proofs import ProofError, verify_inclusion

_FIRST_LINE = "c2sp.org/tlog-proof@v1"
MAX_HASHES = 63


@dataclass(frozen=True, slots=True, kw_only=True)
class LeafProof:
    """Where a leaf stands and what proves it; `checkpoint` is the signed note, byte for byte."""

    index: int
    hashes: tuple[bytes, ...]
    checkpoint: bytes


def format_proof(*, index: int, hashes: Sequence[bytes], checkpoint: bytes) -> bytes:
    """Return the proof file."""
    lines = [_FIRST_LINE, f"index {index}", *(b64encode(item).decode() for item in hashes)]
    return "\n".join(lines).encode() + b"\n\n" + checkpoint


def parse_proof(data: bytes) -> LeafProof:
    """Return the parts of a proof file, nothing verified yet; an unauthenticated `extra` line is passed over."""
    head, separator, checkpoint = data.partition(b"\n\n")
    try:
        lines = head.decode("ascii").split("\n")
    except UnicodeDecodeError as cause:
        raise ProofError("the proof is not text") from cause
    if not separator or lines[0] != _FIRST_LINE:
        raise ProofError("not a tlog-proof, version 1")
    lines = lines[2:] if len(lines) > 1 and lines[1].startswith("extra ") else lines[1:]
    if not lines or not 1 <= len(lines) <= MAX_HASHES + 1:
        raise ProofError("the proof has no index or too many hashes")
    return LeafProof(index=_parse_index(lines[0]), hashes=tuple(map(_parse_hash, lines[1:])), checkpoint=checkpoint)


def _parse_index(line: str) -> int:
    text = line.removeprefix("index ")
    if not line.startswith("index ") or not text.isdecimal() or str(int(text[:20])) != text or int(text) > MAX_SIZE:
        raise ProofError("the proof's index is malformed")
    return int(text)


def _parse_hash(line: str) -> bytes:
    try:
        value = parse_base64(line)
    except NoteError as cause:
        raise ProofError("a hash of the proof is malformed") from cause
    if len(value) != HASH_BYTES:
        raise ProofError("a hash of the proof is malformed")
    return value


def verify_leaf(
    entry: bytes, proof: bytes, log_key: VerifierKey, *, witnesses: Iterable[VerifierKey] = (), quorum: int = 0
) -> Checkpoint:
    """Check, offline, that the entry is in the log that the key signs; returns the checkpoint that it is under.

    Raises:
        ProofError: the entry is not shown to be in the log.
        NoteError: the checkpoint is not the log's.
    """
    parsed = parse_proof(proof)
    checkpoint = open_checkpoint(parsed.checkpoint, log_key, witnesses=witnesses, quorum=quorum)
    verify_inclusion(
        leaf=leaf_hash(entry),
        index=parsed.index,
        size=checkpoint.size,
        proof=parsed.hashes,
        root=checkpoint.root,
    )
    return checkpoint
