"""Cursors, leases and back-off of what the hub fetches. I/O: the database.

A cursor commits with the rows it stands for, and is sealed: one of them carries open metro entries by card number. Two
workers never hold one state: a lease is taken by compare-and-set and has an end, so a worker that died gives it back by
being silent.

What somebody asked for comes first, then what has waited longest. The past is read in a lane of its own, so that a year of
one platform's history never stands before today's records of another.
"""

import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from sqlalchemy import Table, Update, and_, bindparam, case, func, or_, update
from sqlalchemy.orm import Session
from sqlmodel import col, select

from connectors.base import Cursor, Window
from consent.keyring import KeyRing
from consent.seal import place
from hub.sync.tables import SyncState

FIRST_PAUSE = timedelta(seconds=2)
LONGEST_PAUSE = timedelta(hours=1)
_ASKED, _WAITS = 0, 1


class Lane(StrEnum):
    FEED = "feed"  # what is new
    BACKFILL = "backfill"  # a stretch of the past, once


@dataclass(frozen=True, slots=True, kw_only=True)
class Due:
    """One feed of one link (or of a whole platform, link_id '') that this worker now holds."""

    platform: str
    link_id: str
    cursor: Cursor | None
    failures: int
    taken_at: datetime
    stream: str = ""
    lane: Lane = Lane.FEED
    since: datetime | None = None
    until: datetime | None = None

    @property
    def window(self) -> Window:
        return Window(since=self.since, until=self.until)


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """The lease under which a page was fetched, and the cursor that its rows move."""

    due: Due
    worker: str
    cursor: Cursor
    lease_until: datetime  # a worker that is heard of with every page keeps its link, however long the feed is
    rows: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """How a reading ended: at the end of the feed (error None), or with a reason, to be tried again `next_in`."""

    next_in: timedelta
    error: str | None


def ensure_state(
    session: Session, platform: str, link_id: str, now: datetime, *, stream: str = "", since: datetime | None = None
) -> None:
    """Begin to follow a feed, or go on at once with one that is followed already: whatever stopped it may be mended."""
    state = session.get(SyncState, (platform, link_id, stream, Lane.FEED))
    if state is None:
        session.add(SyncState(platform=platform, link_id=link_id, stream=stream, due_at=now, since=since))
    else:
        state.due_at = now if state.due_at is None else min(state.due_at, now)
    session.flush()


def ensure_backfill(
    session: Session, platform: str, link_id: str, now: datetime, *, stream: str, since: datetime, until: datetime
) -> None:
    """Have a stretch of the past read. What was asked for before and is not read yet becomes part of the stretch."""
    state = session.get(SyncState, (platform, link_id, stream, Lane.BACKFILL))
    if state is None:
        state = SyncState(platform=platform, link_id=link_id, stream=stream, lane=Lane.BACKFILL)
        session.add(state)
    elif state.due_at is not None and state.since is not None and state.until is not None:
        since, until = min(since, state.since), max(until, state.until)
    state.since, state.until, state.due_at = since, until, now
    state.cursor, state.failures, state.last_error = None, 0, None
    state.lease_holder, state.lease_until = None, None  # whoever reads the old stretch loses it with its next page
    session.flush()


def make_due(session: Session, now: datetime) -> None:
    """Ask for everything now, whatever its turn: an operator asked."""
    session.execute(_feeds().values(due_at=now, asked_at=now))


def ask_for(session: Session, platform: str, link_ids: Sequence[str], now: datetime, *, stream: str | None) -> int:
    """Ask for these links now, before all others: the platform said that they have something new."""
    wanted = _feeds().where(col(SyncState.platform) == platform, col(SyncState.link_id).in_(link_ids))
    if stream is not None:
        wanted = wanted.where(col(SyncState.stream) == stream)
    result = session.execute(wanted.values(due_at=now, asked_at=now, turn=_ASKED))
    return int(result.rowcount)  # type: ignore[attr-defined]


def lease_due(
    session: Session,
    ring: KeyRing,
    worker: str,
    *,
    now: datetime,
    lease: timedelta,
    lane: Lane = Lane.FEED,
    most: int = 1,
) -> list[Due]:
    """Take what has waited longest of what is due and free, and at most so many that are due of the same feed."""
    free = or_(col(SyncState.lease_until).is_(None), col(SyncState.lease_until) < now)
    due = (col(SyncState.lane) == lane, col(SyncState.due_at) <= now, free)
    order = (col(SyncState.turn), col(SyncState.due_at), col(SyncState.platform), col(SyncState.link_id))
    wanted = select(SyncState).order_by(*order).with_for_update(skip_locked=True)
    first = session.execute(wanted.where(*due).limit(1)).scalar_one_or_none()
    if first is None:
        return []
    states = [first]
    if most > 1 and first.link_id:
        alike = (col(SyncState.platform) == first.platform, col(SyncState.stream) == first.stream)
        states = list(session.execute(wanted.where(*alike, *due, col(SyncState.link_id) != "").limit(most)).scalars())
    for state in states:
        state.lease_holder = worker
        state.lease_until = now + lease
    session.flush()
    return [_due(ring, state, now) for state in states]


