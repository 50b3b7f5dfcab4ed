"""The hub's side of a pairing, and the leaf that says what came of it. I/O: the database."""

import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any

import polars as pl
from sqlalchemy.orm import Session

from hub.changes import log_change
from hub.clock import from_micros
from hub.context import Hub
from hub.db import load_frame, reading
from hub.errors import UsageProblem
from hub.exchange.pairing import OURS_SCHEMA, Paired, from_deliveries, pair, parse_entries
from hub.log.leaves import Kind
from hub.participants import require_participant
from hub.reconcile.documents import parse_told

MOST_SHOWN = 1_000
# Only what a platform and the hub said to each other; what the hub translates again or values anew is no message.
_OURS = (
    "SELECT b.delivery_id, b.stream, {micros}, b.rows, b.digest, "
    "CASE WHEN b.accepted > 0 OR b.refused + b.quarantined + b.conflicting = 0 THEN 1 ELSE 0 END, b.batch_id, "
    "CASE WHEN l.first_index < (SELECT COALESCE(MAX(size), 0) FROM log_head) THEN l.first_index END, b.window_id "
    "FROM batch b LEFT JOIN log_entry e ON e.batch_id = b.batch_id AND e.kind = 'batch.' || b.origin "
    "LEFT JOIN log_leaf l ON l.leaf_id = e.leaf_id "
    "WHERE b.platform = :platform AND b.origin IN ('received', 'fetched') {more} ORDER BY b.batch_id"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Period:
    """Which of the hub's messages are looked at: those of a window, or of a stretch of time; given none, all."""

    window: int | None = None
    since: datetime | None = None
    until: datetime | None = None

    def __post_init__(self) -> None:
        """Refuse a time without its zone; raises UsageProblem."""
        for name in ("since", "until"):
            value = getattr(self, name)
            if value is not None and value.tzinfo is None:
                raise UsageProblem(f"{name}: a time needs its zone, as 2026-11-20T08:00:00+08:00")


def read_theirs(body: bytes) -> pl.DataFrame:
    """Read a platform's side: a statement with deliveries, or an exchange log with a message on each line.

    Raises:
        UsageProblem.
    """
    first = body.lstrip()[:4096].partition(b"\n")[0]
    if b'"deliveries"' in first or (first.strip() == b"{" and b'"deliveries"' in body[:4096]):
        told = parse_told(body, extra="ignore").deliveries
        if told is None:
            raise UsageProblem("the statement names no deliveries; they are what is paired")
        return from_deliveries(told)
    return parse_entries(body.splitlines())


def load_ours(session: Session, platform: str, period: Period) -> pl.DataFrame:
    """Load the hub's messages of a platform (OURS_SCHEMA); raises NotFound if there is no such platform."""
    require_participant(session, platform)
    more, params = [], dict[str, Any]()
    postgresql = session.get_bind().dialect.name == "postgresql"
    micros = (
        "CAST(EXTRACT(EPOCH FROM b.received_at) * 1000000 AS BIGINT)"
        if postgresql
        else "CAST(strftime('%s', substr(b.received_at, 1, 19)) AS INTEGER) * 1000000"
    )
    if period.window is not None:
        more.append("AND b.window_id = :window")
        params["window"] = period.window
    sql = _OURS.format(micros=micros, more=" ".join(more))
    schema = OURS_SCHEMA | {"digest": pl.Binary(), "taken": pl.Int64()}
    found = load_frame(session, sql, schema, platform=platform, **params)
    for when, keep in ((period.since, pl.Expr.ge), (period.until, pl.Expr.lt)):
        if when is not None:
            found = found.filter(keep(pl.col("at_us"), int(when.timestamp()) * 1_000_000))
    return found.with_columns(digest=pl.col("digest").bin.encode("hex"), taken=pl.col("taken") == 1)


def pair_with(hub: Hub, platform: str, body: bytes, period: Period, *, apart: timedelta) -> Paired:
    """Pair a platform's side with the hub's. Raises UsageProblem, NotFound."""
    theirs = read_theirs(body)
    with reading(hub.engine) as session:
        return pair(load_ours(session, platform, period), theirs, apart=apart)


def log_pairing(session: Session, platform: str, body: bytes, paired: Paired, now: datetime) -> None:
    """Tell the log what came of a pairing: figures, and the digest of what the platform gave."""
    outcome = "matched" if _is_whole(paired) else "different"
    fields = {"participant": platform, "outcome": outcome, "theirs": sha256(body).digest(), **paired.counts()}
    log_change(session, Kind.EXCHANGE_PAIRED, secrets.token_hex(16), now, fields)


def to_document(platform: str, paired: Paired) -> dict[str, Any]:
    """Return a pairing as data: figures, and up to MOST_SHOWN of each kind of trouble."""

    def shown(rows: pl.DataFrame, names: Iterable[str]) -> list[dict[str, Any]]:
        return [_told(row) for row in rows.head(MOST_SHOWN).select(*names).iter_rows(named=True)]

    return {
        "participant": platform,
        "outcome": "matched" if _is_whole(paired) else "different",
        **{name.removesuffix("_count"): count for name, count in paired.counts().items()},
        "differences": shown(paired.different, ("line", "batch", "index", "window", "differences")),
        "only_ours": shown(paired.ours_alone, ("batch", "index", "window", "stream", "at_us", "rows", "digest")),
        "only_theirs": shown(paired.theirs_alone, ("line", "stream", "at_us", "rows", "digest")),
        "shown_at_most": MOST_SHOWN,
    }


def _is_whole(paired: Paired) -> bool:
    return paired.ours_alone.is_empty() and paired.theirs_alone.is_empty() and paired.different.is_empty()


def _told(row: dict[str, Any]) -> dict[str, Any]:
    if "at_us" in row:
        at = row.pop("at_us")
        row["at"] = None if at is None else from_micros(at).isoformat()
    return row
