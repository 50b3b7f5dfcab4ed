"""The acts that an attestation adds up. I/O: reads the database, inside the caller's transaction.

What an act was credited with and what was taken back of it is read from the ledger's `activity` side, whoever holds or has
used the grams since: an act whose grams are redeemed was cleared all the same.
"""

from collections.abc import Sequence
from datetime import datetime

import polars as pl
from sqlalchemy.orm import Session

from consent.grants import Grant
from hub.attestations.content import ACTS_SCHEMA
from hub.db import load_by_ids, load_frame
from hub.disclosure import load_shared

# Every act that counts now: cleared, and not taken back as a whole.
_LIVE = (
    "SELECT e.event_id FROM event e LEFT JOIN event_reversal v ON v.event_id = e.event_id "
    "WHERE e.subject_id = :s AND e.provisional = :no AND v.event_id IS NULL"
)
_ACTS = (
    "SELECT e.event_id, e.start_us, e.behaviour, r.platform, r.region, e.methodology, e.policy, "
    "CASE WHEN w.state = 'final' THEN 1 ELSE 0 END, e.mg FROM event e "
    "JOIN reduction_record r ON r.record_id = e.event_id JOIN clearing_window w ON w.window_id = e.window_id "
    "WHERE e.event_id IN :ids"
)
# An event's issue stands in the event's own window, which is how its index finds it.
_ISSUE = (
    "FROM event e JOIN journal_entry i ON i.kind = 'issue' AND i.window_id = e.window_id AND i.source_id = e.event_id "
    "{more} JOIN account a ON a.account_id = p.account_id AND a.kind = 'activity' WHERE e.event_id IN :ids"
)
_MOVED = (
    "SELECT x.event_id, CAST(SUM(x.issued) AS BIGINT), CAST(SUM(x.back) AS BIGINT) FROM ("
    "SELECT e.event_id, -p.mg AS issued, 0 AS back "
    + _ISSUE.format(more="JOIN posting p ON p.entry_id = i.entry_id")
    + " UNION ALL SELECT e.event_id, 0, p.mg "
    + _ISSUE.format(more="JOIN journal_entry j ON j.reverses = i.entry_id JOIN posting p ON p.entry_id = j.entry_id")
    + ") x GROUP BY x.event_id"
)
_ACT_COLUMNS = {name: kind for name, kind in ACTS_SCHEMA.items() if name not in ("issued_mg", "back_mg", "final")}
_MOVED_COLUMNS = {"event_id": pl.Int64(), "issued_mg": pl.Int64(), "back_mg": pl.Int64()}


def load_own_acts(session: Session, subject_id: int) -> pl.DataFrame:
    """Load all cleared acts of a person: ACTS_SCHEMA, by number."""
    found = load_frame(session, _LIVE, {"event_id": pl.Int64()}, s=subject_id, no=False)
    return _load(session, found["event_id"].to_list())


def load_shared_acts(session: Session, grant: Grant, *, now: datetime) -> pl.DataFrame:
    """Load the cleared acts that the recipient of a grant may see now: ACTS_SCHEMA, by number.

    The grant is held until the transaction ends: a withdrawal comes before what is written on it, or finds it written.
    """
    shown = load_shared(session, grant, now=now, hold=True).events.filter(pl.col("state") != "provisional")
    return _load(session, shown["event_id"].to_list())


def _load(session: Session, event_ids: Sequence[int]) -> pl.DataFrame:
    columns = {name: _ACT_COLUMNS[name] for name in _ACT_COLUMNS if name != "mg"} | {
        "final": pl.Int64(),
        "mg": pl.Int64(),
    }
    acts = load_by_ids(session, _ACTS, columns, list(event_ids))
    moved = load_by_ids(session, _MOVED, _MOVED_COLUMNS, list(event_ids))
    whole = acts.join(moved, on="event_id", how="left").with_columns(
        pl.col("final").cast(pl.Boolean), pl.col("issued_mg").fill_null(0), pl.col("back_mg").fill_null(0)
    )
    return whole.select(list(ACTS_SCHEMA)).sort("event_id")
