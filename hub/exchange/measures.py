"""How exchange goes, in figures. I/O: reads the database.

Everything is of a bounded stretch: requests of some hours, streams of the windows that were open then, the newest
statements. No figure is of a person: the smallest thing that is counted is a message of a platform.

    requests      by participant, operation and outcome, with p50, p95, p99 of the time they took
    refusals      of requests by reason, and of rows by reason
    streams       rows that came, came again and were turned away; how late they came; what share both sides have
    breaks        that are open, and for how long
    lag           of the log behind what happens, and of the window that should be sealed
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Row, column, text
from sqlalchemy.orm import Session

from consent.types import UtcDateTime
from hub.clearing.windows import find_open_window
from hub.columns import instant_text
from hub.exchange.histogram import BOUNDS_MS, LATE_MINUTES, quantile
from hub.log.backlog import load_backlog

QUANTILES = (50, 95, 99)
NEWEST_RECORDS = 100_000
_HOUR = 3600
_REQUESTS = text(
    "SELECT participant, operation, outcome, up_to_ms, SUM(requests) AS requests, SUM(sum_us) AS sum_us, "
    "SUM(bytes_in) AS bytes_in, SUM(bytes_out) AS bytes_out FROM exchange_count WHERE hour >= :since "
    "GROUP BY participant, operation, outcome, up_to_ms ORDER BY participant, operation, outcome, up_to_ms"
)
_REFUSED = text(
    "SELECT participant, operation, reason, SUM(requests) FROM exchange_count WHERE hour >= :since AND outcome <> 'done' "
    "GROUP BY participant, operation, reason ORDER BY participant, operation, reason"
)
_HOURS = text(
    "SELECT hour, SUM(requests), SUM(CASE WHEN outcome <> 'done' THEN requests ELSE 0 END) FROM exchange_count "
    "WHERE hour >= :since GROUP BY hour ORDER BY hour"
)
_STREAMS = text(
    "SELECT platform, stream, COUNT(*) AS messages, SUM(rows) AS taken, SUM(accepted) AS accepted, "
    "SUM(replayed) AS replayed, SUM(refused) AS refused, SUM(quarantined + conflicting) AS aside FROM batch "
    "WHERE window_id >= :window AND origin IN ('received', 'fetched') AND received_at >= :since "
    "GROUP BY platform, stream ORDER BY platform, stream"
)
_ASIDE = text(
    "SELECT q.platform, q.stream, q.reason, COUNT(*) FROM quarantined q JOIN batch b ON b.batch_id = q.batch_id "
    "WHERE b.window_id >= :window AND b.received_at >= :since GROUP BY q.platform, q.stream, q.reason "
    "ORDER BY q.platform, q.stream, q.reason"
)
# By number: the newest, however many there are in all.
_LATE = text(
    "SELECT platform, stream, bucket, COUNT(*) FROM (SELECT s.platform, s.stream, CASE {buckets} END AS bucket "
    "FROM (SELECT record_id, platform, stream, received_us FROM source_record ORDER BY record_id DESC LIMIT :newest) s "
    "JOIN reduction_record r ON r.record_id = s.record_id WHERE s.received_us >= :since_us) b "
    "GROUP BY platform, stream, bucket ORDER BY platform, stream, bucket".format(
        buckets=" ".join(
            f"WHEN s.received_us - r.end_us <= {minutes * 60_000_000} THEN {minutes}" for minutes in LATE_MINUTES[:-1]
        )
        + f" ELSE {LATE_MINUTES[-1]}"
    )
)
_COMPARED = text(
    "SELECT platform, stream, ours_count, theirs_count, matched_count, window_id FROM stream_reconciliation s "
    "WHERE window_id = (SELECT MAX(window_id) FROM stream_reconciliation n WHERE n.platform = s.platform "
    "AND n.stream = s.stream) ORDER BY platform, stream"
)
_BREAKS = text(
    "SELECT platform, kind, COUNT(*), MIN(opened_at) FROM statement_break WHERE closed_at IS NULL "
    "GROUP BY platform, kind ORDER BY platform, kind"
).columns(column("platform"), column("kind"), column("open"), column("oldest", UtcDateTime()))
_DECIDED = text(
    "SELECT r.platform, COUNT(*), SUM(CASE WHEN d.verdict = 'duplicate' THEN 1 ELSE 0 END) FROM "
    "(SELECT record_id, verdict FROM decision WHERE window_id = "
    "(SELECT MAX(window_id) FROM clearing_window WHERE cleared_at IS NOT NULL) ORDER BY record_id DESC LIMIT :newest) d "
    "JOIN reduction_record r ON r.record_id = d.record_id GROUP BY r.platform ORDER BY r.platform"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Requests:
    """Requests of one participant at one door that ended alike."""

    participant: str
    operation: str
    outcome: str
    requests: int
    p50_ms: float
    p95_ms: float
    p99_ms: float
    mean_ms: float
    bytes_in: int
    bytes_out: int
    buckets: Mapping[int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stream:
    """What one stream brought; shares are between 0 and 1, None where there is nothing to divide by."""

    participant: str
    stream: str
    messages: int
    rows: int
    accepted: int
    again: int
    refused: int
    aside: int
    again_share: float | None
    complete_share: float | None
    compared_window: int | None
    late_p50_minutes: float | None
    late_p95_minutes: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Reasons:
    """How often something was turned away for one reason; `where` is an operation or a stream."""

    participant: str
    where: str
    reason: str
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Breaks:
    """Open differences of one kind with one platform."""

    participant: str
    kind: str
    open: int
    oldest_s: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Measures:
    """All figures. `hours_told` has requests and refusals of each hour; `duplicates` has decided and duplicate records."""

    since: datetime
    requests: tuple[Requests, ...]
    refused_requests: tuple[Reasons, ...]
    refused_rows: tuple[Reasons, ...]
    streams: tuple[Stream, ...]
    duplicates: tuple[tuple[str, int, int], ...]
    breaks: tuple[Breaks, ...]
    hours_told: tuple[tuple[int, int, int], ...]
    log_waiting: int
    log_lag_s: float
    seal_lag_s: float

    def to_dict(self) -> dict[str, Any]:
        """Return the figures as the API tells them."""
        told = asdict(self)
        told["since"] = self.since.isoformat()
        for one in told["requests"]:
            del one["buckets"]
        told["duplicates"] = [
            {"participant": name, "decided": decided, "duplicate": twice, "duplicate_share": _share(twice, decided)}
            for name, decided, twice in self.duplicates
        ]
        told["hours_told"] = [{"hour": hour, "requests": n, "refused": refused} for hour, n, refused in self.hours_told]
        return told


def load_measures(session: Session, now: datetime, *, hours: int, window_length: timedelta) -> Measures:
    """Load all figures of the last hours.

    Args:
        window_length: an open window that is older should be sealed.
    """
    since = now - timedelta(hours=hours)
    hour = {"since": int(since.timestamp()) // _HOUR * _HOUR}
    first = text(
        "SELECT COALESCE(MIN(window_id), 0) FROM clearing_window WHERE sealed_at IS NULL OR sealed_at >= :since"
    )
    began = {"since": instant_text(session, since)}
    stretch = began | {"window": int(session.execute(first, began).scalar_one())}
    window = find_open_window(session)
    overdue = timedelta(0) if window is None else now - window.opened_at - window_length
    backlog = load_backlog(session)
    lag = timedelta(0) if backlog.oldest_at is None else now - backlog.oldest_at
    return Measures(
        since=since, requests=_requests(session.execute(_REQUESTS, hour).all()),
        refused_requests=_reasons(session.execute(_REFUSED, hour).all()),
        refused_rows=tuple(
            Reasons(participant=p, where=s, reason=r, count=int(n)) for p, s, r, n in session.execute(_ASIDE, stretch)
        ),
        streams=_streams(session, stretch, since),
        duplicates=tuple((p, int(n), int(twice)) for p, n, twice in session.execute(_DECIDED, {"newest": NEWEST_RECORDS})),
        breaks=_breaks(session, now),
        hours_told=tuple((int(h), int(n), int(r)) for h, n, r in session.execute(_HOURS, hour)),
        log_waiting=backlog.count, log_lag_s=max(0.0, lag.total_seconds()), seal_lag_s=max(0.0, overdue.total_seconds()),
    )  # fmt: skip


def _requests(rows: Sequence[Row[Any]]) -> tuple[Requests, ...]:
    grouped: dict[tuple[str, str, str], list[Row[Any]]] = {}
    for row in rows:
        grouped.setdefault((row.participant, row.operation, row.outcome), []).append(row)
    told = []
    for (participant, operation, outcome), alike in grouped.items():
        buckets = {int(row.up_to_ms): int(row.requests) for row in alike}
        count = sum(buckets.values())
        p50, p95, p99 = (quantile(buckets, BOUNDS_MS, percent) for percent in QUANTILES)
        told.append(
            Requests(
                participant=participant, operation=operation, outcome=outcome, requests=count, p50_ms=p50, p95_ms=p95,
                p99_ms=p99, mean_ms=round(sum(int(row.sum_us) for row in alike) / count / 1000, 3),
                bytes_in=sum(int(row.bytes_in) for row in alike), bytes_out=sum(int(row.bytes_out) for row in alike),
                buckets=buckets,
            )
        )  # fmt: skip
    return tuple(told)


def _reasons(rows: Sequence[Any]) -> tuple[Reasons, ...]:
    return tuple(Reasons(participant=p, where=where, reason=reason, count=int(n)) for p, where, reason, n in rows)


def _streams(session: Session, stretch: Mapping[str, Any], since: datetime) -> tuple[Stream, ...]:
    compared = {(p, s): (ours, theirs, matched, w) for p, s, ours, theirs, matched, w in session.execute(_COMPARED)}
    late: dict[tuple[str, str], dict[int, int]] = {}
    params = {"newest": NEWEST_RECORDS, "since_us": int(since.timestamp()) * 1_000_000}
    for platform, stream, bucket, count in session.execute(_LATE, params):
        late.setdefault((platform, stream), {})[int(bucket)] = int(count)
    told = []
    for row in session.execute(_STREAMS, stretch):
        key = (row.platform, row.stream)
        minutes = late.get(key, {})
        ours, theirs, matched, window = compared.get(key, (0, 0, None, None))
        told.append(
            Stream(
                participant=row.platform, stream=row.stream, messages=int(row.messages), rows=int(row.taken),
                accepted=int(row.accepted), again=int(row.replayed), refused=int(row.refused), aside=int(row.aside),
                again_share=_share(int(row.replayed), int(row.taken)),
                complete_share=None if matched is None else _share(int(matched), max(int(ours), int(theirs))),
                compared_window=window,
                late_p50_minutes=quantile(minutes, LATE_MINUTES, 50) if minutes else None,
                late_p95_minutes=quantile(minutes, LATE_MINUTES, 95) if minutes else None,
            )
        )  # fmt: skip
    return tuple(told)


def _breaks(session: Session, now: datetime) -> tuple[Breaks, ...]:
    found = session.execute(_BREAKS)
    return tuple(
        Breaks(participant=p, kind=kind, open=int(n), oldest_s=max(0, int((now - oldest).total_seconds())))
        for p, kind, n, oldest in found
    )


def _share(part: int, whole: int) -> float | None:
    return round(part / whole, 6) if whole else None
