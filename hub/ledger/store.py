"""The ledger's store. I/O: the database, inside the caller's transaction.

Durable when that transaction commits. Entries are only appended; the unique key (kind, window, source) makes posting
the same cause twice an error instead of a second entry.
"""

from datetime import datetime

import polars as pl
from sqlalchemy import text
from sqlalchemy.orm import Session

from hub.columns import instant_text
from hub.db import append_frame, load_by_ids, load_frame, next_sequence

ACCOUNT_SCHEMA = {
    "account_id": pl.Int64(),
    "account_kind": pl.String(),
    "subject_id": pl.Int64(),
    "platform": pl.String(),
}


def append_entries(session: Session, entries: pl.DataFrame, sides: pl.DataFrame, now: datetime) -> int:
    """Post entries with their sides; returns how many entries.

    Args:
        entries: postings.ENTRY_SCHEMA. sides: postings.SIDE_SCHEMA; the sides of each entry sum to zero.
    """
    if entries.is_empty():
        return 0
    entries = entries.with_columns(entry_id=pl.Series(next_sequence(session, "entry", len(entries)), dtype=pl.Int64()))
    sides = sides.join(entries.select("kind", "source_id", "entry_id"), on=["kind", "source_id"], how="inner")
    unbalanced = sides.group_by("entry_id").agg(pl.col("mg").sum()).filter(pl.col("mg") != 0)
    if not unbalanced.is_empty():
        raise AssertionError(f"{len(unbalanced)} entries do not sum to zero")
    accounts = _require_accounts(session, sides)
    sides = sides.join(accounts, on=["account_kind", "subject_id", "platform"], how="inner", nulls_equal=True)
    append_frame(session, "journal_entry", entries.with_columns(posted_at=pl.lit(instant_text(session, now))))
    append_frame(session, "posting", sides.select("entry_id", "line", "account_id", "window_id", "vintage", "mg"))
    return len(entries)


def load_pending(session: Session, window_id: int) -> pl.DataFrame:
    """Load what is pending in a window: subject_id, vintage, mg; balances of zero are left out."""
    sql = (
        "SELECT a.subject_id, p.vintage, CAST(SUM(p.mg) AS BIGINT) FROM posting p JOIN account a USING (account_id) "
        "WHERE p.window_id = :w AND a.kind = 'pending' GROUP BY a.subject_id, p.vintage HAVING SUM(p.mg) <> 0 "
        "ORDER BY a.subject_id, p.vintage"
    )
    schema = {"subject_id": pl.Int64(), "vintage": pl.Int64(), "mg": pl.Int64()}
    return load_frame(session, sql, schema, w=window_id)


def load_issued(session: Session, event_ids: list[int]) -> pl.DataFrame:
    """Load the issue entries of events as `postings.reverse` wants them; events that issued nothing are left out."""
    sql = (
        "SELECT e.source_id, e.entry_id, s.subject_id, f.platform, ps.window_id, ps.vintage, ps.mg, "
        "CASE WHEN q.erased_at IS NOT NULL THEN 'forfeited' WHEN w.state = 'final' THEN 'held' ELSE 'pending' END "
        "FROM journal_entry e JOIN posting ps ON ps.entry_id = e.entry_id AND ps.line = 1 "
        "JOIN posting pf ON pf.entry_id = e.entry_id AND pf.line = 0 "
        "JOIN account s ON s.account_id = ps.account_id JOIN account f ON f.account_id = pf.account_id "
        "JOIN clearing_window w ON w.window_id = e.window_id LEFT JOIN person q ON q.subject_id = s.subject_id "
        "WHERE e.kind = 'issue' AND e.source_id IN :ids"
    )
    schema = {
        "event_id": pl.Int64(), "entry_id": pl.Int64(), "subject_id": pl.Int64(), "platform": pl.String(),
        "issue_window": pl.Int64(), "vintage": pl.Int64(), "mg": pl.Int64(), "held_as": pl.String(),
    }  # fmt: skip
    return load_by_ids(session, sql, schema, event_ids)


def load_usable(session: Session, subject_id: int) -> pl.DataFrame:
    """Load what a person has and has not used: account_kind, window_id, vintage, mg; balances of zero are left out."""
    sql = (
        "SELECT a.kind, p.window_id, p.vintage, CAST(SUM(p.mg) AS BIGINT) FROM posting p JOIN account a USING (account_id) "
        "WHERE a.subject_id = :s AND a.kind IN ('pending', 'held', 'reserved') "
        "GROUP BY a.kind, p.window_id, p.vintage HAVING SUM(p.mg) <> 0 ORDER BY a.kind, p.window_id, p.vintage"
    )
    schema = {"account_kind": pl.String(), "window_id": pl.Int64(), "vintage": pl.Int64(), "mg": pl.Int64()}
    return load_frame(session, sql, schema, s=subject_id)


def load_balances(session: Session, subject_id: int) -> dict[str, int]:
    """Return a person's grams by state, in milligrams: pending, held."""
    rows = session.execute(
        text(
            "SELECT a.kind, CAST(COALESCE(SUM(p.mg), 0) AS BIGINT) FROM account a LEFT JOIN posting p USING (account_id) "
            "WHERE a.subject_id = :s GROUP BY a.kind"
        ),
        {"s": subject_id},
    )
    return {"pending": 0, "held": 0} | {kind: int(mg) for kind, mg in rows}


def total_held(session: Session) -> int:
    """Return the milligrams that all people hold."""
    sql = "SELECT COALESCE(SUM(p.mg), 0) FROM posting p JOIN account a USING (account_id) WHERE a.kind = 'held'"
    return int(session.execute(text(sql)).scalar_one())


def _require_accounts(session: Session, sides: pl.DataFrame) -> pl.DataFrame:
    """Return the account of each side's owner, opening those that are missing."""
    wanted = sides.select("account_kind", "subject_id", "platform").unique(maintain_order=True)
    known = _load_accounts(session, wanted)
    on = ["account_kind", "subject_id", "platform"]
    missing = wanted.join(known, on=on, how="anti", nulls_equal=True)
    if missing.is_empty():
        return known
    numbers = pl.Series("n", next_sequence(session, "account", len(missing)), dtype=pl.Int64())
    session.execute(
        text(
            "INSERT INTO account (account_id, kind, subject_id, platform) "
            "VALUES (:n, :account_kind, :subject_id, :platform) ON CONFLICT DO NOTHING"
        ),
        missing.with_columns(numbers).to_dicts(),
    )
    return _load_accounts(session, wanted)


def _load_accounts(session: Session, wanted: pl.DataFrame) -> pl.DataFrame:
    people = wanted["subject_id"].drop_nulls().unique().to_list()
    platforms = wanted["platform"].drop_nulls().unique().to_list()
    sql = "SELECT account_id, kind, subject_id, platform FROM account WHERE {} IN :ids"
    return pl.concat(
        [
            load_by_ids(session, sql.format("subject_id"), ACCOUNT_SCHEMA, people),
            load_by_ids(session, sql.format("platform"), ACCOUNT_SCHEMA, platforms),
        ]
    )
