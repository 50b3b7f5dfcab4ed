"""Proof bundles: one file that leads from a record, a decision or a window to a signed checkpoint of the log. Pure.

A bundle is checked offline, with the log's public key and nothing else of the hub's:

    record's commitment --path--> records_root \\
    decision's line --path--> window's root     >-- stands in a leaf --inclusion path--> signed checkpoint
    manifest --digest-------------------------- /

The log's part is a C2SP tlog-proof, so any other verifier can take it together with the leaf's bytes. Every member of a
bundle is covered by the signature: one that is changed, missing or added makes it worth nothing. No personal data is in a
bundle: it has digests, and numbers that only the hub can lead to a person.
"""

import json
import re
from base64 import b64encode
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from hashlib import sha256
from typing import Any

from connectors.strict_json import MalformedJsonError, parse_object
from hub.errors import TanlianError
from hub.log.checkpoint import Checkpoint, open_checkpoint, parse_unverified
from hub.log.merkle import HASH_BYTES, leaf_hash
from hub.log.note import NoteError, VerifierKey, open_note, parse_base64, parse_vkey
from hub.log.policy import NOBODY, WitnessPolicy
from hub.log.proofs import ProofError, climb, verify_inclusion
from hub.log.tiles import MAX_ENTRY_BYTES
from hub.log.tlogproof import format_proof, parse_proof

FORMAT = "tanlian-proof/1"
MAX_BUNDLE_BYTES = 512 * 1024
MAX_PATH = 63
MAX_LINE = 200
_HEX = re.compile(r"[0-9a-f]{64}")
_DEPTH = 3
_MANIFEST_DEPTH = 6


class BundleKind(StrEnum):
    """What a bundle proves."""

    RECORD = "record"
    DECISION = "decision"
    WINDOW = "window"
    LEAF = "leaf"


_SHARED = frozenset({"v", "kind", "entry", "log"})
_MEMBERS: dict[BundleKind, frozenset[str]] = {
    BundleKind.RECORD: _SHARED | {"commitment", "path"},
    BundleKind.DECISION: _SHARED | {"line", "path", "manifest"},
    BundleKind.WINDOW: _SHARED | {"manifest"},
    BundleKind.LEAF: _SHARED,
}


