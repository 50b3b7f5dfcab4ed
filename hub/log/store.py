"""Leaves in, published resources out. I/O: the database.

`append_*` write in the caller's transaction and never commit: the leaf is durable exactly when the change that it tells
of is. Whatever else is read here is covered by the checkpoint that was committed with it, and may be older than the
newest leaves by the sequencer's lag. Who can write the database can falsify it; `verify.py` and every witness tell.

Statements are text, made once: building them anew costs more than running them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from operator import attrgetter
from typing import Any

from sqlalchemy import ColumnClause, LargeBinary, bindparam, column, text
from sqlalchemy.orm import Session

from consent.types import UtcDateTime
from hub.errors import IntegrityBroken
from hub.log.leaves import Leaf
from hub.log.merkle import EMPTY, Frontier, parse_frontier
from hub.log.tiles import ENTRIES, FULL_WIDTH, TilePath, cut_tile, decode_bundle, encode_bundle, entry_offsets

MAX_RUN = 1024  # leaves of one row, so that no row passes 8 MiB

_APPEND_LEAF = text(
    "INSERT INTO log_leaf (count, kind, created_at) VALUES (:count, :kind, :created_at) RETURNING leaf_id"
).bindparams(bindparam("created_at", type_=UtcDateTime()))
_APPEND_BODY = text("INSERT INTO log_body (leaf_id, data) VALUES (:leaf_id, :data)").bindparams(
    bindparam("data", type_=LargeBinary())
)
_LOCATE = text("SELECT first_index FROM log_leaf WHERE leaf_id = :leaf_id")
_HEAD = "SELECT sequenced, size, root, frontier, checkpoint, signed_at FROM log_head WHERE id = 1"
_HEAD_COLUMNS: tuple[ColumnClause[Any], ...] = (
    column("sequenced"),
    column("size"),
    column("root"),
    column("frontier"),
    column("checkpoint"),
)
_LOAD_HEAD = text(_HEAD).columns(*_HEAD_COLUMNS, column("signed_at", UtcDateTime()))
_LOAD_HEAD_LOCKED = text(_HEAD + " FOR UPDATE").columns(*_HEAD_COLUMNS, column("signed_at", UtcDateTime()))
_FIRST_HEAD = text(
    "INSERT INTO log_head (id, sequenced, size, root, frontier) VALUES (1, 0, 0, :root, :frontier)"
    " ON CONFLICT (id) DO NOTHING"
)
_LOAD_TILE = text("SELECT data FROM log_tile WHERE level = :level AND n = :n")
# A run that reaches into the range begins less than MAX_RUN before it: the index on first_index finds them all.
_LOAD_RUNS = text(
    "SELECT l.first_index, b.data FROM log_leaf l JOIN log_body b ON b.leaf_id = l.leaf_id"
    " WHERE l.first_index > :begin - :max_run AND l.first_index < :end AND l.first_index + l.count > :begin"
    " AND :end <= (SELECT size FROM log_head WHERE id = 1)"
    " ORDER BY l.first_index"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class AppendedRun:
    """Names appended leaves before they have an index: the row, and how many of them are in it."""

    leaf_id: int
    count: int


def append_leaf(session: Session, leaf: Leaf) -> int:
    """Append one leaf in the caller's transaction; returns its leaf_id (its index comes later, by `locate_leaf`)."""
    return append_leaves(session, [leaf])[0].leaf_id


def append_leaves(session: Session, leaves: Sequence[Leaf]) -> list[AppendedRun]:
    """Append leaves in their order in the caller's transaction; cheaper than one by one."""
    runs = []
    for _kind, group in groupby(leaves, key=attrgetter("kind")):
        run = list(group)
        runs += [_append_run(session, run[start : start + MAX_RUN]) for start in range(0, len(run), MAX_RUN)]
    return runs


def _append_run(session: Session, run: Sequence[Leaf]) -> AppendedRun:
    row = {"count": len(run), "kind": run[0].kind.value, "created_at": run[-1].at}
    leaf_id = int(session.execute(_APPEND_LEAF, row).scalar_one())
    session.execute(_APPEND_BODY, {"leaf_id": leaf_id, "data": encode_bundle([leaf.body for leaf in run])})
    return AppendedRun(leaf_id=leaf_id, count=len(run))


