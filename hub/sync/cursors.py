"""Cursors, leases and back-off of what the hub fetches. I/O: the database.

A cursor commits with the rows it stands for, and is sealed: one of them carries open metro entries by card number. Two
workers never hold one link: a lease is taken by compare-and-set and has an end, so a worker that died gives it back by
being silent.
"""

import json
import random
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from sqlalchemy import case, or_, update
from sqlalchemy.orm import Session
from sqlmodel import col, select

from connectors.base import Cursor
from consent.keyring import KeyRing
from consent.seal import place
from hub.sync.tables import SyncState

FIRST_PAUSE = timedelta(seconds=2)
LONGEST_PAUSE = timedelta(hours=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Due:
    """One link (or whole platform, link_id '') that this worker now holds."""

    platform: str
    link_id: str
    cursor: Cursor | None
    failures: int
    taken_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """The lease under which a page was fetched, and the cursor that its rows move."""

    due: Due
    worker: str
    cursor: Cursor
    lease_until: datetime  # a worker that is heard of with every page keeps its link, however long the feed is


def ensure_state(session: Session, platform: str, link_id: str, now: datetime) -> None:
    """Begin to follow a link, or go on at once with one that is followed already: whatever stopped it may be mended."""
    state = session.get(SyncState, (platform, link_id))
    if state is None:
        session.add(SyncState(platform=platform, link_id=link_id, due_at=now))
    else:
        state.due_at = min(state.due_at, now)
    session.flush()


def make_due(session: Session, now: datetime) -> None:
    """Ask for everything now, whatever its turn: a platform said that there is something new, or an operator asked."""
    session.execute(update(SyncState).values(due_at=now, asked_at=now))


def lease_due(session: Session, ring: KeyRing, worker: str, *, now: datetime, lease: timedelta) -> Due | None:
    """Take the longest-waiting link that is due and free; None if there is none."""
    free = or_(col(SyncState.lease_until).is_(None), col(SyncState.lease_until) < now)
    wanted = (
        select(SyncState)
        .where(col(SyncState.due_at) <= now, free)
        .order_by(col(SyncState.due_at), col(SyncState.platform), col(SyncState.link_id))
        .limit(1)
        .with_for_update(skip_locked=True)
    )
    state = session.execute(wanted).scalar_one_or_none()
    if state is None:
        return None
    state.lease_holder = worker
    state.lease_until = now + lease
    session.flush()
    return Due(
        platform=state.platform, link_id=state.link_id, cursor=_open_cursor(ring, state), failures=state.failures,
        taken_at=now,
    )  # fmt: skip


def load_cursor(session: Session, ring: KeyRing, due: Due) -> Due:
    """Return what this worker holds with the cursor as far as it has come meanwhile."""
    state = session.get_one(SyncState, (due.platform, due.link_id), populate_existing=True)
    return replace(due, cursor=_open_cursor(ring, state))


def save_cursor(session: Session, ring: KeyRing, held: Held) -> bool:
    """Move cursor and lease on, if this worker still holds it; False means it lost it and must roll back."""
    result = session.execute(
        update(SyncState)
        .where(
            col(SyncState.platform) == held.due.platform,
            col(SyncState.link_id) == held.due.link_id,
            col(SyncState.lease_holder) == held.worker,
        )
        .values(
            cursor=ring.seal(json.dumps(held.cursor).encode(), _place(held.due.platform, held.due.link_id)),
            lease_until=held.lease_until,
        )
    )
    return bool(result.rowcount == 1)  # type: ignore[attr-defined]


def release(session: Session, due: Due, worker: str, *, now: datetime, next_in: timedelta, error: str | None) -> None:
    """Give a link back: read to its end as of when it was taken (error None), or failed and to be tried later."""
    failures = 0 if error is None else due.failures + 1
    # Whoever asked while this run was under way is served by the next one.
    asked_since = col(SyncState.asked_at) > due.taken_at
    values = {
        "lease_holder": None,
        "lease_until": None,
        "due_at": case((asked_since, now), else_=now + next_in),
        "failures": failures,
        "last_error": error,
    } | ({"last_success_at": due.taken_at} if error is None else {})
    session.execute(
        update(SyncState)
        .where(
            col(SyncState.platform) == due.platform,
            col(SyncState.link_id) == due.link_id,
            col(SyncState.lease_holder) == worker,
        )
        .values(**values)
    )


def back_off(failures: int) -> timedelta:
    """Return how long to wait after so many failures: doubling, capped, with full jitter above half."""
    pause: timedelta = min(FIRST_PAUSE * (2 ** min(failures, 16)), LONGEST_PAUSE)
    return timedelta(seconds=pause.total_seconds() * random.uniform(0.5, 1.0))  # noqa: S311 - jitter, not a secret


def _open_cursor(ring: KeyRing, state: SyncState) -> Cursor | None:
    if state.cursor is None:
        return None
    return Cursor(json.loads(ring.open(state.cursor, _place(state.platform, state.link_id))))


def _place(platform: str, link_id: str) -> bytes:
    return place("sync_state", "cursor", f"{platform}/{link_id}", None)
