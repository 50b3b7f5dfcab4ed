"""What people allow a market's client to pool: everybody at once. I/O: the database, inside the caller's transaction.

The rule is that of `hub/disclosure.py` for one person: a row is allowed if the guard permits it (purpose pool, this client)
and a granted detail names its action, platform, behaviour and day.
"""

from datetime import datetime

import polars as pl
from sqlalchemy.orm import Session

from consent.details import load_details
from consent.guard import permit
from consent.terms import Purpose
from hub.columns import load_columns
from hub.db import is_postgresql, load_frame
from hub.disclosure import named_by
from hub.ledger.postings import vintage_of
from hub.market.pooling import HELD_SCHEMA

ACTION = "pool"
ALLOWED_SCHEMA = {"subject_id": pl.Int64(), "window_id": pl.Int64(), "vintage": pl.Int64(), "mg": pl.Int64()}
_EVENT_SCHEMA = {
    "subject_id": pl.Int64(), "window_id": pl.Int64(), "start_us": pl.Int64(), "behaviour": pl.String(),
    "platform": pl.String(), "mg": pl.Int64(),
}  # fmt: skip
_WILLING = "(SELECT subject_id FROM grant_current WHERE recipient = :c AND state = 'active')"


def load_held(session: Session, client_id: str) -> pl.DataFrame:
    """Load and hold what everybody who allows this client anything holds: HELD_SCHEMA, balances above zero.

    Nobody else spends them before this transaction ends. They are held in the order in which a person's balances are
    held everywhere, one account after the other.
    """
    locked = " FOR UPDATE OF b" if is_postgresql(session) else ""
    sql = (
        "SELECT a.subject_id, b.window_id, b.vintage, b.rights, b.mg FROM balance b "
        f"JOIN account a ON a.account_id = b.account_id WHERE a.kind = 'held' AND b.mg > 0 AND a.subject_id IN {_WILLING} "
        f"ORDER BY b.account_id, b.window_id, b.vintage, b.rights{locked}"
    )
    return load_columns(session, sql, HELD_SCHEMA, c=client_id)


def load_allowed(session: Session, client_id: str, held: pl.DataFrame, *, now: datetime) -> pl.DataFrame:
    """Load what this client may pool of what is held: ALLOWED_SCHEMA, less what it has used or pooled of it already.

    The grants that were asked do not change before this transaction ends. Ask it after the balances are held: who waited for
    them sees what the one before has left of the consent.
    """
    events = _load_events(session, client_id).join(held.select("subject_id").unique(), on="subject_id", how="semi")
    events = events.with_row_index("row")
    at = pl.col("start_us").cast(pl.Datetime("us", "UTC"))
    asked = events.select("row", "subject_id", "platform", "behaviour", at=at)
    given = permit(session, purpose=Purpose.POOL, recipient=client_id, asked=asked, now=now, hold=True)
    named = _named(session, events.join(given.allowed.select("row"), on="row", how="semi"), client_id, now)
    named = (
        named.with_columns(vintage=vintage_of(at))
        .group_by("subject_id", "window_id", "vintage")
        .agg(pl.col("mg").sum())
    )
    left = named.join(_load_used(session, client_id), on=["subject_id", "window_id", "vintage"], how="left")
    left = left.with_columns(mg=pl.col("mg") - pl.col("before").fill_null(0)).filter(pl.col("mg") > 0)
    return left.select(list(ALLOWED_SCHEMA))


def _load_events(session: Session, client_id: str) -> pl.DataFrame:
    """What counts of final windows, of everybody who allows this client anything."""
    sql = (
        "SELECT e.subject_id, e.window_id, e.start_us, e.behaviour, r.platform, e.mg - COALESCE(j.taken_mg, 0) "
        "FROM event e JOIN reduction_record r ON r.record_id = e.event_id "
        "JOIN clearing_window w ON w.window_id = e.window_id LEFT JOIN event_reversal v ON v.event_id = e.event_id "
        "LEFT JOIN event_adjusted j ON j.event_id = e.event_id "
        "WHERE v.event_id IS NULL AND NOT e.provisional AND w.state = 'final' AND e.mg > COALESCE(j.taken_mg, 0) "
        f"AND e.subject_id IN {_WILLING}"
    )
    return load_columns(session, sql, _EVENT_SCHEMA, c=client_id)


def _named(session: Session, events: pl.DataFrame, client_id: str, now: datetime) -> pl.DataFrame:
    """Return the events that a detail of the person's grant names. Many people agree to the same words: each is read once."""
    sql = (
        "SELECT g.subject_id, v.details FROM grant_current g JOIN grant_version v ON v.grant_id = g.grant_id "
        "AND v.version = g.version WHERE g.recipient = :c AND g.state = 'active'"
    )
    words = load_frame(session, sql, {"subject_id": pl.Int64(), "details": pl.String()}, c=client_id)
    named = [events.head(0)]
    for (text,), part in events.join(words, on="subject_id").group_by("details"):
        granted = load_details(str(text))
        standing = tuple(one for one in granted if ACTION in one.actions and one.since <= now < one.until)
        named.append(part.filter(named_by(standing)).drop("details"))
    # Two grants of one person can name one act.
    return pl.concat(named).unique("row")


def _load_used(session: Session, client_id: str) -> pl.DataFrame:
    """What this client has of each person, window and vintage: subject_id, window_id, vintage, before."""
    sql = (
        "SELECT subject_id, window_id, vintage, CAST(SUM(mg) AS BIGINT) FROM ("
        "SELECT r.subject_id, l.window_id, l.vintage, CASE WHEN r.state = 'reserved' THEN l.mg ELSE l.used_mg END AS mg "
        "FROM reservation r JOIN reservation_line l ON l.number = r.number "
        "WHERE r.client_id = :c AND r.state IN ('reserved', 'committed') UNION ALL "
        "SELECT s.subject_id, s.window_id, s.vintage, s.mg FROM block_share s JOIN credit_block b ON b.number = s.number "
        "JOIN credit_issuance i ON i.issuance_id = b.issuance_id WHERE i.client_id = :c) x "
        "GROUP BY subject_id, window_id, vintage"
    )
    schema = {"subject_id": pl.Int64(), "window_id": pl.Int64(), "vintage": pl.Int64(), "before": pl.Int64()}
    return load_frame(session, sql, schema, c=client_id)
