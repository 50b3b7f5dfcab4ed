"""The acts of final windows, whole columns at a time. I/O: reads the database, inside the caller's transaction.

An act is an event that counts for something: final, of more than 0 mg, named by its canonical record, whose place it has.
"""

import json
from typing import Any

import polars as pl
from sqlalchemy import text
from sqlalchemy.orm import Session

from hub.columns import load_columns
from hub.db import is_postgresql, load_frame
from hub.totals.taking import ACT_SCHEMA, MEMBERSHIP_SCHEMA, OWN_SCHEMA, PROGRAMME_SCHEMA
from standards.behaviours import load_behaviours

LOADED_SCHEMA: dict[str, Any] = {
    **ACT_SCHEMA, "window_id": pl.Int64(), "mg": pl.Int64(), "acts": pl.Int64(), "reversed_in": pl.Int64(),
}  # fmt: skip
USE_SCHEMA: dict[str, Any] = {
    "subject_id": pl.Int64(), "used_as": pl.String(), "window_id": pl.Int64(), "posted_us": pl.Int64(), "mg": pl.Int64(),
}  # fmt: skip
USED = ("redeemed", "transferred", "retired")
"""Accounts onto which grams are used up; `hub/ledger/postings.py` lists the kinds."""
# An act of which a part was taken back is told as two: what is left of it, and the part, which is no act of its own.
_ACTS = (
    "SELECT e.event_id, e.subject_id, e.start_us, e.behaviour, r.region, e.window_id, e.mg - COALESCE(j.taken_mg, 0), 1, "
    "v.window_id FROM event e JOIN reduction_record r ON r.record_id = e.event_id "
    "LEFT JOIN event_adjusted j ON j.event_id = e.event_id LEFT JOIN event_reversal v ON v.event_id = e.event_id "
    "WHERE e.provisional = :no AND e.mg > 0 AND {which} UNION ALL "
    "SELECT e.event_id, e.subject_id, e.start_us, e.behaviour, r.region, e.window_id, v.mg, 0, v.window_id "
    "FROM event e JOIN reduction_record r ON r.record_id = e.event_id JOIN adjustment v ON v.event_id = e.event_id "
    "WHERE v.posted_as = 'adjust' AND v.to_platform IS NULL AND e.provisional = :no AND {which}"
)


def load_last_final(session: Session) -> int:
    """Return the newest window up to which all are final; 0 if none is."""
    sql = (
        "SELECT COALESCE(MAX(window_id), 0) FROM clearing_window WHERE state = 'final' AND window_id < "
        "COALESCE((SELECT MIN(window_id) FROM clearing_window WHERE state <> 'final'), 2147483647)"
    )
    return int(session.execute(text(sql)).scalar_one())


def load_acts(
    session: Session, *, first: int, last: int, since_us: int = -(2**62), until_us: int = 2**62
) -> pl.DataFrame:
    """Load the acts of a range of windows (both ends included) that began from `since_us` to before `until_us`.

    Returns:
        LOADED_SCHEMA; `reversed_in` is the window that took it back, of those that are cleared; `acts` is 0 for a part of an
        event that was taken back by itself, and 1 for what is left of it.
    """
    which = "e.window_id >= :first AND e.window_id <= :last AND e.start_us >= :since AND e.start_us < :until"
    params = {"first": first, "last": last, "since": since_us, "until": until_us, "no": False}
    return load_columns(session, _ACTS.format(which=which), LOADED_SCHEMA, **params)


def load_reversed(session: Session, *, first: int, last: int) -> pl.DataFrame:
    """Load the acts that a range of windows took back: LOADED_SCHEMA."""
    which = "v.window_id >= :first AND v.window_id <= :last"
    return load_columns(session, _ACTS.format(which=which), LOADED_SCHEMA, first=first, last=last, no=False)


def load_acts_of(session: Session, subject_id: int, *, last: int) -> pl.DataFrame:
    """Load one person's acts of final windows: LOADED_SCHEMA."""
    which = "e.subject_id = :s AND e.window_id <= :last"
    return load_columns(session, _ACTS.format(which=which), LOADED_SCHEMA, s=subject_id, last=last, no=False)


