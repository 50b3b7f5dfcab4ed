"""The sequencer's reads and writes. I/O: the database, in the caller's transaction, under the lock on the head."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import LargeBinary, bindparam, text
from sqlalchemy.orm import Session

from consent.types import UtcDateTime
from hub.errors import IntegrityBroken
from hub.log.batch import grow_tiles, hash_batch
from hub.log.merkle import ROW_HEIGHT, Frontier, Growth
from hub.log.store import Head, load_tile
from hub.log.tiles import FULL_WIDTH, BundleError, TilePath

_DATA = bindparam("data", type_=LargeBinary())
_LOAD_WAITING = text("SELECT leaf_id, count FROM log_leaf WHERE first_index IS NULL ORDER BY leaf_id LIMIT :max_rows")
_ASSIGN = text("UPDATE log_leaf SET first_index = :first_index WHERE leaf_id = :leaf_id")
_MOVE_SEQUENCED = text("UPDATE log_head SET sequenced = :sequenced WHERE id = 1")
_LOAD_ASSIGNED = text(
    "SELECT l.first_index, l.count, b.data FROM log_leaf l JOIN log_body b ON b.leaf_id = l.leaf_id"
    " WHERE l.first_index >= :begin AND l.first_index < :end ORDER BY l.first_index LIMIT :max_rows"
)
_REPLACE_TILE = text("UPDATE log_tile SET data = :data WHERE level = :level AND n = :n").bindparams(_DATA)
_INSERT_TILE = text("INSERT INTO log_tile (level, n, data) VALUES (:level, :n, :data)").bindparams(_DATA)
_MOVE_HEAD = text(
    "UPDATE log_head SET size = :size, root = :root, frontier = :frontier, checkpoint = :checkpoint,"
    " signed_at = :signed_at WHERE id = 1"
).bindparams(bindparam("signed_at", type_=UtcDateTime()))


def assign_indexes(session: Session, head: Head, max_leaves: int) -> int:
    """Give the waiting rows the next indexes in the order of their numbers; returns how many leaves got one."""
    given, index = [], head.sequenced
    for leaf_id, count in session.execute(_LOAD_WAITING, {"max_rows": max_leaves}):
        if index - head.sequenced >= max_leaves:
            break
        given.append({"leaf_id": leaf_id, "first_index": index})
        index += count
    if given:
        session.execute(_ASSIGN, given)
        session.execute(_MOVE_SEQUENCED, {"sequenced": index})
    return index - head.sequenced


@dataclass(frozen=True, slots=True, kw_only=True)
class AssignedRun:
    """A run of leaves that has its indexes and is not in the tree yet."""

    count: int
    data: bytes


def load_assigned(session: Session, *, begin: int, end: int, max_leaves: int | None) -> list[AssignedRun]:
    """Return the runs that begin in [begin, end), stopping early after about `max_leaves` (None: all of them).

    Raises:
        IntegrityBroken: the runs do not fill the range without a gap.
    """
    bound = end - begin if max_leaves is None else min(end - begin, max_leaves)
    runs: list[AssignedRun] = []
    index = begin
    for first_index, count, data in session.execute(_LOAD_ASSIGNED, {"begin": begin, "end": end, "max_rows": bound}):
        if first_index != index or index - begin >= bound:
            break
        runs.append(AssignedRun(count=count, data=data))
        index += count
    if index - begin < bound:
        raise IntegrityBroken(f"leaf {index} was given out and is not there")
    return runs


def grow_tree(head: Head, runs: Sequence[AssignedRun]) -> Growth:
    """Return how the runs grow the tree; IntegrityBroken if a run's bytes are not the entries that it counts."""
    try:
        growth = hash_batch(head.frontier, b"".join(run.data for run in runs))
    except BundleError as cause:
        raise IntegrityBroken("a run of the log does not hold whole entries") from cause
    if growth.frontier.size != head.size + sum(run.count for run in runs):
        raise IntegrityBroken("a run of the log does not hold as many entries as it says")
    return growth


def store_tiles(session: Session, head: Head, growth: Growth) -> None:
    """Write the tiles that the growth changes: the partial one of a level replaced by a wider one, the rest new."""
    new = []
    for level, hashes in growth.rows.items():
        count = head.size >> (ROW_HEIGHT * level)
        for piece in grow_tiles(hashes, count=count, last=_load_partial(session, level=level, count=count)):
            row = {"level": level, "n": piece.n, "data": piece.data}
            if piece.begun:
                session.execute(_REPLACE_TILE, row)
            else:
                new.append(row)
    if new:
        # Plain inserts: a tile that is there already is no narrower one, and must not be overwritten in silence.
        session.execute(_INSERT_TILE, new)


def _load_partial(session: Session, *, level: int, count: int) -> bytes:
    n, width = divmod(count, FULL_WIDTH)
    if width == 0:
        return b""
    if (tile := load_tile(session, path := TilePath(level=level, n=n, width=width))) is None:
        raise IntegrityBroken(f"the log lacks {path}")
    return tile


def store_checkpoint(session: Session, frontier: Frontier, note: bytes, now: datetime) -> None:
    """Move the head to the tree that the checkpoint is of."""
    row = {"size": frontier.size, "root": frontier.root(), "frontier": frontier.to_bytes()}
    session.execute(_MOVE_HEAD, {**row, "checkpoint": note, "signed_at": now})
