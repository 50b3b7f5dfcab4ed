"""Holds that wait for a reviewer, what stands about one record, and what reviewers released. I/O: reads the database."""

from typing import Any

import polars as pl
from sqlalchemy import text
from sqlalchemy.orm import Session

from hub.clearing.reviews.reviews import Standing
from hub.clearing.store import NEWEST
from hub.columns import load_columns
from hub.db import load_by_ids, load_frame

ACTS: dict[str, Any] = {
    "record_id": pl.Int64(), "event_id": pl.Int64(), "window_id": pl.Int64(), "subject_id": pl.Int64(),
    "platform": pl.String(), "role": pl.String(), "behaviour": pl.String(), "precision": pl.String(),
    "start_us": pl.Int64(), "end_us": pl.Int64(), "quantity_micro": pl.Int64(), "unit": pl.String(),
    "region": pl.Int64(), "reference_mg": pl.Int64(), "verdict": pl.String(), "rule": pl.String(), "reason": pl.String(),
}  # fmt: skip
"""Reports with their settled decision, the newest each."""
_ACTS = (
    "SELECT r.record_id, d.event_id, d.window_id, r.subject_id, r.platform, r.role, r.behaviour, r.precision, r.start_us, "
    "r.end_us, r.quantity_micro, r.unit, r.region, r.reference_mg, d.verdict, d.rule, d.reason "
    "FROM decision d JOIN reduction_record r ON r.record_id = d.record_id "
    "JOIN source_record s ON s.record_id = d.record_id JOIN person p ON p.subject_id = r.subject_id "
    "LEFT JOIN event_reversal v ON v.event_id = d.event_id LEFT JOIN hold_review h ON h.event_id = d.event_id "
    f"WHERE {NEWEST} AND d.provisional = :no AND v.event_id IS NULL AND s.superseded_by IS NULL "
    "AND s.cancelled = :no AND p.erased_at IS NULL"
)
_IN_WINDOW: dict[str, Any] = {
    "platform": pl.String(), "behaviour": pl.String(), "unit": pl.String(), "subject_id": pl.Int64(),
    "start_us": pl.Int64(), "quantity_micro": pl.Int64(), "reference_mg": pl.Int64(), "verdict": pl.String(),
}  # fmt: skip


def load_released(session: Session, window_id: int) -> pl.DataFrame:
    """Load the versions of a window that stand for released holds: record_id, event_id (the one that was held).

    A restatement tells the same version again under other amounts, so the release holds for it too; what a platform
    corrects is another version, and is doubted anew.
    """
    sql = (
        "SELECT n.record_id, h.event_id FROM hold_review h JOIN source_record o ON o.record_id = h.record_id "
        "JOIN source_record n ON n.platform = o.platform AND n.stream = o.stream AND n.source_id = o.source_id "
        "AND n.version = o.version AND n.record_id >= o.record_id WHERE h.outcome = 'released' AND n.window_id = :w "
        "ORDER BY n.record_id"
    )
    return load_frame(session, sql, {"record_id": pl.Int64(), "event_id": pl.Int64()}, w=window_id)


def load_standing(session: Session, record_id: int) -> Standing | None:
    """Load what stands about one record; None if there is none."""
    row = session.execute(
        text(
            "SELECT s.record_id, s.subject_id, d.event_id, d.verdict, d.rule, d.reason, d.provisional, "
            "v.event_id IS NOT NULL, s.superseded_by IS NOT NULL, s.cancelled, p.erased_at IS NOT NULL, h.outcome "
            "FROM source_record s JOIN person p ON p.subject_id = s.subject_id "
            f"LEFT JOIN decision d ON d.record_id = s.record_id AND {NEWEST} "
            "LEFT JOIN event_reversal v ON v.event_id = d.event_id LEFT JOIN hold_review h ON h.event_id = d.event_id "
            "WHERE s.record_id = :r"
        ),
        {"r": record_id},
    ).one_or_none()
    if row is None:
        return None
    record, subject, event, verdict, rule, reason, *flags, reviewed = row
    provisional, taken_back, superseded, cancelled, erased = (bool(flag) for flag in flags)
    return Standing(
        record_id=record, subject_id=subject, event_id=event, verdict=verdict, rule=rule, reason=reason,
        provisional=provisional, taken_back=taken_back, superseded=superseded, cancelled=cancelled, erased=erased,
        reviewed=reviewed,
    )  # fmt: skip


def load_open_holds(session: Session, window_id: int | None = None) -> pl.DataFrame:
    """Load the held acts that nobody has decided about (ACTS, one row an act), of one window or of all.

    Args:
        window_id: the window that held them.
    """
    sql = f"{_ACTS} AND d.verdict = 'held' AND d.event_id = d.record_id AND h.event_id IS NULL"
    limits = {} if window_id is None else {"w": window_id}
    sql += "" if window_id is None else " AND d.window_id = :w"
    return load_columns(session, sql, ACTS, no=False, **limits).sort("record_id")


def load_acts(session: Session, subject_ids: list[int]) -> pl.DataFrame:
    """Load all that stands of some people (ACTS): what a hold is to be seen beside."""
    return load_by_ids(session, f"{_ACTS} AND r.subject_id IN :ids", ACTS, subject_ids, no=False)


def load_window(session: Session, window_id: int) -> pl.DataFrame:
    """Load what a cleared window decided about the records that came in it, for its figures by platform.

    Returns:
        platform, behaviour, unit, subject_id, start_us, quantity_micro, reference_mg, verdict.
    """
    sql = (
        "SELECT r.platform, r.behaviour, r.unit, r.subject_id, r.start_us, r.quantity_micro, r.reference_mg, d.verdict "
        "FROM decision d JOIN reduction_record r ON r.record_id = d.record_id AND r.window_id = d.window_id "
        "WHERE d.window_id = :w AND d.provisional = :no"
    )
    return load_columns(session, sql, _IN_WINDOW, w=window_id, no=False)
