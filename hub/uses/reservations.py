"""Reserve grams of a person, use them once, or give them back. I/O: the database, inside the caller's transaction.

    reserved -> committed (all or a part; the rest goes back) | voided | expired

The consent is asked when grams are reserved and again when they are used. Only grams of final windows are held, so nothing
that can still be challenged is used. Two who reserve at once wait for each other at the person's balances.
"""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from hashlib import sha256
from typing import Any

import polars as pl
from sqlalchemy import text
from sqlalchemy.orm import Session
from sqlmodel import col, select

from consent.grants import Grant, GrantState, require_grant
from hub.changes import log_change
from hub.clearing.windows import join_open_window
from hub.db import append_frame, load_frame, next_sequence
from hub.disclosure import load_shared
from hub.errors import Conflict, NotFound, UsageProblem
from hub.ledger.postings import LOT_SCHEMA, USED_AS, move, side, vintage_of
from hub.ledger.store import append_entries, load_lots
from hub.log.leaves import Kind
from hub.uses import lots as lots_of
from hub.uses.debts import settle_debts
from hub.uses.tables import Reservation, ReservationLine
from standards.canonical import canonical_bytes
from standards.uses import Use, UseRules, load_use_rules

PURPOSES = frozenset({"quota_offset", "neutrality", "voluntary", "compensation"})
"""Of a retirement: what the Beijing measures allow (quota offset, an enterprise's or event's neutrality, voluntary retirement,
compensation for ecological damage)."""
MOST_MG = 2**53 - 1


class State(StrEnum):
    """Where a reservation is; only a reserved one changes."""

    RESERVED = "reserved"
    COMMITTED = "committed"
    VOIDED = "voided"
    EXPIRED = "expired"


class TooFew(Conflict):
    """Fewer grams can be used than were asked for; how many there are is not told."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What a participant asks for. `timeout` is how long it needs to decide; by default as the rules say."""

    mg: int
    use: Use
    purpose: str | None = None
    timeout: timedelta | None = None


def reserve(
    session: Session, *, grant: Grant, participant: str, client_id: str, wanted: Wanted, now: datetime,
    rules: UseRules | None = None,
) -> Reservation:  # fmt: skip
    """Take grams out of what the person can use elsewhere, the oldest acts first.

    Args:
        grant: the person's consent to the client, whose action `use` names the acts whose grams may be used.

    Raises:
        TooFew: the person has not so many, or does not allow so many.
        Conflict: too many reservations are open.
        UsageProblem: the time-out or the purpose cannot be.
    """
    rules = rules or load_use_rules()
    timeout = _require_wanted(wanted, rules)
    window_id = join_open_window(session)
    # As it stands now, in the transaction that takes: a withdrawal since the token was looked at counts.
    grant = require_grant(session, grant_id=grant.grant_id, subject_id=grant.subject_id)
    # Balances first: who waited here must see what the one before has left of the consent, too.
    held = load_lots(session, grant.subject_id, "held", hold=True)
    allowed = _allowed(session, grant, client_id, now)
    rights = rules.rights_of(wanted.use)
    _require_few_open(session, grant.subject_id, participant, rules)
    taken = lots_of.take(lots_of.of_rights(lots_of.cut_to(held, allowed), rights), wanted.mg)
    if int(taken["mg"].sum()) < wanted.mg:
        raise TooFew("fewer grams can be used than were asked for")
    number = next_sequence(session, "reservation", 1)[0]
    reservation = Reservation(
        reservation_id=f"r_{secrets.token_urlsafe(16)}", number=number, participant=participant, client_id=client_id,
        grant_id=grant.grant_id, subject_id=grant.subject_id, use=wanted.use.value, purpose=wanted.purpose,
        rules=rules.version, mg=wanted.mg, state=State.RESERVED, created_at=now, expires_at=now + timeout,
    )  # fmt: skip
    session.add(reservation)
    session.flush()
    reserved = lots_of.with_rights(taken, rights)
    lines = reserved.with_columns(
        number=pl.lit(number), line=pl.int_range(pl.len(), dtype=pl.Int64), used_mg=pl.lit(0, pl.Int64)
    )
    append_frame(session, "reservation_line", lines)
    person = grant.subject_id
    sides = [
        side("held", taken, -1, subject_id=person),
        side("held", lots_of.parted(taken, rights), +1, subject_id=person),
        side("reserved", reserved, +1, subject_id=person),
    ]
    append_entries(session, *move("reserve", wanted.use.value, number, window_id, sides), now)
    _log(session, reservation, now)
    return reservation