def load_cursor(session: Session, ring: KeyRing, due: Due) -> Due:
    """Return what this worker holds with the cursor as far as it has come meanwhile."""
    state = session.get_one(SyncState, (due.platform, due.link_id, due.stream, due.lane), populate_existing=True)
    return replace(due, cursor=_open_cursor(ring, state))


def find_lost(session: Session, held: Sequence[Held]) -> set[int]:
    """Return the places of those whose lease another worker has now; the others' are held until the commit."""
    if not held:
        return set()
    one = held[0].due
    wanted = (
        select(SyncState)
        .where(
            col(SyncState.platform) == one.platform,
            col(SyncState.stream) == one.stream,
            col(SyncState.lane) == one.lane,
            col(SyncState.link_id).in_([each.due.link_id for each in held]),
        )
        .with_for_update()
        .execution_options(populate_existing=True)
    )
    holders = {state.link_id: state.lease_holder for state in session.execute(wanted).scalars()}
    return {number for number, each in enumerate(held) if holders.get(each.due.link_id) != each.worker}


def save_cursors(session: Session, ring: KeyRing, held: Sequence[Held]) -> None:
    """Move cursors and leases on; `find_lost` has told, in the same transaction, who still holds them."""
    if not held:
        return
    session.connection().execute(
        _MOVE,
        [
            {
                **{f"the_{name}": value for name, value in _key(one.due).items()},
                "new_cursor": ring.seal(json.dumps(one.cursor).encode(), _place(one.due.platform, one.due.link_id)),
                "new_until": one.lease_until,
                "new_rows": one.rows,
            }
            for one in held
        ],
    )


def release(session: Session, worker: str, results: Sequence[tuple[Due, Result]], *, now: datetime) -> None:
    """Give states back: read to their end as of when they were taken, or failed and to be tried later."""
    rows = [
        {
            **{f"the_{name}": value for name, value in _key(due).items()},
            "the_worker": worker,
            "the_taken": due.taken_at,
            "new_now": now,
            "new_due": None if _is_done(due, result) else now + result.next_in,
            "new_failures": 0 if result.error is None else due.failures + 1,
            "new_error": result.error,
            "new_success": due.taken_at if result.error is None else None,
        }
        for due, result in results
    ]
    if rows:
        session.connection().execute(_RELEASE, rows)


def _is_done(due: Due, result: Result) -> bool:
    return due.lane is Lane.BACKFILL and result.error is None


def back_off(failures: int) -> timedelta:
    """Return how long to wait after so many failures: doubling, capped, with full jitter above half."""
    pause: timedelta = min(FIRST_PAUSE * (2 ** min(failures, 16)), LONGEST_PAUSE)
    return timedelta(seconds=pause.total_seconds() * random.uniform(0.5, 1.0))  # noqa: S311 - jitter, not a secret


# Built once: building a statement costs more than running it.
_TABLE: Table = SyncState.__table__  # type: ignore[attr-defined]
_THIS_ONE = [_TABLE.c[name] == bindparam(f"the_{name}") for name in ("platform", "link_id", "stream", "lane")]
_MOVE = (
    update(_TABLE)
    .where(*_THIS_ONE)
    .values(
        cursor=bindparam("new_cursor"),
        lease_until=bindparam("new_until"),
        rows_read=_TABLE.c.rows_read + bindparam("new_rows"),
    )
)
# Whoever asked while this run was under way is served by the next one.
_ASKED_SINCE = and_(
    _TABLE.c.asked_at.is_not(None), _TABLE.c.asked_at > bindparam("the_taken", type_=_TABLE.c.asked_at.type)
)
_RELEASE = (
    update(_TABLE)
    .where(*_THIS_ONE, _TABLE.c.lease_holder == bindparam("the_worker"))
    .values(
        lease_holder=None,
        lease_until=None,
        due_at=case(
            (_ASKED_SINCE, bindparam("new_now", type_=_TABLE.c.due_at.type)),
            else_=bindparam("new_due", type_=_TABLE.c.due_at.type),
        ),
        turn=case((_ASKED_SINCE, _ASKED), else_=_WAITS),
        failures=bindparam("new_failures"),
        last_error=bindparam("new_error"),
        last_success_at=func.coalesce(
            bindparam("new_success", type_=_TABLE.c.last_success_at.type), _TABLE.c.last_success_at
        ),
    )
)


def _feeds() -> Update:
    return update(SyncState).where(col(SyncState.lane) == Lane.FEED)


def _key(due: Due) -> Mapping[str, str]:
    return {"platform": due.platform, "link_id": due.link_id, "stream": due.stream, "lane": due.lane.value}


def _due(ring: KeyRing, state: SyncState, now: datetime) -> Due:
    return Due(
        platform=state.platform, link_id=state.link_id, cursor=_open_cursor(ring, state), failures=state.failures,
        taken_at=now, stream=state.stream, lane=Lane(state.lane), since=state.since, until=state.until,
    )  # fmt: skip


def _open_cursor(ring: KeyRing, state: SyncState) -> Cursor | None:
    if state.cursor is None:
        return None
    return Cursor(json.loads(ring.open(state.cursor, _place(state.platform, state.link_id))))


def _place(platform: str, link_id: str) -> bytes:
    return place("sync_state", "cursor", f"{platform}/{link_id}", None)
