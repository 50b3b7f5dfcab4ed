"""Finds leaves by what they say, newest first, page by page. I/O: the database (reads).

A search looks at the log as it was signed when its first page was asked for. Leaves that come meanwhile are not in it, and
none of it is left out or told twice, however many are added between two pages: a leaf is signed only after it was committed,
and pages go by the time and number of leaves, which never change. The cursor carries both, and the size of that log.

Every condition is a bound value of a closed column; nothing that is asked becomes part of a statement.
"""

import json
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

from sqlalchemy import Select, and_, bindparam, column, or_, select, table, text
from sqlalchemy.orm import Session
from sqlmodel import col

from hub.errors import UsageProblem
from hub.exchange.tables import LogEntry
from hub.log.leaves import Kind
from hub.log.tiles import decode_bundle
from standards.canonical import canonical_bytes

MOST_A_PAGE = 1_000
_WORD = re.compile(r"[a-z0-9][a-z0-9_.:-]{0,63}")
_LEAF = table("log_leaf", column("leaf_id"), column("first_index"))
_SIZE = text("SELECT COALESCE(MAX(size), 0) FROM log_head")
_BODIES = text("SELECT leaf_id, data FROM log_body WHERE leaf_id IN :ids").bindparams(bindparam("ids", expanding=True))


