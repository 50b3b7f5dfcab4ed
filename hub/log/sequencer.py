"""Orders waiting leaves, integrates them into the tree, signs. I/O: the database, the head file.

A run has two durable steps, because on PostgreSQL row numbers do not come to light in the order of commits:

1. one transaction gives the waiting leaves dense indexes;
2. one transaction integrates exactly those: tiles, head and checkpoint, all or nothing.

Were it one step, a crash after signing and before committing could find another leaf in between on the next run, and
the same size would get another root. With two, whatever was signed can only be built again, byte for byte (Ed25519
signatures are deterministic). Every failure is healed by running again; there is no other repair.
"""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from hub.db import writing
from hub.errors import Busy, IntegrityBroken
from hub.failpoints import failpoint
from hub.log.checkpoint import Checkpoint, open_by_any, sign_checkpoint
from hub.log.head_file import HeadFile
from hub.log.integration import assign_indexes, grow_tree, load_assigned, store_checkpoint, store_tiles
from hub.log.merkle import Frontier
from hub.log.note import NoteError, NoteSigner
from hub.log.sameness import find_contradiction
from hub.log.store import Head, lock_head

DEFAULT_MAX_LEAVES = 4096


class SequencingInterrupted(Busy):
    """A write failed, or succeeded although it reported failure: nobody knows which. The next run heals either."""


class ForkRefused(IntegrityBroken):
    """Signing would contradict what was signed before (a restored backup, a second signer, a changed database)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SequenceResult:
    """What one run did; `more` says that leaves may still wait."""

    assigned: int
    integrated: int
    size: int
    root: bytes
    checkpoint: bytes
    more: bool


class Sequencer:
    """The one writer of the tree. Any number may run: the lock on the head row lets one at a time through."""

    def __init__(
        self, engine: Engine, signer: NoteSigner, head_file: Path | HeadFile, *, max_leaves: int = DEFAULT_MAX_LEAVES
    ) -> None:
        """Take what is needed to sign; `max_leaves` bounds one run (a row that begins within it is taken whole)."""
        self._engine = engine
        self._signer = signer
        self._head_file = head_file if isinstance(head_file, HeadFile) else HeadFile(head_file)
        self._max_leaves = max_leaves

    def run_once(self, now: datetime) -> SequenceResult:
        """Sequence and sign what waits, at most about `max_leaves`; on return the checkpoint is durable and public.

        Raises:
            SequencingInterrupted: run again.
            ForkRefused, IntegrityBroken: stop, and find out what happened to the database or the head file.
        """
        try:
            with writing(self._engine) as session:
                head, signed = lock_head(session), self._head_file.load()
                if signed is not None and signed.size > head.sequenced:
                    return self._rebuild(session, head, signed, now)
                assigned = assign_indexes(session, head, self._max_leaves)
            # Dying here: the indexes are durable, nothing is signed. The next run integrates them as they are.
            failpoint("log.after_assign")
            with writing(self._engine) as session:
                result = self._integrate(session, now, assigned=assigned)
            # A commit that failed here and yet persisted: head file and database agree, the next run goes on. One
            # that did not persist: the head file is ahead, and the next run builds exactly what it says.
        except (SQLAlchemyError, OSError) as cause:
            raise SequencingInterrupted("a write of the log failed or is in doubt; run the sequencer again") from cause
        return result

    def run_until_current(self, now: datetime, *, max_runs: int = 10_000) -> SequenceResult:
        """Run until no leaf waits (or `max_runs` is reached: see `more`)."""
        result = self.run_once(now)
        for _ in range(max_runs - 1):
            if not result.more:
                break
            result = self.run_once(now)
        return result

    def adopt_head(self) -> Checkpoint:
        """Trust the database's checkpoint as the last one signed: the operator's answer to a lost head file.

        Only right if the database is not a restored backup; compare the size with a witness or a reader first.

        Raises:
            ForkRefused: there is a head file, or the checkpoint is not this signer's or not of the stored tree.
        """
        with writing(self._engine) as session:
            head = lock_head(session)
            if self._head_file.load() is not None:
                raise ForkRefused("there is a head file: nothing to adopt")
            if head.checkpoint is None:
                raise ForkRefused("nothing was ever signed: nothing to adopt")
            try:
                checkpoint = open_by_any(head.checkpoint, self._signer.verifiers)
            except NoteError as cause:
                raise ForkRefused("the stored checkpoint is not this signer's") from cause
            if (checkpoint.size, checkpoint.root) != (head.size, head.frontier.root()):
                raise ForkRefused("the stored checkpoint is not of the stored tree")
            self._head_file.store(head.checkpoint)
            return checkpoint

    def _rebuild(self, session: Session, head: Head, signed: Checkpoint, now: datetime) -> SequenceResult:
        """Go on from a database that lacks leaves which were signed, if the waiting ones are those, byte for byte.

        One transaction: nothing new is signed here, and a refusal leaves no trace, so that the database goes on saying
        that it is behind.
        """
        assigned = assign_indexes(session, head, signed.size - head.sequenced)
        return self._integrate(session, now, assigned=assigned)

    def _integrate(self, session: Session, now: datetime, *, assigned: int) -> SequenceResult:
        # Indexes of a run that died in between may be here too: the head is read anew, under its lock.
        head = lock_head(session)
        signed = self._head_file.load()
        contradiction = find_contradiction(session, head, signed, origin=self._signer.name)
        if contradiction is not None:
            raise ForkRefused(contradiction)
        ahead = signed is not None and signed.size > head.size
        end = signed.size if signed is not None and ahead else head.sequenced
        runs = load_assigned(session, begin=head.size, end=end, max_leaves=None if ahead else self._max_leaves)
        growth = grow_tree(head, runs)
        frontier = growth.frontier
        if signed is not None and ahead:
            _require_rebuilt(frontier, signed)
        if frontier.size > head.sequenced:
            raise IntegrityBroken("the log holds leaves beyond the last index that was given out")
        store_tiles(session, head, growth)
        note = sign_checkpoint(self._signer, size=frontier.size, root=frontier.root())
        if note != head.checkpoint:
            store_checkpoint(session, frontier, note, now)
            # Dying before this line: nothing happened. Dying in it: the head file is the old one or this one, whole.
            self._head_file.store(note)
            # Dying after it, before the commit: signed but neither durable nor published. The next run finds the head
            # file ahead, integrates exactly up to it and must come to the same root, or refuses.
            failpoint("log.before_commit")
        return SequenceResult(
            assigned=assigned,
            integrated=frontier.size - head.size,
            size=frontier.size,
            root=frontier.root(),
            checkpoint=note,
            more=frontier.size < head.sequenced or assigned >= self._max_leaves,
        )


def _require_rebuilt(frontier: Frontier, signed: Checkpoint) -> None:
    if (frontier.size, frontier.root()) != (signed.size, signed.root):
        raise ForkRefused(f"another root was signed at size {signed.size}")