class BundleRefused(TanlianError):
    """The bundle does not show what it is offered for; the text says what failed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Path:
    """Where something stands under a root (`index` of `size`), and the hashes that lead there, leaf's sibling first."""

    index: int
    size: int
    hashes: tuple[bytes, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the path as a bundle's member."""
        return {"index": self.index, "size": self.size, "hashes": [item.hex() for item in self.hashes]}

    def root_over(self, digest: bytes) -> bytes:
        """Return the root that the path leads to from a digest; ProofError if it has the wrong length."""
        return climb(leaf=leaf_hash(digest), index=self.index, size=self.size, proof=self.hashes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """What a verified bundle shows: the leaf `told` at `index` of the log `origin`, under a checkpoint of `size`."""

    kind: BundleKind
    origin: str
    index: int
    size: int
    root: bytes
    witnesses: tuple[str, ...]
    told: dict[str, Any]
    manifest: dict[str, Any] | None
    what: str

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {
            "verified": True, "kind": str(self.kind), "origin": self.origin, "index": self.index, "size": self.size,
            "root": b64encode(self.root).decode(), "witnesses": list(self.witnesses), "what": self.what,
            "leaf": self.told,
        }  # fmt: skip


def make_bundle(kind: BundleKind, entry: bytes, log: bytes, **members: Any) -> dict[str, Any]:
    """Return a bundle as JSON values.

    Args:
        entry: the leaf's exact bytes. log: its tlog-proof.
        members: `commitment` (hex) and `path`, or `line`, `path` and `manifest`, or `manifest`, by kind.
    """
    return {"v": FORMAT, "kind": str(kind), **members, "entry": b64encode(entry).decode(), "log": log.decode()}


def log_part(bundle: bytes) -> tuple[bytes, bytes]:
    """Return the leaf's bytes and its tlog-proof, as other verifiers take them; nothing is verified."""
    document = _parse(bundle)
    return _entry(document), str(document["log"]).encode()


def verify_bundle(bundle: bytes, keys: Sequence[VerifierKey], policy: WitnessPolicy = NOBODY) -> Shown:
    """Check a bundle against any of the log's keys, and its checkpoint against the witnesses that the policy wants.

    Raises:
        BundleRefused: the first thing that fails, in the order: form, checkpoint, inclusion, leaf, what it is about.
    """
    document = _parse(bundle)
    kind, entry = BundleKind(document["kind"]), _entry(document)
    proof = str(document["log"]).encode()
    index, checkpoint, witnesses = _verify_log(entry, proof, keys, policy)
    told = _parse_leaf(entry)
    match kind:
        case BundleKind.RECORD:
            manifest, what = None, _verify_record(document, told)
        case BundleKind.DECISION:
            manifest = _verify_manifest(document, told)
            what = _verify_decision(document, manifest)
        case BundleKind.WINDOW:
            manifest = _verify_manifest(document, told)
            what = f"window {told.get('window')} is final with root {told.get('root')}"
        case BundleKind.LEAF:
            manifest, what = None, f"leaf {index} is in the log"
    return Shown(
        kind=kind, origin=checkpoint.origin, index=index, size=checkpoint.size, root=checkpoint.root,
        witnesses=witnesses, told=told, manifest=manifest, what=what,
    )  # fmt: skip


def _parse(bundle: bytes) -> dict[str, Any]:
    if len(bundle) > MAX_BUNDLE_BYTES:
        raise BundleRefused(f"the bundle is longer than {MAX_BUNDLE_BYTES} bytes")
    try:
        document = parse_object(bundle, max_depth=_DEPTH)
    except MalformedJsonError as cause:
        raise BundleRefused(f"the bundle is not strict JSON ({cause.reason})") from None
    if document.get("v") != FORMAT:
        raise BundleRefused(f"the bundle is not of the form {FORMAT}")
    kind = document.get("kind")
    if not isinstance(kind, str) or kind not in set(BundleKind):
        raise BundleRefused("the bundle's kind is not record, decision, window or leaf")
    wanted = _MEMBERS[BundleKind(kind)]
    if document.keys() != wanted:
        wrong = sorted(document.keys() ^ wanted)[0]
        raise BundleRefused(
            f"a bundle of a {kind} has exactly the members {', '.join(sorted(wanted))}; see {wrong[:40]!r}"
        )
    for name in wanted - {"path"}:
        if not isinstance(document[name], str):
            raise BundleRefused(f"the member {name} is no text")
    return document


def _entry(document: dict[str, Any]) -> bytes:
    try:
        entry = parse_base64(document["entry"])
    except NoteError as cause:
        raise BundleRefused(f"the member entry: {cause}") from None
    if len(entry) > MAX_ENTRY_BYTES:
        raise BundleRefused("the member entry is longer than any leaf")
    return entry


def _verify_log(
    entry: bytes, proof: bytes, keys: Sequence[VerifierKey], policy: WitnessPolicy
) -> tuple[int, Checkpoint, tuple[str, ...]]:
    try:
        parsed = parse_proof(proof)
        checkpoint, witnesses = open_witnessed(parsed.checkpoint, keys, policy)
    except NoteError as cause:
        raise BundleRefused(f"the checkpoint: {cause}") from None
    except ProofError as cause:
        raise BundleRefused(f"the log's proof: {cause}") from None
    if format_proof(index=parsed.index, hashes=parsed.hashes, checkpoint=parsed.checkpoint) != proof:
        raise BundleRefused("the log's proof has lines that nothing vouches for")
    try:
        verify_inclusion(
            leaf=leaf_hash(entry), index=parsed.index, size=checkpoint.size, proof=parsed.hashes, root=checkpoint.root
        )
    except ProofError as cause:
        raise BundleRefused(f"the entry is not shown to be leaf {parsed.index} of the log: {cause}") from None
    return parsed.index, checkpoint, witnesses


def open_witnessed(
    note: bytes, keys: Sequence[VerifierKey], policy: WitnessPolicy = NOBODY
) -> tuple[Checkpoint, tuple[str, ...]]:
    """Return the checkpoint that one of the log's keys signed, and the names of the policy's witnesses that cosigned it.

    Raises:
        NoteError: not signed by the log, a known key's signature is wrong, or the policy's quorum is not there.
    """
    origin = parse_unverified(note).origin
    named = [key for key in keys if key.name == origin]
    if not named:
        raise NoteError("the checkpoint is another log's")
    opened = open_note(note, (*named, *policy.keys))
    signers = [key for key in opened.signed_by if key in named]
    if not signers:
        raise NoteError("the log's key did not sign the checkpoint")
    if not policy.is_met(opened.signed_by):
        told = len(opened.signed_by) - len(signers)
        raise NoteError(f"{told} known witnesses cosigned, which is not the quorum that the policy wants")
    checkpoint = open_checkpoint(note, signers[0])
    return checkpoint, tuple(key.name for key in opened.signed_by if key not in named)


def _parse_leaf(entry: bytes) -> dict[str, Any]:
    try:
        return parse_object(entry)
    except MalformedJsonError:
        raise BundleRefused("the leaf is no JSON object") from None


def _verify_record(document: dict[str, Any], told: dict[str, Any]) -> str:
    if not str(told.get("kind")).startswith("batch."):
        raise BundleRefused(f"the leaf tells of {told.get('kind')!r}, not of a batch of records")
    commitment = _hash(document["commitment"], "commitment")
    path = _path(document["path"])
    if path.size != told.get("accepted_count"):
        raise BundleRefused(f"the path is of {path.size} records, the leaf names {told.get('accepted_count')}")
    _require_root(commitment, path, told.get("records_root"), "the record's path", "the leaf's records_root")
    return f"record {path.index + 1} of the {path.size} of a batch of {told.get('participant')} in window {told.get('window')}"


def _verify_manifest(document: dict[str, Any], told: dict[str, Any]) -> dict[str, Any]:
    if told.get("kind") != "window.final":
        raise BundleRefused(f"the leaf tells of {told.get('kind')!r}, not of a window that became final")
    text = document["manifest"].encode()
    if sha256(text).hexdigest() != told.get("manifest"):
        raise BundleRefused("the manifest is not the one whose digest the leaf names")
    try:
        manifest = parse_object(text, max_depth=_MANIFEST_DEPTH)
    except MalformedJsonError as cause:
        raise BundleRefused(f"the manifest is not strict JSON ({cause.reason})") from None
    if (manifest.get("window"), manifest.get("root")) != (told.get("window"), told.get("root")):
        raise BundleRefused("the manifest names another window or root than the leaf")
    return manifest


def _verify_decision(document: dict[str, Any], manifest: dict[str, Any]) -> str:
    line, path = document["line"], _path(document["path"])
    if len(line) > MAX_LINE or len(line.split("|")) != 6:
        raise BundleRefused("the member line is not record|event|verdict|rule|counted|canonical")
    if path.size != manifest.get("records"):
        raise BundleRefused(f"the path is of {path.size} decisions, the manifest names {manifest.get('records')}")
    root = _climb(sha256(line.encode()).digest(), path)
    chained = sha256(_hash(manifest.get("previous_root"), "manifest.previous_root") + root).hexdigest()
    if chained != manifest.get("root"):
        raise BundleRefused("the decision's path does not lead to the window's root")
    record, event, verdict, rule, counted, _ = line.split("|")
    return f"window {manifest['window']} decided about record {record}: {verdict} (event {event or 'none'}, {rule}, {counted} mg)"


def _require_root(commitment: bytes, path: Path, root: Any, what: str, where: str) -> None:
    if _climb(commitment, path).hex() != root:
        raise BundleRefused(f"{what} does not lead to {where}")


def _climb(digest: bytes, path: Path) -> bytes:
    try:
        return path.root_over(digest)
    except ProofError as cause:
        raise BundleRefused(f"the member path: {cause}") from None


def _path(value: Any) -> Path:
    if not isinstance(value, dict) or value.keys() != {"index", "size", "hashes"}:
        raise BundleRefused("the member path has exactly index, size and hashes")
    index, size, hashes = value["index"], value["size"], value["hashes"]
    if type(index) is not int or type(size) is not int or not 0 <= index < size < 2**63:
        raise BundleRefused("the path's index is not below its size")
    if not isinstance(hashes, list) or len(hashes) > MAX_PATH:
        raise BundleRefused(f"a path has at most {MAX_PATH} hashes")
    return Path(index=index, size=size, hashes=tuple(_hash(item, "path.hashes") for item in hashes))


def _hash(value: Any, name: str) -> bytes:
    if not isinstance(value, str) or not _HEX.fullmatch(value):
        raise BundleRefused(f"the member {name} is no digest of {HASH_BYTES} bytes in hex")
    return bytes.fromhex(value)


def to_text(bundle: dict[str, Any]) -> str:
    """Return a bundle as it is written to a file."""
    return json.dumps(bundle, ensure_ascii=True, indent=1) + "\n"


def parse_keys(vkeys: Iterable[str], policy: WitnessPolicy = NOBODY) -> tuple[VerifierKey, ...]:
    """Return the log's keys that are named, and those of the policy; raises NoteError."""
    return (*(parse_vkey(vkey) for vkey in vkeys), *policy.logs)