def commit(
    session: Session, reservation_id: str, *, client_id: str, mg: int | None = None, now: datetime
) -> Reservation:
    """Use reserved grams for good: all of them, or a part, and the rest goes back to the person.

    Raises:
        NotFound: there is no such reservation of this client.
        Conflict: it is over, or the person has withdrawn the consent; then it can only be voided.
        UsageProblem: more than was reserved, or nothing.
    """
    reservation = _require_open(session, reservation_id, client_id, now)
    grant = require_grant(session, grant_id=reservation.grant_id, subject_id=reservation.subject_id)
    shown = load_shared(session, grant, now=now, action="use", hold=True)
    if grant.state != GrantState.ACTIVE or shown.events.is_empty():
        raise Conflict("the person no longer allows this use; nothing was used")
    used = reservation.mg if mg is None else mg
    if not 0 < used <= reservation.mg:
        raise UsageProblem(f"between 1 and {reservation.mg} mg can be used of this reservation")
    return _close(session, reservation, State.COMMITTED, used, now)


def void(session: Session, reservation_id: str, *, client_id: str, now: datetime) -> Reservation:
    """Give reserved grams back.

    Raises:
        NotFound, Conflict: as for `commit`; one that has run out can be voided as long as it was not given back.
    """
    reservation = _require_reserved(session, reservation_id, client_id)
    return _close(session, reservation, State.VOIDED, 0, now)