def locate_leaf(session: Session, leaf_id: int, *, offset: int = 0) -> int | None:
    """Return the index of a leaf (of the one at `offset` of a run), or None while it has none.

    A leaf with an index may not be under a checkpoint yet: `load_entry` and `prove_leaf` say when it is.
    """
    first = session.execute(_LOCATE, {"leaf_id": leaf_id}).scalar_one_or_none()
    return None if first is None else int(first) + offset


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """How far the log is; `sequenced` >= size: the indexes between are given out and not yet integrated."""

    sequenced: int
    frontier: Frontier
    checkpoint: bytes | None
    signed_at: datetime | None

    @property
    def size(self) -> int:
        """Return the number of leaves under the checkpoint."""
        return self.frontier.size


def load_head(session: Session) -> Head | None:
    """Return the head, or None before the first run."""
    return _load_head(session, locked=False)


def lock_head(session: Session) -> Head:
    """Return the head, held until the transaction ends; the row is made if this is the first run ever."""
    if (head := _load_head(session, locked=True)) is None:
        session.execute(_FIRST_HEAD, {"root": EMPTY.root(), "frontier": EMPTY.to_bytes()})
        head = _load_head(session, locked=True)
    if head is None:
        raise IntegrityBroken("the log has no head")
    return head


def _load_head(session: Session, *, locked: bool) -> Head | None:
    # SQLite has no row locks and needs none: a writing transaction there is the only one from its first statement.
    by_row = locked and session.get_bind().dialect.name != "sqlite"
    row = session.execute(_LOAD_HEAD_LOCKED if by_row else _LOAD_HEAD).one_or_none()
    if row is None:
        return None
    sequenced, size, root, pending, checkpoint, signed_at = row
    try:
        frontier = parse_frontier(size, pending)
    except ValueError as cause:
        raise IntegrityBroken("the log head's frontier does not fit its size") from cause
    if frontier.root() != root:
        raise IntegrityBroken("the log head's frontier does not lead to its root")
    return Head(sequenced=sequenced, frontier=frontier, checkpoint=checkpoint, signed_at=signed_at)


def load_checkpoint(session: Session) -> bytes | None:
    """Return the newest signed checkpoint, or None before the first run."""
    head = load_head(session)
    return None if head is None else head.checkpoint


def load_resource(session: Session, path: TilePath) -> bytes | None:
    """Return a tile or bundle, cut to the width asked, or None if the log is not that far."""
    if path.level == ENTRIES:
        return load_bundle(session, path.n, path.width)
    return load_tile(session, path)


def load_tile(session: Session, path: TilePath) -> bytes | None:
    """Return the first `path.width` hashes of a tile, or None if it does not have so many."""
    data = session.execute(_LOAD_TILE, {"level": path.level, "n": path.n}).scalar_one_or_none()
    return None if data is None else cut_tile(data, path.width)


def load_bundle(session: Session, n: int, width: int) -> bytes | None:
    """Return the first `width` entries of a bundle, or None if the checkpoint does not cover so many."""
    return _load_range(session, begin=n * FULL_WIDTH, end=n * FULL_WIDTH + width)


def load_entry(session: Session, index: int) -> bytes | None:
    """Return the bytes of the leaf at an index, or None if no checkpoint covers it yet."""
    found = _load_range(session, begin=index, end=index + 1)
    return None if found is None else decode_bundle(found)[0]


def _load_range(session: Session, *, begin: int, end: int) -> bytes | None:
    runs = session.execute(_LOAD_RUNS, {"begin": begin, "end": end, "max_run": MAX_RUN}).all()
    if not runs:
        return None
    data = b"".join(row[1] for row in runs)
    offsets = entry_offsets(data)
    first = begin - int(runs[0][0])
    last = first + end - begin
    if first < 0 or last >= len(offsets):
        raise IntegrityBroken(f"the log lacks entries between {begin} and {end}")
    return data[offsets[first] : offsets[last]]
