"""Tells the log of each hour's requests, a participant at a time. I/O: the database.

Single requests are too many for leaves of their own, and what is exchanged in them has its leaf already (a batch, a
disclosure, a pre-check). The hour's leaf says how many requests there were, how they ended and how long they took, with a
digest of the counts, so that nobody can make an hour look better afterwards.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any

from sqlalchemy import Row, text
from sqlalchemy.orm import Session

from hub.changes import log_change
from hub.clock import from_micros
from hub.context import Hub
from hub.db import lock, reading, writing
from hub.exchange.counting import FLUSH_EVERY, HOUR_S
from hub.exchange.histogram import BOUNDS_MS, quantile
from hub.exchange.tables import ExchangeHour
from hub.log.leaves import Kind
from standards.canonical import canonical_bytes

# What a process counted in an hour's last seconds is written into the hour after; so nothing comes to an hour that is told.
GRACE = 2 * FLUSH_EVERY
_WAITING = text(
    "SELECT DISTINCT c.hour, c.participant FROM exchange_count c LEFT JOIN exchange_hour h ON h.hour = c.hour "
    "AND h.participant = c.participant WHERE h.hour IS NULL AND c.participant <> '' AND c.hour <= :over "
    "ORDER BY c.hour, c.participant LIMIT :most"
)
_COUNTS = text(
    "SELECT operation, outcome, reason, up_to_ms, requests, sum_us, bytes_in, bytes_out FROM exchange_count "
    "WHERE hour = :hour AND participant = :participant ORDER BY operation, outcome, reason, up_to_ms"
)


def tell_hours(hub: Hub, *, now: datetime, most: int = 200) -> int:
    """Log hours that are over and not told; returns how many leaves."""
    params = {"over": _last_over(now), "most": most}
    with reading(hub.engine) as session:
        if not session.execute(_WAITING, params).first():
            return 0
    with writing(hub.engine) as session:
        lock(session, "tell_hours")
        waiting = session.execute(_WAITING, params).all()
        for hour, participant in waiting:
            _tell(session, int(hour), participant, now)
        return len(waiting)


def _tell(session: Session, hour: int, participant: str, now: datetime) -> None:
    rows = session.execute(_COUNTS, {"hour": hour, "participant": participant}).all()
    fields = hour_fields(hour, participant, rows)
    session.add(
        ExchangeHour(
            hour=hour, participant=participant, requests=fields["requests_count"], digest=fields["digest"], told_at=now
        )
    )
    log_change(session, Kind.EXCHANGE_COUNTED, f"{hour}:{participant}", now, fields)


def hour_fields(hour: int, participant: str, rows: Sequence[Row[Any]]) -> dict[str, Any]:
    """Return what the log says of an hour."""
    buckets: dict[int, int] = {}
    ended: dict[str, int] = {}
    for row in rows:
        buckets[row.up_to_ms] = buckets.get(row.up_to_ms, 0) + int(row.requests)
        ended[row.outcome] = ended.get(row.outcome, 0) + int(row.requests)
    return {
        "participant": participant,
        "hour": from_micros(hour * 1_000_000),
        "requests_count": sum(ended.values()),
        "refused_count": ended.get("refused", 0),
        "failed_count": ended.get("failed", 0),
        "in_bytes": sum(int(row.bytes_in) for row in rows),
        "out_bytes": sum(int(row.bytes_out) for row in rows),
        # Whole milliseconds: a leaf holds no fractions.
        **{f"p{percent}_ms": round(quantile(buckets, BOUNDS_MS, percent)) for percent in (50, 95, 99)},
        "digest": counts_digest(rows),
    }


def counts_digest(rows: Sequence[Row[Any]]) -> bytes:
    """Digest of an hour's counts, in their order."""
    told: list[Mapping[str, Any]] = [
        {
            "operation": row.operation, "outcome": row.outcome, "reason": row.reason, "up_to_ms": row.up_to_ms,
            **{name: str(getattr(row, name)) for name in ("requests", "sum_us", "bytes_in", "bytes_out")},
        }
        for row in rows
    ]  # fmt: skip
    return sha256(canonical_bytes({"counts": told})).digest()


def _last_over(now: datetime) -> int:
    return int((now - GRACE - timedelta(seconds=HOUR_S)).timestamp()) // HOUR_S * HOUR_S
