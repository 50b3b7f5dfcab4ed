"""What clearing reads and writes. I/O: the database, inside the caller's transaction.

Decisions and events of an open window are provisional and are rewritten as a whole, subject by subject; those of a
cleared window are never touched again: a reversal is a row of its own, and so is a later window's decision about a record
whose event was taken back.
"""

from dataclasses import dataclass
from typing import Any

import polars as pl
from sqlalchemy import bindparam, text
from sqlalchemy.orm import Session

from hub.columns import load_columns
from hub.db import INSERT_CHUNK, append_frame, load_by_ids, load_frame
from standards.schema import QUANTIFIED_SCHEMA

_COLUMNS = (
    "r.record_id, r.subject_id, r.platform, r.role, r.behaviour, r.start_us, r.end_us, r.precision, r.quantity_micro, "
    "r.unit, r.event_key, r.payment_key, r.region, r.claimed_mg, r.reference_mg, r.factor_id"
)
_STORED: dict[str, Any] = {
    name: kind for name, kind in QUANTIFIED_SCHEMA.items() if name not in ("start_at", "end_at")
} | {"start_us": pl.Int64(), "end_us": pl.Int64(), "event_key": pl.Int64(), "payment_key": pl.Int64()}
_ORDER = [c.split(".")[1] for c in _COLUMNS.split(", ")]
RECORD_ROWS = {name: _STORED[name] for name in _ORDER} | {
    "stream": pl.String(),
    "superseded_by": pl.Int64(),
    "cancelled": pl.Boolean(),
    "methodology": pl.String(),
}
EARLIER_ROWS = RECORD_ROWS | {
    "event_id": pl.Int64(),
    "verdict": pl.String(),
    "reason": pl.String(),
    "counted_mg": pl.Int64(),
    "canonical_record_id": pl.Int64(),
    "taken_back": pl.Boolean(),
}
TAKE_BACK = "take_back"
"""Name of the lock that whoever takes back grams of cleared events holds: clearing, and whoever adjusts."""
_MORE = "s.stream, s.superseded_by, s.cancelled, r.methodology"
# Who has records in some buckets of a window, and whose earlier records were superseded by one of it, whoever has that.
_CONCERNED = (
    "(SELECT n.subject_id FROM reduction_record n WHERE n.window_id = :w AND n.bucket >= :low AND n.bucket < :high "
    "UNION SELECT q.subject_id FROM source_record o JOIN reduction_record q ON q.record_id = o.record_id "
    "WHERE o.superseded_by >= :first AND o.superseded_by <= :last AND q.bucket >= :low AND q.bucket < :high)"
)
# What stands of the decisions `d` about one record: where its event was taken back, a later window decided anew.
NEWEST = "NOT EXISTS (SELECT 1 FROM decision l WHERE l.record_id = d.record_id AND l.window_id > d.window_id)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """A window and its range of record numbers, both ends included."""

    window_id: int
    first_seq: int
    last_seq: int


def load_window_records(session: Session, window_id: int, *, first_bucket: int, end_bucket: int) -> pl.DataFrame:
    """Load a window's records of some buckets: QUANTIFIED plus stream, superseded_by, cancelled and methodology."""
    sql = (
        f"SELECT {_COLUMNS}, {_MORE} FROM reduction_record r JOIN source_record s USING (record_id) "
        "WHERE r.window_id = :w AND r.bucket >= :low AND r.bucket < :high"
    )
    return _typed(load_columns(session, sql, RECORD_ROWS, w=window_id, low=first_bucket, high=end_bucket))


def load_subject_records(session: Session, window_id: int, subject_ids: list[int]) -> pl.DataFrame:
    """Load a window's records of some subjects, in the same shape."""
    sql = (
        f"SELECT {_COLUMNS}, {_MORE} "
        "FROM reduction_record r JOIN source_record s USING (record_id) WHERE r.window_id = :w AND r.subject_id IN :ids"
    )
    return _typed(load_by_ids(session, sql, RECORD_ROWS, subject_ids, w=window_id))


def load_earlier(session: Session, span: Span, *, first_bucket: int, end_bucket: int) -> pl.DataFrame:
    """Load what earlier windows decided about the people of some buckets whom the window concerns.

    Returns:
        As `load_window_records`, with event_id, verdict, reason, counted_mg, canonical_record_id, and whether the event is
        `taken_back`: all decisions that still stand, and those about records that are superseded by now.
    """
    sql = f"{_EARLIER} AND r.subject_id IN {_CONCERNED}"
    buckets = {"low": first_bucket, "high": end_bucket, "first": span.first_seq}
    return _typed(load_columns(session, sql, EARLIER_ROWS, **_until(span), **buckets))


