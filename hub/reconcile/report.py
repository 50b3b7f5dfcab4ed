"""A window's reconciliation as rows. I/O: reads the database.

One row for each platform and stream, and one for its deliveries: both sides, what is agreed, what is broken and how old it is.
"""

from dataclasses import dataclass, field
from datetime import datetime

import polars as pl
from sqlalchemy import text
from sqlalchemy.orm import Session
from sqlmodel import col, select

from hub.clearing.tables import Reconciliation
from hub.clearing.windows import load_span
from hub.reconcile.breaks import DELIVERIES
from hub.reconcile.ours import load_period
from hub.reconcile.report_rows import NO_STATEMENT, OF_DELIVERIES, SETTLED, Row
from hub.reconcile.tables import StatementBreak, StreamReconciliation


def age_s(row: StatementBreak, now: datetime) -> int:
    """Return for how many seconds a break has been (or was) open."""
    return max(0, int(((row.closed_at or now) - row.opened_at).total_seconds()))


def load_report(session: Session, window_id: int, now: datetime) -> list[Row]:
    """Load a window's rows, by platform and stream, a platform's deliveries last. Raises NotFound."""
    load_period(session, window_id)
    differences = _load_differences(session, window_id, now)
    compared = {
        (row.platform, row.stream): row
        for row in session.scalars(select(StreamReconciliation).where(col(StreamReconciliation.window_id) == window_id))
    }
    taken = {(p, s): (count, mg) for p, s, count, mg in _load_taken(session, window_id).iter_rows()}
    rows = []
    for key in sorted({*compared, *taken}):
        found = differences.get(key, _Differences())
        rows.append(_of_stream(window_id, key, compared.get(key), taken.get(key, (0, 0)), found))
    told = select(Reconciliation).where(col(Reconciliation.window_id) == window_id)
    for one in session.scalars(told):
        if one.theirs_deliveries is not None:
            found = differences.get((one.platform, DELIVERIES), _Differences())
            rows.append(_of_deliveries(one, found))
    return sorted(rows, key=lambda row: (row.platform, row.stream == OF_DELIVERIES, row.stream))


@dataclass(slots=True, kw_only=True)
class _Differences:
    """The breaks of one place: what lives, by kind, and what both sides signed."""

    live: dict[str, int] = field(default_factory=dict)
    mg: int = 0
    signed: int = 0
    oldest_s: int | None = None


def _load_differences(session: Session, window_id: int, now: datetime) -> dict[tuple[str, str], _Differences]:
    sql = text(
        "SELECT platform, stream, kind, closed_why, COUNT(*), SUM(mg) FROM statement_break "
        "WHERE window_id = :w AND (closed_at IS NULL OR closed_why = 'signed') GROUP BY platform, stream, kind, closed_why"
    )
    found: dict[tuple[str, str], _Differences] = {}
    for platform, stream, kind, why, count, mg in session.execute(sql, {"w": window_id}):
        place = found.setdefault((platform, stream), _Differences())
        if why is None:
            place.live[kind] = int(count)
            place.mg += int(mg)
        else:
            place.signed += int(count)
    ages = text(
        "SELECT platform, stream, MIN(break_id) FROM statement_break WHERE window_id = :w AND closed_at IS NULL "
        "GROUP BY platform, stream"
    )
    for platform, stream, first in session.execute(ages, {"w": window_id}):
        row = session.get_one(StatementBreak, first)  # numbers rise with time
        found[platform, stream].oldest_s = age_s(row, now)
    return found


def _load_taken(session: Session, window_id: int) -> pl.DataFrame:
    """Load what each platform told in the window, as accepted: for platforms that make no statement."""
    span = load_span(session, window_id)
    sql = (
        "SELECT s.platform, s.stream, COUNT(*), COALESCE(SUM(r.claimed_mg), 0) FROM source_record s "
        "JOIN reduction_record r ON r.record_id = s.record_id JOIN batch b ON b.batch_id = s.batch_id "
        "WHERE s.record_id BETWEEN :first AND :last AND s.window_id = :w AND b.origin IN ('received', 'fetched') "
        "GROUP BY s.platform, s.stream"
    )
    schema = {"platform": pl.String(), "stream": pl.String(), "count": pl.Int64(), "mg": pl.Int64()}
    rows = session.execute(text(sql), {"first": span.first_seq, "last": span.last_seq, "w": window_id})
    return pl.DataFrame([(p, s, int(count), int(mg)) for p, s, count, mg in rows], schema=schema, orient="row")


def _of_stream(
    window_id: int,
    key: tuple[str, str],
    row: StreamReconciliation | None,
    taken: tuple[int, int],
    found: _Differences,
) -> Row:
    platform, stream = key
    if row is None:
        return Row(
            window=window_id, platform=platform, stream=stream, state=NO_STATEMENT, ours_count=taken[0],
            ours_mg=taken[1], breaks={},
        )  # fmt: skip
    return Row(
        window=window_id, platform=platform, stream=stream, state=_state(row.state, found), ours_count=row.ours_count,
        theirs_count=row.theirs_count, ours_mg=row.ours_mg, theirs_mg=row.theirs_mg, same_digest=row.same_digest,
        matched_mg=row.matched_mg, broken_mg=found.mg, breaks=found.live, signed=found.signed, oldest_s=found.oldest_s,
        compared_at=row.compared_at,
    )  # fmt: skip


def _of_deliveries(one: Reconciliation, found: _Differences) -> Row:
    state = "breaks" if found.live else SETTLED if found.signed else "matched"
    return Row(
        window=one.window_id, platform=one.platform, stream=OF_DELIVERIES, state=state, ours_count=one.ours_rows,
        theirs_count=one.theirs_rows, breaks=found.live, signed=found.signed, oldest_s=found.oldest_s,
        compared_at=one.compared_at,
    )  # fmt: skip


def _state(state: str, found: _Differences) -> str:
    return SETTLED if state == "breaks" and not found.live else state
