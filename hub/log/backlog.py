"""How far the log lags behind what happens, and the refusal to let it. I/O: the database (reads)."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import column, text
from sqlalchemy.orm import Session

from consent.types import UtcDateTime
from hub.errors import Busy

_LOAD_BACKLOG = text(
    "SELECT coalesce(sum(count), 0) AS leaves, min(created_at) AS oldest_at FROM log_leaf"
    " WHERE first_index IS NULL OR first_index >= coalesce((SELECT size FROM log_head WHERE id = 1), 0)"
).columns(column("leaves"), column("oldest_at", UtcDateTime()))


class LogLagging(Busy):
    """The log is too far behind to accept more: what happens now would not be provable in time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Backlog:
    """Leaves that no checkpoint covers."""

    count: int
    oldest_at: datetime | None


def load_backlog(session: Session) -> Backlog:
    """Return how many leaves wait for a checkpoint, and since when."""
    count, oldest_at = session.execute(_LOAD_BACKLOG).one()
    return Backlog(count=int(count), oldest_at=oldest_at)


def require_log_current(session: Session, *, now: datetime, limit: timedelta) -> None:
    """Fail closed: raise LogLagging if a leaf has waited longer than `limit` for its checkpoint."""
    oldest_at = load_backlog(session).oldest_at
    if oldest_at is not None and now - oldest_at > limit:
        raise LogLagging("the interconnection log is behind; nothing more is accepted until it has caught up")
