"""How many leaves wait for a checkpoint, and since when. I/O: the database (reads)."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import column, text
from sqlalchemy.orm import Session

from consent.types import UtcDateTime

# Two parts and no OR: each is found by an index, however long the log is.
_LOAD_BACKLOG = text(
    "SELECT COALESCE(SUM(leaves), 0) AS leaves, MIN(oldest_at) AS oldest_at FROM ("
    " SELECT SUM(count) AS leaves, MIN(created_at) AS oldest_at FROM log_leaf WHERE first_index IS NULL"
    " UNION ALL"
    " SELECT SUM(count), MIN(created_at) FROM log_leaf"
    " WHERE first_index >= COALESCE((SELECT size FROM log_head WHERE id = 1), 0)) AS parts"
).columns(column("leaves"), column("oldest_at", UtcDateTime()))


@dataclass(frozen=True, slots=True, kw_only=True)
class Backlog:
    """Leaves that no checkpoint covers."""

    count: int
    oldest_at: datetime | None


def load_backlog(session: Session) -> Backlog:
    """Return how many leaves wait for a checkpoint, and since when."""
    count, oldest_at = session.execute(_LOAD_BACKLOG).one()
    return Backlog(count=int(count), oldest_at=oldest_at)
