"""A change of policy, tried out on what the database holds: cleared twice in memory, and nothing is written anywhere.

I/O: reads the database, in one snapshot.

What the hub did with these records is not asked: both sides are clearings of the same records by the same kernel, so what
differs is the policy's doing. Each record keeps the amount that it pins. Records are taken as they stand now (newest
versions, not taken back, of people who allow clearing now), bucket group by bucket group, so that memory holds a part of
the people, whatever the number of records. What reviewers released or rejected is judged anew by both: a policy is tried out
here, and not its reviewers.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import polars as pl
from sqlalchemy import text
from sqlalchemy.orm import Session

from consent.guard import permit
from consent.terms import HUB, Purpose
from hub.clearing.engines.local import Progress
from hub.clearing.groups import bucket_range
from hub.clearing.kernel.clear import clear, observe
from hub.clearing.kernel.facts import conclude, merge_evidence
from hub.clearing.simulate.moved import add_up, compare
from hub.clearing.simulate.of_files import LARGEST, Simulation
from hub.columns import load_columns
from hub.context import Hub
from hub.db import reading
from hub.errors import NotFound
from standards.canonical import BUCKETS
from standards.policy import ClearingPolicy
from standards.schema import QUANTIFIED_SCHEMA

_CHINA = ZoneInfo("Asia/Shanghai")
_STORED = [name for name in QUANTIFIED_SCHEMA if name not in ("start_at", "end_at")]
_COLUMNS = ", ".join(f"r.{name}" for name in (*_STORED, "start_us", "end_us"))
_KINDS: dict[str, Any] = {name: QUANTIFIED_SCHEMA[name] for name in _STORED} | dict.fromkeys(
    ("event_key", "payment_key", "start_us", "end_us"), pl.Int64()
)
_ROWS = {name: _KINDS[name] for name in (*_STORED, "start_us", "end_us")}
_DECIDED = {"event_id": pl.Int64(), "verdict": pl.String(), "counted_mg": pl.Int64()}
_STANDING = "s.superseded_by IS NULL AND s.cancelled = :no"


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """Which records: those of some windows, or those of acts of some days (half-open, microseconds)."""

    windows: tuple[int, ...] = ()
    since_us: int | None = None
    until_us: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Group:
    """The records of some people: to clear, cleared before, and how many were left out."""

    records: pl.DataFrame
    live: pl.DataFrame
    left_out: int


def month_of_acts(first: date) -> Chosen:
    """Choose all acts of the calendar month (in China) that begins with this day."""
    following = date(first.year + first.month // 12, first.month % 12 + 1, 1)
    since, until = (int(datetime(d.year, d.month, d.day, tzinfo=_CHINA).timestamp()) for d in (first, following))
    return Chosen(since_us=since * 1_000_000, until_us=until * 1_000_000)


def last_closed_month(now: datetime) -> date:
    """Return the first day of the last calendar month (in China) that is over."""
    return (now.astimezone(_CHINA).date().replace(day=1) - timedelta(days=1)).replace(day=1)


def simulate_stored(
    hub: Hub,
    chosen: Chosen,
    *,
    before: ClearingPolicy,
    after: ClearingPolicy,
    now: datetime,
    progress: Progress | None = None,
) -> Simulation:
    """Clear the chosen records of the database by two policies, and compare what counts.

    Records that were cleared before the chosen ones stay as they were decided, and are seen by both sides.

    Raises:
        NotFound: there is no such window, or no record was chosen.
    """
    report = progress or (lambda step, done, whole: None)
    with reading(hub.engine) as session:
        found = _find(session, chosen)
        size, pinned = _measure(session, found)
        groups = min(BUCKETS, max(1, -(-size // hub.settings.clear_group_records)))

        # What fits into one group is read once.
        only = _load_group(session, found, 0, BUCKETS, now) if groups == 1 else None

        def each(step: str) -> Iterator[_Group]:
            for number in range(groups):
                yield only or _load_group(session, found, *bucket_range(number, groups), now)
                report(step, number + 1, groups)

        facts = []
        evidence = [[observe(group.records, None, policy) for policy in (before, after)] for group in each("learn")]
        for side, policy in enumerate((before, after)):
            facts.append(conclude(merge_evidence([both[side] for both in evidence]), policy))
        parts, left_out = [], 0
        for group in each("clear twice"):
            one, other = (
                clear(group.records, group.live, policy, facts[side]).decisions.lazy()
                for side, policy in enumerate((before, after))
            )
            parts.append(compare(group.records.lazy(), one, other, largest=LARGEST))
            left_out += group.left_out
    return Simulation(
        what="policy", version=before.version, other=after.version, kept=", ".join(pinned),
        moved=add_up(parts, largest=LARGEST), left_out=left_out,
    )  # fmt: skip


def _find(session: Session, chosen: Chosen) -> Chosen:
    """Return the windows in which the chosen records are: the index leads to windows and buckets, not to days."""
    if chosen.windows:
        known = session.execute(text("SELECT window_id FROM clearing_window")).scalars().all()
        for window in sorted(set(chosen.windows) - set(known)):
            raise NotFound(f"there is no window {window}")
        return chosen
    held = text("SELECT DISTINCT window_id FROM reduction_record WHERE start_us >= :since AND start_us < :until")
    windows = session.execute(held, {"since": chosen.since_us, "until": chosen.until_us}).scalars()
    return replace(chosen, windows=tuple(sorted(windows)))


def _measure(session: Session, chosen: Chosen) -> tuple[int, list[str]]:
    """Count the chosen records, and say which methodologies they pin."""
    sql = f"SELECT r.methodology, COUNT(*) FROM reduction_record r WHERE {_within(chosen)} GROUP BY r.methodology"
    counts = Counter[str]()
    for window in chosen.windows:
        counts.update(dict(session.execute(text(sql), _bounds(chosen, window, 0, BUCKETS)).tuples().all()))
    if not counts:
        raise NotFound("no record was chosen: try other windows, or another month")
    return counts.total(), sorted(counts)


def _load_group(session: Session, chosen: Chosen, first: int, end: int, now: datetime) -> _Group:
    sql = (
        f"SELECT {_COLUMNS} FROM reduction_record r JOIN source_record s USING (record_id) "
        f"WHERE {_within(chosen)} AND {_STANDING}"
    )
    asked = _typed(
        pl.concat(load_columns(session, sql, _ROWS, no=False, **_bounds(chosen, w, first, end)) for w in chosen.windows)
    )
    allowed = _allowed(session, asked, now)
    return _Group(
        records=allowed, live=_load_live(session, chosen, first, end, allowed), left_out=len(asked) - len(allowed)
    )


def _allowed(session: Session, records: pl.DataFrame, now: datetime) -> pl.DataFrame:
    """Keep the records of people who allow clearing now. Nothing is decided here, so no grant has to be held."""
    numbered = records.with_row_index("row")
    asked = numbered.select("row", "subject_id", "platform", "behaviour", at="start_at")
    permission = permit(session, purpose=Purpose.CLEAR, recipient=HUB, asked=asked, now=now)
    return numbered.join(permission.allowed, on="row", how="semi").drop("row")


def _load_live(session: Session, chosen: Chosen, first: int, end: int, records: pl.DataFrame) -> pl.DataFrame:
    """Load what these people had counted before the chosen records, as it was decided.

    An act that began with one of the chosen records is decided anew, so no earlier report of it may hold it fast.
    """
    # No window decides about records that came after it, so the record's own window bounds how many decisions are read.
    before = "r.window_id < :before AND d.window_id < :before" if chosen.since_us is None else "r.start_us < :before"
    sql = (
        f"SELECT {_COLUMNS}, d.event_id, d.verdict, d.counted_mg FROM reduction_record r "
        "JOIN decision d USING (record_id) JOIN source_record s USING (record_id) "
        "LEFT JOIN event_reversal v ON v.event_id = d.event_id "
        "WHERE r.subject_id IN (SELECT n.subject_id FROM reduction_record n WHERE n.window_id >= :low "
        f"AND n.window_id <= :high AND n.bucket >= :begin AND n.bucket < :end) AND {before} AND {_STANDING} "
        "AND d.provisional = :no AND d.verdict <> 'rejected' AND d.reason <> 'declared_only' AND v.event_id IS NULL"
    )
    live = load_columns(
        session, sql, _ROWS | _DECIDED, low=min(chosen.windows), high=max(chosen.windows), begin=first, end=end,
        before=min(chosen.windows) if chosen.since_us is None else chosen.since_us, no=False,
    )  # fmt: skip
    theirs = _typed(live).join(records, on="subject_id", how="semi")
    return theirs.join(records.select(event_id="record_id"), on="event_id", how="anti")


def _within(chosen: Chosen) -> str:
    days = "" if chosen.since_us is None else " AND r.start_us >= :since AND r.start_us < :until"
    return f"r.window_id = :w AND r.bucket >= :begin AND r.bucket < :end{days}"


def _bounds(chosen: Chosen, window: int, first: int, end: int) -> dict[str, int | None]:
    days = {} if chosen.since_us is None else {"since": chosen.since_us, "until": chosen.until_us}
    return {"w": window, "begin": first, "end": end, **days}


def _typed(frame: pl.DataFrame) -> pl.DataFrame:
    """Turn stored columns into the kernel's: instants from microseconds, keys back to unsigned."""
    moment = pl.Datetime("us", "UTC")
    rest = [name for name in frame.columns if name in _DECIDED]
    return frame.with_columns(
        pl.col("event_key", "payment_key").reinterpret(signed=False),
        start_at=pl.col("start_us").cast(moment),
        end_at=pl.col("end_us").cast(moment),
    ).select([*QUANTIFIED_SCHEMA, *rest])