def load_subjects_earlier(session: Session, span: Span, subject_ids: list[int]) -> pl.DataFrame:
    """Load what earlier windows decided about some people, in the same shape."""
    return _typed(
        load_by_ids(session, f"{_EARLIER} AND r.subject_id IN :ids", EARLIER_ROWS, subject_ids, **_until(span))
    )


def load_sharers(
    session: Session, span: Span, keys: list[int], behaviours: list[str]
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Load the standing records of shared acts with these event keys (as stored), up to the span's end.

    Args:
        behaviours: of our own list; whose acts people share.

    Returns:
        QUANTIFIED of the window, and of earlier windows the same plus event_id, verdict, counted_mg.
    """
    # Written out, because a database uses the index of one behaviour only where it reads the same word.
    words = " OR ".join(f"r.behaviour = '{code}'" for code in behaviours) or "1 = 0"
    which = f"({words}) AND r.event_key IN :ids"
    sql = (
        f"SELECT {_COLUMNS}, {_MORE} FROM reduction_record r JOIN source_record s USING (record_id) "
        f"WHERE r.window_id = :w AND {which}"
    )
    new = _typed(load_by_ids(session, sql, RECORD_ROWS, keys, w=span.window_id))
    earlier = _typed(load_by_ids(session, f"{_EARLIER} AND {which}", EARLIER_ROWS, keys, **_until(span)))
    stands = (pl.col("superseded_by").is_null() | (pl.col("superseded_by") > span.last_seq)) & ~pl.col("cancelled")
    live = earlier.filter(stands & ~pl.col("taken_back"))
    return (
        new.filter(stands).select(list(QUANTIFIED_SCHEMA)),
        live.select(*QUANTIFIED_SCHEMA, "event_id", "verdict", "counted_mg"),
    )


_EARLIER = (
    f"SELECT {_COLUMNS}, {_MORE}, d.event_id, d.verdict, d.reason, d.counted_mg, d.canonical_record_id, "
    "v.event_id IS NOT NULL FROM reduction_record r "
    "JOIN decision d USING (record_id) JOIN source_record s USING (record_id) "
    "LEFT JOIN event_reversal v ON v.event_id = d.event_id WHERE d.window_id < :w AND d.provisional = :no "
    "AND ((v.event_id IS NULL AND d.verdict <> 'rejected') OR s.superseded_by <= :last)"
)


def _until(span: Span) -> dict[str, Any]:
    return {"w": span.window_id, "no": False, "last": span.last_seq}


def take_dirty(session: Session, limit: int) -> pl.DataFrame:
    """Return some dirty subjects with their marks; they stay dirty until `clean_dirty`."""
    sql = "SELECT subject_id, marks FROM dirty_subject ORDER BY subject_id LIMIT :n"
    return load_frame(session, sql, {"subject_id": pl.Int64(), "marks": pl.Int64()}, n=limit)


def clean_dirty(session: Session, dirty: pl.DataFrame) -> None:
    """Forget the marks that were there when work began; a mark added meanwhile keeps its subject dirty."""
    session.execute(
        text("DELETE FROM dirty_subject WHERE subject_id = :subject_id AND marks = :marks"),
        list(dirty.iter_rows(named=True)),
    )


def replace_provisional(session: Session, window_id: int, subject_ids: list[int]) -> None:
    """Drop the provisional decisions and events of these subjects in a window that is not cleared yet."""
    for table in ("decision", "event"):
        gone = text(f"DELETE FROM {table} WHERE window_id = :w AND subject_id IN :ids AND provisional = :yes")
        for start in range(0, len(subject_ids), INSERT_CHUNK):
            some = subject_ids[start : start + INSERT_CHUNK]
            session.execute(
                gone.bindparams(bindparam("ids", expanding=True)), {"w": window_id, "ids": some, "yes": True}
            )


def append_decisions(
    session: Session, decisions: pl.DataFrame, window_id: int, *, policy: str, provisional: bool
) -> None:
    """Store decisions (DECISION columns plus subject_id)."""
    rows = decisions.select(
        "record_id", "subject_id", "event_id", "verdict", "rule", "reason", "counted_mg", "canonical_record_id",
        window_id=pl.lit(window_id), policy=pl.lit(policy), provisional=pl.lit(provisional),
    )  # fmt: skip
    append_frame(session, "decision", rows)


def append_events(session: Session, events: pl.DataFrame, window_id: int, *, provisional: bool) -> None:
    """Store events (EVENT columns)."""
    rows = events.select(
        "event_id", "subject_id", "behaviour", "mg", "records", "policy", "methodology",
        start_us=pl.col("start_at").dt.timestamp("us"), end_us=pl.col("end_at").dt.timestamp("us"),
        window_id=pl.lit(window_id), provisional=pl.lit(provisional),
    )  # fmt: skip
    append_frame(session, "event", rows)


def append_reversals(session: Session, reversals: pl.DataFrame, window_id: int) -> None:
    """Store that events no longer count (event_id, by_record_id, reason, decided_anew)."""
    rows = reversals.select("event_id", "by_record_id", "reason", "decided_anew", window_id=pl.lit(window_id))
    append_frame(session, "event_reversal", rows)


def load_positions(session: Session, window_id: int | None = None) -> pl.DataFrame:
    """Sum decisions per platform: those of one window, or the newest about each record."""
    verdicts = ("duplicate", "overlapped", "held", "rejected")
    counts = ", ".join(f"CAST(SUM(CASE WHEN d.verdict = '{v}' THEN 1 ELSE 0 END) AS BIGINT)" for v in verdicts)
    sql = (
        "SELECT r.platform, COUNT(*), CAST(COALESCE(SUM(CASE WHEN s.superseded_by IS NULL THEN r.claimed_mg END), 0) AS BIGINT), "
        "CAST(COALESCE(SUM(CASE WHEN v.event_id IS NOT NULL THEN 0 WHEN d.record_id = d.event_id "
        "THEN d.counted_mg - COALESCE(j.taken_mg, 0) ELSE d.counted_mg END), 0) AS BIGINT), "
        f"{counts} FROM decision d JOIN reduction_record r USING (record_id) JOIN source_record s USING (record_id) "
        "LEFT JOIN event_reversal v ON v.event_id = d.event_id LEFT JOIN event_adjusted j ON j.event_id = d.event_id "
        f"WHERE {NEWEST if window_id is None else 'd.window_id = :w'} GROUP BY r.platform ORDER BY r.platform"
    )
    schema = {"platform": pl.String()} | dict.fromkeys(("records", "claimed_mg", "counted_mg", *verdicts), pl.Int64())
    window = {} if window_id is None else {"w": window_id}
    found = load_frame(session, sql, schema, **window)
    moved = _load_reattributed(session, window_id)
    if moved.is_empty():
        return found
    both = found.join(moved, on="platform", how="full", coalesce=True).with_columns(pl.exclude("platform").fill_null(0))
    return both.with_columns(counted_mg=pl.col("counted_mg") + pl.col("moved_mg")).drop("moved_mg").sort("platform")


def _load_reattributed(session: Session, window_id: int | None) -> pl.DataFrame:
    """Sum what staff moved of events that still count, by platform: platform, moved_mg (below zero for who lost)."""
    which = "" if window_id is None else "AND e.window_id = :w "
    sql = (
        "SELECT r.platform, j.platform, e.mg - j.taken_mg FROM event_adjusted j JOIN event e ON e.event_id = j.event_id "
        "JOIN reduction_record r ON r.record_id = e.event_id LEFT JOIN event_reversal v ON v.event_id = e.event_id "
        f"WHERE j.platform <> r.platform AND v.event_id IS NULL {which}"
    )
    schema = {"lost": pl.String(), "got": pl.String(), "mg": pl.Int64()}
    moves = load_frame(session, sql, schema, **({} if window_id is None else {"w": window_id}))
    sides = [moves.select(platform="lost", mg=-pl.col("mg")), moves.select(platform="got", mg="mg")]
    return pl.concat(sides).group_by("platform").agg(moved_mg=pl.col("mg").sum())


def _typed(frame: pl.DataFrame) -> pl.DataFrame:
    """Turn stored columns into the kernel's: instants from microseconds, keys back to unsigned."""
    time = pl.Datetime("us", "UTC")
    rest = [name for name in frame.columns if name not in QUANTIFIED_SCHEMA and name not in ("start_us", "end_us")]
    return frame.with_columns(
        start_at=pl.col("start_us").cast(time),
        end_at=pl.col("end_us").cast(time),
        event_key=pl.col("event_key").reinterpret(signed=False),
        payment_key=pl.col("payment_key").reinterpret(signed=False),
    ).select([*QUANTIFIED_SCHEMA, *rest])