def expire_due(session: Session, *, now: datetime, limit: int = 500) -> int:
    """Give back what was reserved and not decided in time; returns how many reservations ended."""
    join_open_window(session)  # first, as in `_require_reserved`
    wanted = (
        select(Reservation)
        .where(col(Reservation.state) == State.RESERVED, col(Reservation.expires_at) <= now)
        .order_by(col(Reservation.expires_at), col(Reservation.number))
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    due = list(session.scalars(wanted))
    for reservation in due:
        _close(session, reservation, State.EXPIRED, 0, now)
    return len(due)


def is_any_due(session: Session, *, now: datetime) -> bool:
    """Say whether a reservation has run out that was not given back yet."""
    wanted = select(col(Reservation.number)).where(
        col(Reservation.state) == State.RESERVED, col(Reservation.expires_at) <= now
    )
    return session.scalar(wanted.limit(1)) is not None


def void_all(session: Session, subject_id: int, *, now: datetime) -> int:
    """Give everything back that is reserved of a person who is being erased; returns how many reservations ended."""
    wanted = select(Reservation).where(
        col(Reservation.subject_id) == subject_id, col(Reservation.state) == State.RESERVED
    )
    open_now = list(session.scalars(wanted.order_by(col(Reservation.number)).with_for_update()))
    for reservation in open_now:
        _close(session, reservation, State.VOIDED, 0, now)
    return len(open_now)


def find_reservation(session: Session, reservation_id: str, client_id: str) -> Reservation:
    """Return a client's own reservation.

    Raises:
        NotFound: there is none, or it is another client's.
    """
    # A client names it, in whatever characters; no database takes half of one as a value.
    known = reservation_id.isascii() and reservation_id.isprintable()
    found = session.get(Reservation, reservation_id) if known else None
    if found is None or found.client_id != client_id:
        raise NotFound("there is no such reservation")
    return found


def describe(reservation: Reservation) -> dict[str, Any]:
    """Return a reservation as its participant sees it."""
    return {
        "reservation_id": reservation.reservation_id,
        "state": reservation.state,
        "use": reservation.use,
        "purpose": reservation.purpose,
        "reserved_mg": reservation.mg,
        "used_mg": reservation.used_mg,
        "created_at": reservation.created_at.isoformat(),
        "expires_at": reservation.expires_at.isoformat(),
        "closed_at": reservation.closed_at.isoformat() if reservation.closed_at else None,
    }


# --- what may be used -------------------------------------------------------------------------------------------------


def _require_wanted(wanted: Wanted, rules: UseRules) -> timedelta:
    timeout = rules.usual if wanted.timeout is None else wanted.timeout
    if not timedelta(0) < timeout <= rules.most:
        raise UsageProblem(f"timeout_s: between 1 and {int(rules.most.total_seconds())}")
    if not 0 < wanted.mg <= MOST_MG:
        raise UsageProblem("mg: a whole number of milligrams above zero")
    if (wanted.use is Use.RETIRE) != (wanted.purpose is not None):
        raise UsageProblem("purpose: a retirement has one, and no other use does")
    if wanted.purpose is not None and wanted.purpose not in PURPOSES:
        raise UsageProblem(f"purpose: one of {', '.join(sorted(PURPOSES))}")
    return timeout


def _allowed(session: Session, grant: Grant, client_id: str, now: datetime) -> pl.DataFrame:
    """Return window_id, vintage, mg: what the consent allows this client to use, less what it has of it already."""
    shown = load_shared(session, grant, now=now, action="use", hold=True)
    at = pl.col("start_us").cast(pl.Datetime("us", "UTC"))
    named = shown.events.filter((pl.col("state") == "held") & (pl.col("mg") > 0)).with_columns(vintage=vintage_of(at))
    named = named.group_by("window_id", "vintage").agg(pl.col("mg").sum())
    sql = (
        "SELECT window_id, vintage, CAST(SUM(mg) AS BIGINT) FROM (SELECT l.window_id, l.vintage, "
        "CASE WHEN r.state = 'reserved' THEN l.mg ELSE l.used_mg END AS mg "
        "FROM reservation r JOIN reservation_line l ON l.number = r.number WHERE r.subject_id = :s AND r.client_id = :c "
        "AND r.state IN ('reserved', 'committed') UNION ALL "
        # What the same client pooled for a market it cannot use once more on another act's account.
        "SELECT s.window_id, s.vintage, s.mg FROM block_share s JOIN credit_block b ON b.number = s.number "
        "JOIN credit_issuance i ON i.issuance_id = b.issuance_id WHERE s.subject_id = :s AND i.client_id = :c) x "
        "GROUP BY window_id, vintage"
    )
    schema = {"window_id": pl.Int64(), "vintage": pl.Int64(), "before": pl.Int64()}
    before = load_frame(session, sql, schema, s=grant.subject_id, c=client_id)
    left = named.join(before, on=["window_id", "vintage"], how="left")
    left = left.with_columns(mg=pl.col("mg") - pl.col("before").fill_null(0))
    return left.filter(pl.col("mg") > 0).select("window_id", "vintage", "mg")


def _require_few_open(session: Session, subject_id: int, participant: str, rules: UseRules) -> None:
    sql = "SELECT COUNT(*) FROM reservation WHERE subject_id = :s AND participant = :p AND state = 'reserved'"
    if session.execute(text(sql), {"s": subject_id, "p": participant}).scalar_one() >= rules.open:
        raise Conflict(f"{rules.open} reservations of this person are open; commit or void one first")


# --- closing ----------------------------------------------------------------------------------------------------------


def _require_reserved(session: Session, reservation_id: str, client_id: str) -> Reservation:
    find_reservation(session, reservation_id, client_id)
    # The window before the reservation, as an erasure takes them: two who wait for each other would never end.
    join_open_window(session)
    wanted = select(Reservation).where(col(Reservation.reservation_id) == reservation_id).with_for_update()
    found = session.scalars(wanted.execution_options(populate_existing=True)).one()
    if found.state != State.RESERVED:
        raise Conflict(f"the reservation is {found.state} already")
    return found


def _require_open(session: Session, reservation_id: str, client_id: str, now: datetime) -> Reservation:
    found = _require_reserved(session, reservation_id, client_id)
    if found.expires_at <= now:
        raise Conflict("the reservation has run out; nothing was used")
    return found


def _close(session: Session, reservation: Reservation, state: State, used: int, now: datetime) -> Reservation:
    window_id = join_open_window(session)
    lines = load_frame(
        session, "SELECT window_id, vintage, rights, mg FROM reservation_line WHERE number = :n ORDER BY line",
        LOT_SCHEMA, n=reservation.number,
    )  # fmt: skip
    person = reservation.subject_id
    # Balances before anything else, as whoever reserves does: two who wait for each other would never end.
    load_lots(session, person, "held", hold=True)
    spent = lots_of.take(lines, used)
    rest = lines.with_columns(mg=pl.col("mg") - spent["mg"].extend_constant(0, len(lines) - len(spent)))
    rest = rest.filter(pl.col("mg") > 0)
    use = Use(reservation.use)
    sides = [
        side("reserved", lines, -1, subject_id=person),
        side(USED_AS[use], spent, +1, subject_id=person, platform=reservation.participant),
        side("held", rest, +1, subject_id=person),
    ]
    kind = "use" if state is State.COMMITTED else "release"
    append_entries(session, *move(kind, state.value, reservation.number, window_id, sides), now)
    for line, mg in enumerate(spent["mg"].to_list()):
        key = (reservation.number, line)
        session.get_one(ReservationLine, key).used_mg = mg
    reservation.state, reservation.used_mg, reservation.closed_at = state, used, now
    session.flush()
    settle_debts(session, person, rest, window_id, now)
    _log(session, reservation, now)
    return reservation


def _log(session: Session, reservation: Reservation, now: datetime) -> None:
    """Tell the log. The digest is over the random id as well: who was told it can show what was used, nobody else can guess."""
    told: Mapping[str, Any] = {
        "reservation": reservation.reservation_id, "state": reservation.state, "use": reservation.use,
        "mg": str(reservation.mg), "used_mg": str(reservation.used_mg),
    }  # fmt: skip
    fields = {
        "participant": reservation.participant,
        "outcome": reservation.state,
        "use": reservation.use,
        "reservation": sha256(canonical_bytes(told)).digest(),
    }
    log_change(session, Kind.RESERVATION_CHANGED, f"{reservation.number}:{reservation.state}", now, fields)