@dataclass(frozen=True, slots=True, kw_only=True)
class Filters:
    """What is wanted; every condition that is given holds of every leaf that is found.

    `since` and `until` (not included) are of the leaf's own time, in whole seconds.
    """

    participant: str | None = None
    kind: str | None = None
    purpose: str | None = None
    outcome: str | None = None
    window: int | None = None
    batch: int | None = None
    since: datetime | None = None
    until: datetime | None = None

    def __post_init__(self) -> None:
        """Refuse what no leaf can be found by; raises UsageProblem, which names the filter and not its value."""
        for name in ("participant", "purpose", "outcome"):
            value = getattr(self, name)
            if value is not None and not _WORD.fullmatch(value):
                raise UsageProblem(f"{name}: a word of a-z, 0-9, dot, colon, _ and -, at most 64 of them")
        if self.kind is not None and self.kind not in {str(kind) for kind in Kind}:
            raise UsageProblem(f"kind: one of {', '.join(sorted(Kind))}")
        for name, most in (("window", 2**31), ("batch", 2**63)):
            value = getattr(self, name)
            if value is not None and not 0 <= value < most:
                raise UsageProblem(f"{name}: a number from 0 on")
        for name in ("since", "until"):
            value = getattr(self, name)
            if value is not None and value.tzinfo is None:
                raise UsageProblem(f"{name}: a time needs its zone, as 2026-11-20T08:00:00+08:00")
        if self.since is not None and self.until is not None and self.since >= self.until:
            raise UsageProblem("since lies before until")

    def told(self) -> dict[str, str]:
        """What was asked, in words that are the same whenever the same is asked."""
        given = {name: getattr(self, name) for name in self.__slots__}
        return {
            name: value.astimezone(UTC).isoformat() if isinstance(value, datetime) else str(value)
            for name, value in given.items()
            if value is not None
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Cursor:
    """Where the next page begins: after which leaf, of a log of which size, for which filters."""

    size: int
    at: datetime
    leaf_id: int

    def pack(self, filters: Filters) -> str:
        """Return the cursor as an opaque word."""
        told = [self.size, int(self.at.timestamp()), self.leaf_id, _mark(filters)]
        return urlsafe_b64encode(json.dumps(told, separators=(",", ":")).encode()).rstrip(b"=").decode()

    @classmethod
    def unpack(cls, packed: str, filters: Filters) -> "Cursor":
        """Read a cursor; raises UsageProblem for one that is none, or that belongs to another search."""
        problem = UsageProblem("cursor: `next` of the page before, with the same filters")
        try:
            told = json.loads(urlsafe_b64decode(packed + "=" * (-len(packed) % 4)))
            size, at, leaf_id, mark = told
            if not all(type(one) is int and 0 <= one < 2**63 for one in (size, at, leaf_id)) or mark != _mark(filters):
                raise problem
            return cls(size=size, at=datetime.fromtimestamp(at, tz=UTC), leaf_id=leaf_id)
        except (ValueError, TypeError, OverflowError, OSError):
            raise problem from None


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One leaf that was found: where it stands in the log, and what it says."""

    index: int
    leaf_id: int
    at: datetime
    kind: str
    participant: str | None
    purpose: str | None
    outcome: str | None
    window: int | None
    batch: int | None
    body: bytes = field(repr=False)

    def to_dict(self) -> dict[str, Any]:
        """Return the entry as the API tells it; `leaf` is the leaf itself, whose bytes are hashed."""
        return {
            "index": self.index, "at": self.at.isoformat().replace("+00:00", "Z"), "kind": self.kind,
            "participant": self.participant, "purpose": self.purpose, "outcome": self.outcome, "window": self.window,
            "batch": self.batch, "leaf": json.loads(self.body),
        }  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Some entries, newest first; `next` is None at the end. `size` is of the log that was searched."""

    entries: tuple[Entry, ...]
    size: int
    next: str | None


def search(session: Session, filters: Filters, *, cursor: str | None = None, limit: int = 100) -> Page:
    """Find a page of leaves.

    Args:
        cursor: `next` of the page before. limit: between 1 and MOST_A_PAGE.

    Raises:
        UsageProblem: the cursor is none, or of another search.
    """
    after = None if cursor is None else Cursor.unpack(cursor, filters)
    size = int(session.execute(_SIZE).scalar_one()) if after is None else after.size
    found = _load(session, filters, size=size, after=after, limit=limit + 1)
    entries, more = found[:limit], len(found) > limit
    last = entries[-1] if more else None
    following = None if last is None else Cursor(size=size, at=last.at, leaf_id=last.leaf_id).pack(filters)
    return Page(entries=entries, size=size, next=following)


def load_size(session: Session) -> int:
    """Return how many leaves are under the newest checkpoint."""
    return int(session.execute(_SIZE).scalar_one())


def iterate(session: Session, filters: Filters, *, size: int, page: int = MOST_A_PAGE) -> Iterator[Entry]:
    """Yield every entry below an index that fits, newest first, without holding more than a page of them."""
    after: Cursor | None = None
    while found := _load(session, filters, size=size, after=after, limit=page):
        yield from found
        after = Cursor(size=size, at=found[-1].at, leaf_id=found[-1].leaf_id)


def _load(session: Session, filters: Filters, *, size: int, after: Cursor | None, limit: int) -> tuple[Entry, ...]:
    rows = session.execute(_statement(filters, size, after, limit)).all()
    bodies: dict[int, bytes] = {}
    if rows:
        found = session.execute(_BODIES, {"ids": [row.leaf_id for row in rows]})
        bodies = {leaf_id: decode_bundle(bytes(data))[0] for leaf_id, data in found}
    return tuple(
        Entry(
            index=row.first_index, leaf_id=row.leaf_id, at=row.at, kind=row.kind, participant=row.participant,
            purpose=row.purpose, outcome=row.outcome, window=row.window_id, batch=row.batch_id, body=bodies[row.leaf_id],
        )
        for row in rows
    )  # fmt: skip


def _statement(filters: Filters, size: int, after: Cursor | None, limit: int) -> Select[Any]:
    at, leaf_id = col(LogEntry.at), col(LogEntry.leaf_id)
    wanted = (
        select(
            _LEAF.c.first_index, leaf_id, at, col(LogEntry.kind), col(LogEntry.participant), col(LogEntry.purpose),
            col(LogEntry.outcome), col(LogEntry.window_id), col(LogEntry.batch_id),
        )
        .join(_LEAF, _LEAF.c.leaf_id == leaf_id)
        .where(_LEAF.c.first_index < size)
    )  # fmt: skip
    columns: Mapping[str, Any] = {
        "participant": LogEntry.participant, "kind": LogEntry.kind, "purpose": LogEntry.purpose,
        "outcome": LogEntry.outcome, "window": LogEntry.window_id, "batch": LogEntry.batch_id,
    }  # fmt: skip
    for name, one in columns.items():
        if (value := getattr(filters, name)) is not None:
            wanted = wanted.where(col(one) == value)
    if filters.since is not None:
        wanted = wanted.where(at >= filters.since)
    if filters.until is not None:
        wanted = wanted.where(at < filters.until)
    if after is not None:
        wanted = wanted.where(or_(at < after.at, and_(at == after.at, leaf_id < after.leaf_id)))
        wanted = wanted.where(at <= after.at)  # said apart, so that the index is entered at the right place
    return wanted.order_by(at.desc(), leaf_id.desc()).limit(limit)


def _mark(filters: Filters) -> str:
    return sha256(canonical_bytes(filters.told())).hexdigest()[:16]
