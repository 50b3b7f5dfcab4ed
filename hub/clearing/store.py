"""What clearing reads and writes. I/O: the database, inside the caller's transaction.

Decisions and events of an open window are provisional and are rewritten as a whole, subject by subject; those of a
cleared window are never touched again (a reversal is a row of its own).
"""

from typing import Any

import polars as pl
from sqlalchemy import text
from sqlalchemy.orm import Session

from hub.db import append_frame, load_by_ids, load_frame
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
    "superseded_by": pl.Int64(),
    "cancelled": pl.Boolean(),
    "methodology": pl.String(),
}
LIVE_ROWS = {name: _STORED[name] for name in _ORDER} | {
    "event_id": pl.Int64(),
    "verdict": pl.String(),
    "counted_mg": pl.Int64(),
    "canonical_record_id": pl.Int64(),
}


def load_window_records(session: Session, window_id: int, *, first_bucket: int, end_bucket: int) -> pl.DataFrame:
    """Load a window's records of some buckets: QUANTIFIED columns plus superseded_by, cancelled and methodology."""
    sql = (
        f"SELECT {_COLUMNS}, s.superseded_by, s.cancelled, r.methodology "
        "FROM reduction_record r JOIN source_record s USING (record_id) "
        "WHERE r.window_id = :w AND r.bucket >= :first AND r.bucket < :end"
    )
    return _typed(load_frame(session, sql, RECORD_ROWS, w=window_id, first=first_bucket, end=end_bucket))


def load_subject_records(session: Session, window_id: int, subject_ids: list[int]) -> pl.DataFrame:
    """Load a window's records of some subjects, in the same shape."""
    sql = (
        f"SELECT {_COLUMNS}, s.superseded_by, s.cancelled, r.methodology "
        "FROM reduction_record r JOIN source_record s USING (record_id) WHERE r.window_id = :w AND r.subject_id IN :ids"
    )
    return _typed(load_by_ids(session, sql, RECORD_ROWS, subject_ids, w=window_id))


def load_live(session: Session, window_id: int, subject_ids: list[int], *, last_seq: int) -> pl.DataFrame:
    """Load the subjects' records that earlier windows cleared and that still stand, with their decisions.

    Records of reversed events, versions superseded up to `last_seq`, and what only a person's own document told, are left
    out: they claim nothing, and who tells of the act now may count.
    """
    sql = (
        f"SELECT {_COLUMNS}, d.event_id, d.verdict, d.counted_mg, d.canonical_record_id FROM reduction_record r "
        "JOIN decision d USING (record_id) JOIN source_record s USING (record_id) "
        "LEFT JOIN event_reversal v ON v.event_id = d.event_id "
        "WHERE r.subject_id IN :ids AND d.window_id < :w AND d.provisional = :no AND d.verdict <> 'rejected' "
        "AND d.reason <> 'declared_only' AND v.event_id IS NULL AND (s.superseded_by IS NULL OR s.superseded_by > :last)"
    )
    return _typed(load_by_ids(session, sql, LIVE_ROWS, subject_ids, w=window_id, no=False, last=last_seq))


def load_predecessors(session: Session, record_ids: list[int], window_id: int) -> pl.DataFrame:
    """Load the cleared decisions that these records supersede: by_record_id, record_id, event_id, verdict."""
    sql = (
        "SELECT s.superseded_by, d.record_id, d.event_id, d.verdict FROM source_record s JOIN decision d USING (record_id) "
        "WHERE s.superseded_by IN :ids AND d.window_id < :w AND d.provisional = :no"
    )
    schema = {"by_record_id": pl.Int64(), "record_id": pl.Int64(), "event_id": pl.Int64(), "verdict": pl.String()}
    return load_by_ids(session, sql, schema, record_ids, w=window_id, no=False)


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
        for subject_id in subject_ids:
            session.execute(
                text(f"DELETE FROM {table} WHERE window_id = :w AND subject_id = :s AND provisional = :yes"),
                {"w": window_id, "s": subject_id, "yes": True},
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
    """Store that events no longer count (event_id, by_record_id, reason)."""
    rows = reversals.select("event_id", "by_record_id", "reason", window_id=pl.lit(window_id))
    append_frame(session, "event_reversal", rows)


def load_positions(session: Session, window_id: int | None = None) -> pl.DataFrame:
    """Sum decisions per platform, over one window or over all."""
    verdicts = ("duplicate", "overlapped", "held", "rejected")
    counts = ", ".join(f"CAST(SUM(CASE WHEN d.verdict = '{v}' THEN 1 ELSE 0 END) AS BIGINT)" for v in verdicts)
    sql = (
        "SELECT r.platform, COUNT(*), CAST(COALESCE(SUM(CASE WHEN s.superseded_by IS NULL THEN r.claimed_mg END), 0) AS BIGINT), "
        "CAST(COALESCE(SUM(CASE WHEN v.event_id IS NULL THEN d.counted_mg ELSE 0 END), 0) AS BIGINT), "
        f"{counts} FROM decision d JOIN reduction_record r USING (record_id) JOIN source_record s USING (record_id) "
        "LEFT JOIN event_reversal v ON v.event_id = d.event_id "
        f"{'WHERE d.window_id = :w' if window_id is not None else ''} GROUP BY r.platform ORDER BY r.platform"
    )
    schema = {"platform": pl.String()} | dict.fromkeys(("records", "claimed_mg", "counted_mg", *verdicts), pl.Int64())
    return load_frame(session, sql, schema, **({} if window_id is None else {"w": window_id}))


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