def load_uses(session: Session, *, first: int, last: int) -> pl.DataFrame:
    """Load what people used up in entries of a range of windows: USE_SCHEMA; less than nothing where a use was undone."""
    posted = _micros(session, "e.posted_at")
    kinds = ", ".join(f"'{kind}'" for kind in USED)
    sql = (
        f"SELECT a.subject_id, a.kind, e.window_id, {posted}, p.mg FROM journal_entry e "
        "JOIN posting p ON p.entry_id = e.entry_id JOIN account a ON a.account_id = p.account_id "
        f"WHERE e.window_id >= :first AND e.window_id <= :last AND a.kind IN ({kinds}) AND a.subject_id IS NOT NULL"
    )
    return load_columns(session, sql, USE_SCHEMA, first=first, last=last)


def load_own(
    session: Session, programmes: pl.DataFrame, *, first: int, last: int, subject_id: int | None = None
) -> pl.DataFrame:
    """Load which acts of a range of windows were reported by participants whose programmes take their own: OWN_SCHEMA.

    Args:
        subject_id: ask about one person's acts only.
    """
    platforms = programmes.filter("own_file")["participant"].unique().sort().to_list()
    parts = [pl.DataFrame(schema=OWN_SCHEMA)]
    for platform in platforms:
        sql = (
            "SELECT d.event_id, MIN(r.platform), MIN(d.window_id) FROM decision d "
            "JOIN reduction_record r ON r.record_id = d.record_id WHERE r.platform = :platform AND d.provisional = :no "
            "AND d.verdict IN ('counted', 'duplicate') AND d.window_id >= :first AND d.window_id <= :last "
        )
        params: dict[str, Any] = {"platform": platform, "no": False, "first": first, "last": last}
        if subject_id is not None:
            sql, params = sql + "AND d.subject_id = :s ", {**params, "s": subject_id}
        parts.append(load_columns(session, sql + "GROUP BY d.event_id", OWN_SCHEMA, **params))
    return pl.concat(parts)


def load_programme_rules(session: Session) -> pl.DataFrame:
    """Load what every programme takes: PROGRAMME_SCHEMA; there are few."""
    rows = session.execute(
        text(
            "SELECT programme_id, since, until, regions, behaviours, own_file, participant_id, closed_after "
            "FROM programme ORDER BY programme_id"
        )
    ).all()
    told = [
        (one, _number(since), _number(until), json.loads(regions), json.loads(codes), bool(own), participant, closed)
        for one, since, until, regions, codes, own, participant, closed in rows
    ]
    return pl.DataFrame(told, schema=PROGRAMME_SCHEMA, orient="row")


def load_memberships(session: Session, subject_id: int | None = None) -> pl.DataFrame:
    """Load who joined what and left it, everybody or one person: MEMBERSHIP_SCHEMA."""
    joined = _micros(session, "joined_at")
    sql = (
        f"SELECT membership_id, programme_id, subject_id, {joined}, joined_after, left_after FROM programme_membership"
    )
    which, params = ("", {}) if subject_id is None else (" WHERE subject_id = :s", {"s": subject_id})
    return load_frame(session, sql + which, MEMBERSHIP_SCHEMA, **params)


def categories() -> pl.DataFrame:
    """Return the category of every behaviour: behaviour, category."""
    known = [(one.code, one.category) for one in load_behaviours().values()]
    return pl.DataFrame(known, schema={"behaviour": pl.String(), "category": pl.String()}, orient="row")


def _micros(session: Session, column: str) -> str:
    """Return SQL for a stored time as whole microseconds since 1970."""
    if is_postgresql(session):
        return f"CAST(EXTRACT(EPOCH FROM {column}) * 1000000 AS BIGINT)"
    # Without the fraction: SQLite rounds it to milliseconds, and .9996 would become the next second.
    whole = f"CAST(strftime('%s', substr({column}, 1, 19)) AS BIGINT) * 1000000"
    return f"({whole} + CAST(substr({column}, 21, 6) AS BIGINT))"


def _number(day: Any) -> int:
    """A day as yyyymmdd; SQLite gives it as text where no model is asked."""
    return int(str(day).replace("-", ""))
