"""Rows set aside: what waits there, translating them anew, giving them up. I/O: `quarantined`, the caller's transaction.

The kept bytes of a row hold no personal fields, and may be translated again with a corrected mapping. Once they are in
the record store, or given up, they are not kept here any longer; the row itself stays, with its reason and its end.
"""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from hashlib import sha256
from typing import Any

from sqlalchemy import ColumnElement, func, update
from sqlalchemy.orm import Session
from sqlmodel import col, select

from connectors.base import Delivery
from consent.keyring import KeyRing
from consent.seal import place
from hub.errors import Conflict, NotFound
from hub.participants import Feed, Platform
from hub.records.tables import Quarantined


class RowState(StrEnum):
    """What became of a row that was set aside."""

    OPEN = "open"
    REPLAYED = "replayed"  # translated later, and then treated like any other row
    DISCARDED = "discarded"  # given up by an operator


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """Open rows of one platform and stream with their bytes opened, in the order of their numbers."""

    ids: tuple[int, ...]
    rows: tuple[bytes, ...]

    def delivery(self, stream: str) -> Delivery:
        """Put the rows into a message of the hub to itself."""
        digest = sha256(b"".join(sha256(row).digest() for row in self.rows)).digest()
        name = f"quarantine:{self.ids[0]}-{self.ids[-1]}:{secrets.token_hex(8)}"
        return Delivery(delivery_id=name, stream=stream, rows=self.rows, digest=digest)


def quarantine_place(platform: str, row_key: bytes) -> bytes:
    """Where a quarantined payload is bound to."""
    return place("quarantined", "payload", f"{platform}:{row_key.hex()}", None)


def load_waiting(
    session: Session, ring: KeyRing, platform: Platform, feed: Feed, *, after: int, limit: int, tried_too: bool
) -> Waiting:
    """Open the next rows that might be translated: bytes were kept, and today's mapping was not tried on them yet.

    Args:
        after: the last number seen. tried_too: also those that today's mapping refused before (clocks move on).
    """
    wanted = select(Quarantined).where(
        *_may_translate(platform, feed, tried_too), col(Quarantined.quarantine_id) > after
    )
    found = session.scalars(wanted.order_by(col(Quarantined.quarantine_id)).limit(limit)).all()
    return Waiting(
        ids=tuple(row.quarantine_id for row in found),
        rows=tuple(
            ring.open(row.payload, quarantine_place(row.platform, row.row_key))
            for row in found
            if row.payload is not None
        ),
    )


def count_open(session: Session, platform: Platform, feed: Feed, *, tried_too: bool) -> int:
    """Count what `load_waiting` would open."""
    counted = select(func.count()).select_from(Quarantined).where(*_may_translate(platform, feed, tried_too))
    return session.execute(counted).scalar_one()


def _may_translate(platform: Platform, feed: Feed, tried_too: bool) -> list[ColumnElement[bool]]:
    wanted = [
        col(Quarantined.platform) == platform.platform_id,
        col(Quarantined.stream) == feed.stream,
        col(Quarantined.state) == RowState.OPEN,
        col(Quarantined.payload).is_not(None),
    ]
    return wanted if tried_too else [*wanted, col(Quarantined.mapping) != feed.mapping]


def settle(session: Session, ids: Sequence[int], state: RowState) -> None:
    """Note the end of rows and forget their bytes."""
    if ids:
        wanted = update(Quarantined).where(col(Quarantined.quarantine_id).in_(ids))
        session.execute(wanted.values(state=str(state), payload=None))


def note_tried(session: Session, ids: Sequence[int], mapping: str) -> None:
    """Remember that this mapping could not translate these rows either."""
    if ids:
        session.execute(update(Quarantined).where(col(Quarantined.quarantine_id).in_(ids)).values(mapping=mapping))


def find_open_rows(session: Session, ids: Sequence[int]) -> list[Quarantined]:
    """Load rows that must be there and open; raises NotFound or Conflict."""
    found = session.scalars(
        select(Quarantined).where(col(Quarantined.quarantine_id).in_(ids)).order_by(col(Quarantined.quarantine_id))
    ).all()
    if missing := sorted(set(ids) - {row.quarantine_id for row in found}):
        raise NotFound(f"there is no quarantined row {missing[0]}")
    for row in found:
        if row.state != RowState.OPEN:
            raise Conflict(f"quarantined row {row.quarantine_id} is {row.state} already")
    return list(found)


def summarise(session: Session) -> list[dict[str, Any]]:
    """Count what is there by platform, stream, mapping, reason and state, with the oldest arrival."""
    named = (Quarantined.platform, Quarantined.stream, Quarantined.mapping, Quarantined.reason, Quarantined.state)
    columns = [col(name) for name in named]
    counted = (
        func.count(),
        func.count(col(Quarantined.payload)),
        func.min(col(Quarantined.received_at), type_=Quarantined.__table__.c.received_at.type),  # type: ignore[attr-defined]
    )
    names = ("platform", "stream", "mapping", "reason", "state", "rows", "kept", "oldest")
    found = session.execute(select(*columns, *counted).group_by(*columns).order_by(*columns))  # type: ignore[call-overload]
    return [dict(zip(names, row, strict=True)) for row in found]


def list_open(session: Session, platform: str, *, limit: int) -> list[dict[str, Any]]:
    """List a platform's open rows, oldest first, without their bytes."""
    wanted = (
        select(Quarantined)
        .where(col(Quarantined.platform) == platform, col(Quarantined.state) == RowState.OPEN)
        .order_by(col(Quarantined.quarantine_id))
        .limit(limit)
    )
    return [
        {
            "row": row.quarantine_id, "reason": row.reason, "detail": row.detail, "mapping": row.mapping,
            "kept": row.payload is not None, "received_at": row.received_at,
        }
        for row in session.scalars(wanted)
    ]  # fmt: skip
