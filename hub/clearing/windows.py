"""Clearing windows and the only transitions they may make. I/O: the database, inside the caller's transaction.

A window is a contiguous range of the record sequence. Whoever writes records holds the open window's row shared until
commit; sealing takes it exclusively, so it waits for writers in flight, notes the last number and opens the next
window: one row changed and one added, whatever the window's size. Source: Mojaloop's racing windows (4375, 4445), ADR 0006.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from sqlalchemy import func, text
from sqlalchemy.orm import Session
from sqlmodel import col, select

from hub.clearing.store import Span
from hub.clearing.tables import ClearingWindow
from hub.db import is_postgresql
from hub.errors import Conflict, NotFound
from standards.canonical import BUCKETS


class WindowState(StrEnum):
    """In order; a window only moves one step on."""

    OPEN = "open"
    SEALED = "sealed"
    RECONCILING = "reconciling"
    PROVISIONAL = "provisional"
    FINAL = "final"


NO_LAST_SEQ = 2**62
"""An open window has no last number yet: whatever came, counts."""
NEXT = dict(zip(list(WindowState)[:-1], list(WindowState)[1:], strict=True))


@dataclass(frozen=True, slots=True, kw_only=True)
class Sealed:
    """What sealing fixed."""

    window_id: int
    last_seq: int
    size: int


def open_first_window(session: Session, now: datetime) -> None:
    """Open window 1 if there is no window at all; called by `tanlian migrate`."""
    if session.execute(select(func.count()).select_from(ClearingWindow)).scalar_one() == 0:
        session.add(ClearingWindow(window_id=1, state=WindowState.OPEN, first_seq=1, opened_at=now))
        session.flush()


def join_open_window(session: Session) -> int:
    """Return the open window's id and keep it open until this transaction ends."""
    wanted = select(col(ClearingWindow.window_id)).where(col(ClearingWindow.state) == WindowState.OPEN)
    # A reader that waited for a sealing finds the old row no longer open, and its statement began too early to see
    # the new one: ask again.
    for _ in range(10):
        row = session.execute(wanted.with_for_update(read=True)).scalar_one_or_none()
        if row is not None:
            return int(row)
    raise NotFound("no clearing window is open; run `tanlian migrate`")


def load_span(session: Session, window_id: int) -> Span:
    """Return a window's range of numbers; an open one has no end yet."""
    wanted = select(col(ClearingWindow.first_seq), col(ClearingWindow.last_seq))
    first, last = session.execute(wanted.where(col(ClearingWindow.window_id) == window_id)).one()
    return Span(window_id=window_id, first_seq=first, last_seq=NO_LAST_SEQ if last is None else last)


def hold_unfinished_windows(session: Session) -> int:
    """Hold every window that is not final alone until this transaction ends; returns the open one's id.

    Waits for deliveries and clearings under way and lets none begin: for what must not happen beside either.
    """
    wanted = (
        select(col(ClearingWindow.window_id), col(ClearingWindow.state))
        .where(col(ClearingWindow.state) != WindowState.FINAL)
        .order_by(col(ClearingWindow.window_id))
        .with_for_update()
    )
    for _ in range(10):
        held = session.execute(wanted).all()
        found = [int(window_id) for window_id, state in held if state == WindowState.OPEN]
        if found:
            return found[0]
    raise NotFound("no clearing window is open; run `tanlian migrate`")


def seal(session: Session, now: datetime, *, group_records: int) -> Sealed:
    """Seal the open window and open the next. An empty window is legal."""
    wanted = select(ClearingWindow).where(col(ClearingWindow.state) == WindowState.OPEN)
    window = session.execute(wanted.with_for_update()).scalar_one()
    last = _last_number(session)
    window.state = WindowState.SEALED
    window.sealed_at = now
    window.last_seq = max(last, window.first_seq - 1)
    size = window.last_seq - window.first_seq + 1
    window.groups = min(BUCKETS, max(1, -(-size // group_records)))
    session.flush()  # the old row stops being the open one before the new one is
    session.add(
        ClearingWindow(
            window_id=window.window_id + 1, state=WindowState.OPEN, first_seq=window.last_seq + 1, opened_at=now
        )
    )
    session.flush()
    return Sealed(window_id=window.window_id, last_seq=window.last_seq, size=size)


def find_open_window(session: Session) -> ClearingWindow | None:
    """Return the open window for looking at it."""
    wanted = select(ClearingWindow).where(col(ClearingWindow.state) == WindowState.OPEN)
    return session.execute(wanted).scalar_one_or_none()


def require_window(session: Session, window_id: int) -> ClearingWindow:
    """Load a window for changing it; raises NotFound."""
    window = session.execute(
        select(ClearingWindow).where(col(ClearingWindow.window_id) == window_id).with_for_update()
    ).scalar_one_or_none()
    if window is None:
        raise NotFound(f"there is no window {window_id}")
    return window


def advance(window: ClearingWindow, to: WindowState) -> None:
    """Move a window one step on; any other step is refused."""
    if NEXT.get(WindowState(window.state)) is not to:
        raise Conflict(f"window {window.window_id} is {window.state} and cannot become {to}")
    window.state = to


def load_windows(session: Session) -> list[ClearingWindow]:
    """Return all windows, oldest first."""
    return list(session.execute(select(ClearingWindow).order_by(col(ClearingWindow.window_id))).scalars())


def load_uncleared(session: Session) -> ClearingWindow | None:
    """Return the oldest sealed window whose clearing is not complete: windows are cleared in order."""
    wanted = (
        select(ClearingWindow)
        .where(col(ClearingWindow.state) == WindowState.SEALED, col(ClearingWindow.cleared_at).is_(None))
        .order_by(col(ClearingWindow.window_id))
        .limit(1)
    )
    return session.execute(wanted).scalar_one_or_none()


def _last_number(session: Session) -> int:
    if is_postgresql(session):
        value, called = session.execute(text("SELECT last_value, is_called FROM record_seq")).one()
        return int(value) if called else 0
    return int(session.execute(text("SELECT value FROM hub_sequence WHERE name = 'record'")).scalar_one())
