"""Bundles made from the hub's tables. I/O: reads the database.

Each is checked before it is given away, with the same code that checks it offline: a hub whose tables do not fit its log
says so and hands out nothing.
"""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import text
from sqlalchemy.orm import Session
from sqlmodel import col, select

from hub.clearing.tables import ClearingWindow
from hub.clearing.windows import WindowState
from hub.errors import Busy, Conflict, IntegrityBroken, NotFound, UsageProblem
from hub.log.bundles import BundleKind, BundleRefused, Path, make_bundle, to_text, verify_bundle
from hub.log.checkpoint import open_by_any, parse_unverified
from hub.log.cosigned import load_served_checkpoint, load_witnessed
from hub.log.note import NoteError, NoteSigner
from hub.log.proofs import prove_commitment
from hub.log.store import load_entry
from hub.log.stored_proofs import prove_leaf
from hub.proving.decisions import DecisionTrees, place_decision

_RECORD = text(
    "SELECT s.batch_id, b.origin, b.records_root, CASE WHEN p.erased_at IS NULL THEN 0 ELSE 1 END AS erased "
    "FROM source_record s JOIN batch b ON b.batch_id = s.batch_id JOIN person p ON p.subject_id = s.subject_id "
    "WHERE s.record_id = :r"
)
_DIGESTS = text("SELECT record_id, digest FROM source_record WHERE batch_id = :b ORDER BY record_id")
_ERASED_BESIDE = text(
    "SELECT COUNT(*) FROM source_record s JOIN person p ON p.subject_id = s.subject_id "
    "WHERE s.batch_id = :b AND p.erased_at IS NOT NULL"
)
_LEAF = text(
    "SELECT l.first_index FROM change_leaf c JOIN log_leaf l ON l.leaf_id = c.leaf_id "
    "WHERE c.kind = :kind AND c.reference = :reference"
)


class Gone(UsageProblem):
    """What was asked for existed and was destroyed by an erasure; asking again will not help."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prover:
    """Makes bundles that the log's own keys vouch for."""

    signer: NoteSigner
    trees: DecisionTrees

    def prove_record(self, session: Session, record_id: int) -> dict[str, Any]:
        """Return the bundle of a record as its batch committed to it.

        Raises:
            NotFound: there is no such record. Gone: its person, or that of another record of its batch, was erased.
            Busy: no checkpoint covers its batch yet.
        """
        found = session.execute(_RECORD, {"r": record_id}).one_or_none()
        if found is None:
            raise NotFound(f"there is no record {record_id}")
        batch_id, origin, root, erased = found
        if erased:
            raise Gone(f"the person of record {record_id} was erased, and what its batch committed to with them")
        rows = session.execute(_DIGESTS, {"b": batch_id}).all()
        digests = [bytes(digest) for _, digest in rows]
        index = [record for record, _ in rows].index(record_id)
        path = Path(index=index, size=len(digests), hashes=tuple(prove_commitment(digests, index)))
        if path.root_over(digests[index]) != bytes(root):
            if session.execute(_ERASED_BESIDE, {"b": batch_id}).scalar_one():
                raise Gone(f"another record of the batch of record {record_id} was erased: its path cannot be made")
            raise IntegrityBroken(f"the records of batch {batch_id} are not those that it committed to")
        leaf = self._find_leaf(session, f"batch.{origin}", f"{batch_id}")
        return self._bundle(
            session, BundleKind.RECORD, leaf, commitment=digests[index].hex(), path=path.to_json()
        )  # fmt: skip

    def prove_decision(self, session: Session, window_id: int, record_id: int) -> dict[str, Any]:
        """Return the bundle of what a final window decided about a record.

        Raises:
            NotFound: no such window, or it decided nothing about the record. Conflict: the window is not final.
            Busy: no checkpoint covers its leaf yet.
        """
        manifest, root = _require_final(session, window_id)
        tree = self.trees.load(session, window_id, root)
        placed = place_decision(session, tree, window_id, record_id)
        if placed is None:
            raise NotFound(f"window {window_id} decided nothing about record {record_id}")
        leaf = self._find_leaf(session, "window.final", f"{window_id}")
        return self._bundle(
            session, BundleKind.DECISION, leaf, line=placed.line, path=placed.path.to_json(), manifest=manifest
        )  # fmt: skip

    def prove_window(self, session: Session, window_id: int) -> dict[str, Any]:
        """Return the bundle of a final window's manifest; raises NotFound, Conflict, Busy."""
        manifest, _ = _require_final(session, window_id)
        leaf = self._find_leaf(session, "window.final", f"{window_id}")
        return self._bundle(session, BundleKind.WINDOW, leaf, manifest=manifest)

    def prove_leaf(self, session: Session, index: int) -> dict[str, Any]:
        """Return the bundle of one leaf of the log; raises NotFound while no checkpoint covers it."""
        if self._checkpoint_over(session, index) is None:
            raise NotFound(f"no checkpoint covers leaf {index}")
        return self._bundle(session, BundleKind.LEAF, index)

    def _find_leaf(self, session: Session, kind: str, reference: str) -> int:
        row = session.execute(_LEAF, {"kind": kind, "reference": reference}).one_or_none()
        if row is None:
            raise IntegrityBroken(f"no leaf tells of {kind} {reference}")
        if row[0] is None or self._checkpoint_over(session, int(row[0])) is None:
            raise Busy("no checkpoint covers its leaf yet; try again in some seconds")
        return int(row[0])

    def _checkpoint_over(self, session: Session, index: int) -> bytes | None:
        """Return the newest checkpoint with the quorum of witnesses that covers a leaf, or else the newest of all."""
        for note in (load_witnessed(session), load_served_checkpoint(session)):
            # What only retired keys signed helps nobody who begins to verify now.
            if note is not None and index < parse_unverified(note).size and self._is_ours(note):
                return note
        return None

    def _is_ours(self, note: bytes) -> bool:
        try:
            open_by_any(note, self.signer.verifiers)
        except NoteError:
            return False
        return True

    def _bundle(self, session: Session, kind: BundleKind, index: int, **members: Any) -> dict[str, Any]:
        entry = load_entry(session, index)
        if entry is None:
            raise IntegrityBroken(f"the log lacks leaf {index}")
        log = prove_leaf(session, index, checkpoint=self._checkpoint_over(session, index))
        bundle = make_bundle(kind, entry, log, **members)
        try:
            verify_bundle(to_text(bundle).encode(), self.signer.verifiers)
        except BundleRefused as cause:
            raise IntegrityBroken(f"the tables do not fit the log: {cause}") from None
        return bundle


def _require_final(session: Session, window_id: int) -> tuple[str, bytes]:
    columns = (col(ClearingWindow.state), col(ClearingWindow.manifest), col(ClearingWindow.root))
    row = session.execute(select(*columns).where(col(ClearingWindow.window_id) == window_id)).one_or_none()
    if row is None:
        raise NotFound(f"there is no window {window_id}")
    state, manifest, root = row
    if state != WindowState.FINAL or manifest is None or root is None:
        raise Conflict(f"window {window_id} is {state}; only a final window is proved")
    return manifest, bytes(root)
