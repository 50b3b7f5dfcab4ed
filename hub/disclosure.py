"""What a recipient may see of a person, and the note that it was shown. I/O: the database, inside the caller's transaction.

A row is shown if the guard permits it (purpose disclose, this recipient) and one of the granted details names its action,
platform, behaviour and day: a grant with two details does not allow their product. Every showing is a row of its own and
a leaf in the log, with counts and never with values.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import polars as pl
from sqlalchemy import func, select
from sqlalchemy.orm import Session
from sqlmodel import col

from consent.details import PURPOSES, ZONE, Detail, load_details
from consent.grants import Grant
from consent.guard import permit
from consent.terms import Frequency
from hub.changes import grant_digest, log_change
from hub.db import load_frame, next_sequence
from hub.errors import TanlianError
from hub.log.leaves import Kind
from hub.sync.tables import Disclosure

EVENT_SCHEMA: dict[str, Any] = {
    "event_id": pl.Int64(),
    "window_id": pl.Int64(),
    "start_us": pl.Int64(),
    "end_us": pl.Int64(),
    "behaviour": pl.String(),
    "platform": pl.String(),
    "mg": pl.Int64(),
    "methodology": pl.String(),
    "policy": pl.String(),
    "window_state": pl.String(),
    "provisional": pl.Boolean(),
}
# An event is named by its canonical record, whose platform is the one that it counts for.
_EVENTS = (
    "SELECT e.event_id, e.window_id, e.start_us, e.end_us, e.behaviour, r.platform, e.mg - COALESCE(j.taken_mg, 0), "
    "e.methodology, e.policy, w.state, e.provisional FROM event e JOIN reduction_record r ON r.record_id = e.event_id "
    "JOIN clearing_window w ON w.window_id = e.window_id "
    "LEFT JOIN event_reversal v ON v.event_id = e.event_id LEFT JOIN event_adjusted j ON j.event_id = e.event_id "
    "WHERE e.subject_id = :s AND v.event_id IS NULL {more} ORDER BY e.start_us DESC, e.event_id DESC"
)
# Paging through an account is one look at it: what follows the first request within the hour belongs to it.
ONE_LOOK = timedelta(hours=1)


class TooOften(TanlianError):
    """The person allowed fewer looks than this."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """Events (EVENT_SCHEMA and `state`: provisional, pending or held) that this recipient may see, newest first."""

    events: pl.DataFrame
    details: tuple[Detail, ...]


def load_shared(
    session: Session,
    grant: Grant,
    *,
    now: datetime,
    event_id: int | None = None,
    action: str = "read",
    hold: bool = False,
) -> Shown:
    """Load what the recipient of a grant may see (or use, by `action`) of the person's events now; all, or one event.

    Args:
        hold: let no grant change before this transaction ends, where what is loaded decides about a write.
    """
    (purpose,) = PURPOSES[action]
    more, params = ("AND e.event_id = :e", {"e": event_id}) if event_id is not None else ("", {})
    events = load_frame(session, _EVENTS.format(more=more), EVENT_SCHEMA, s=grant.subject_id, **params)
    events = events.with_row_index("row")
    at = pl.col("start_us").cast(pl.Datetime("us", "UTC"))
    asked = events.select("row", "platform", "behaviour", subject_id=pl.lit(grant.subject_id, pl.Int64), at=at)
    given = permit(session, purpose=purpose, recipient=grant.terms.recipient, asked=asked, now=now, hold=hold)
    # A grant lasts as long as the longest of its details; each of the others is over when it says so itself.
    granted = load_details(grant.terms.details)
    details = tuple(one for one in granted if action in one.actions and one.since <= now < one.until)
    shown = events.join(given.allowed.select("row"), on="row", how="semi").filter(named_by(details))
    state = (
        pl.when(pl.col("provisional") | (pl.col("window_state") == "open"))
        .then(pl.lit("provisional"))
        .when(pl.col("window_state") == "final")
        .then(pl.lit("held"))
        .otherwise(pl.lit("pending"))
    )
    return Shown(events=shown.with_columns(state=state).drop("row"), details=details)


def note_disclosure(session: Session, grant: Grant, *, what: str, rows: int, now: datetime) -> None:
    """Remember that something was shown, and log it.

    Raises:
        TooOften: the person allowed fewer looks.
    """
    _require_frequency(session, grant, now)
    number = next_sequence(session, "disclosure", 1)[0]
    session.add(
        Disclosure(
            disclosure_id=number, grant_id=grant.grant_id, grant_version=grant.version, subject_id=grant.subject_id,
            recipient=grant.terms.recipient, what=what, rows=rows, at=now,
        )
    )  # fmt: skip
    fields = {
        "recipient": grant.terms.recipient,
        "grant": grant_digest(grant.grant_id),
        "what": what,
        "rows_count": rows,
    }
    log_change(session, Kind.DISCLOSURE_MADE, f"{number}", now, fields)


def named_by(details: tuple[Detail, ...]) -> pl.Expr:
    """Say which acts (behaviour, platform, start_us) one of these details names."""
    named = pl.lit(value=False)
    for one in details:
        since, until = (int(at.timestamp()) * 1_000_000 for at in (one.since, one.until))
        named = named | (
            pl.col("behaviour").is_in(sorted(one.behaviours))
            & pl.col("platform").is_in(sorted(one.platforms))
            & (pl.col("start_us") >= since)
            & (pl.col("start_us") < until)
        )
    return named


def _require_frequency(session: Session, grant: Grant, now: datetime) -> None:
    begins = _turn_begins(grant.terms.frequency, now)
    if begins is None:
        return
    first = session.execute(
        select(func.min(col(Disclosure.at), type_=Disclosure.__table__.c.at.type)).where(  # type: ignore[attr-defined]
            col(Disclosure.grant_id) == grant.grant_id, col(Disclosure.at) >= begins
        )
    ).scalar_one()
    if first is not None and now - first > ONE_LOOK:
        raise TooOften(f"the person allowed to look {grant.terms.frequency}, and that was done")


def _turn_begins(frequency: Frequency, now: datetime) -> datetime | None:
    """When the turn began in which one look is allowed; None where any number is."""
    today = now.astimezone(ZONE).replace(hour=0, minute=0, second=0, microsecond=0)
    match frequency:
        case Frequency.ALWAYS:
            return None
        case Frequency.ONCE:
            return datetime.fromtimestamp(0, tz=ZONE)
        case Frequency.DAILY:
            return today
        case Frequency.WEEKLY:
            return today - timedelta(days=today.weekday())
        case Frequency.MONTHLY:
            return today.replace(day=1)
