"""Decide a dispute; what follows from it is posted in the same transaction. I/O: the caller's transaction. ADR 0037.

    event       all of it is taken back, or a part
    amount      the event is corrected to the right amount
    link        every act that came over the link is taken back, and the link ends
    retirement  a use is never undone: a note, or the hub's buffer stands in for what the platform owes

What of an act was used already is clawed back: the platform that reported it owes it.
"""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import text
from sqlalchemy.orm import Session

from consent.links import LinkNotFound, close_link
from hub.adjustments.adjusting import post_adjustment
from hub.adjustments.kinds import AdjustmentKind, Order, Reason
from hub.changes import log_consent_change
from hub.clearing.reviews.reviews import require_why
from hub.clearing.store import TAKE_BACK
from hub.clearing.tables import EventReversal
from hub.clearing.windows import join_open_window
from hub.context import Hub
from hub.db import lock
from hub.disputes.locking import unlock_dispute
from hub.disputes.moving import require_dispute
from hub.disputes.opening import log_step
from hub.disputes.rules import Adjust, Step, Target, moved
from hub.disputes.staffing import note_access, require_right
from hub.disputes.tables import Dispute
from hub.disputes.targets import Who, load_link_events
from hub.errors import Conflict, UsageProblem
from hub.ledger.store import load_issued
from hub.staff.rights import Right, What

LINK_REASON = "disputed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What is decided. `mg`: of a part, what is taken back; of an amount, what is right; of a use, what the buffer delivers."""

    upheld: bool
    adjust: Adjust = Adjust.FULL
    mg: int | None = None
    why: str


def decide(session: Session, hub: Hub, dispute_id: str, who: Who, outcome: Outcome, now: datetime) -> Dispute:
    """Uphold or reject a dispute. State, unlocking, adjustments, staff action and leaves commit together or not at all.

    Raises:
        NotFound: there is none. Conflict: the member may not, it is not in review, or what should be taken cannot be.
        Busy: a sealed window is not cleared yet. UsageProblem: the outcome does not fit the dispute.
    """
    why = require_why(outcome.why)
    lock(session, TAKE_BACK)
    window_id = join_open_window(session)
    row = require_dispute(session, dispute_id, who, hold=True)
    require_right(who, Right.DECIDE_DISPUTES, row.region)
    assert who.member is not None  # noqa: S101 - only staff have rights
    step = Step.UPHELD if outcome.upheld else Step.REJECTED
    row.state, row.closed_at, row.answer_due_at = moved(row.state, step), now, None
    row.decided_by, row.why = who.member.staff_id, why
    row.adjust = str(outcome.adjust) if outcome.upheld else None
    # First, so that what was locked is what the adjustment finds held.
    unlock_dispute(session, dispute_id, window_id, row.state, now)
    if outcome.upheld:
        orders = _orders(session, row, outcome, why)
        for order in orders:
            post_adjustment(session, order, staff_id=who.member.staff_id, now=now)
        row.adjustments = len(orders)
        if row.target == Target.LINK and row.link_id is not None:
            _end_link(session, hub, row, now)
    elif outcome.mg is not None:
        raise UsageProblem("mg: nothing is taken back where a dispute is rejected")
    log_step(session, row, step, now)
    note_access(session, who, Right.DECIDE_DISPUTES, What.DISPUTE_DECIDED, row, now)
    return row


def _orders(session: Session, row: Dispute, outcome: Outcome, why: str) -> list[Order]:
    if outcome.adjust is Adjust.NONE:
        _require_nothing_left(session, row)
        if outcome.mg is not None:
            raise UsageProblem("mg: nothing is adjusted, so there is no amount")
        return []
    match Target(row.target):
        case Target.RETIREMENT:
            return [_draw(session, row, outcome, why)]
        case Target.LINK:
            if outcome.adjust is Adjust.PARTIAL or outcome.mg is not None:
                raise UsageProblem("a link that is another's gives no part of its acts; --adjust full, or none")
            return [
                _order(row, AdjustmentKind.CLAW_BACK, why, event_id=one)
                for one in load_link_events(session, row.link_id or "")
            ]
        case Target.AMOUNT if outcome.adjust is Adjust.FULL:
            right = row.claimed_mg if outcome.mg is None else outcome.mg
            return [_corrected(session, row, right or 0, why)]
        case _:
            return [_taken(session, row, outcome, why)]


def _taken(session: Session, row: Dispute, outcome: Outcome, why: str) -> Order:
    """Take an act back, or a part of it; of what was used its platform owes."""
    if (outcome.adjust is Adjust.PARTIAL) != (outcome.mg is not None):
        raise UsageProblem("mg: a part that is taken back has an amount, and the whole has none")
    left, free = _left_of(session, row)
    mg = left if outcome.mg is None else outcome.mg
    if mg > free:
        return _order(row, AdjustmentKind.CLAW_BACK, why, event_id=row.event_id, mg=mg)
    whole = outcome.mg is None
    kind = AdjustmentKind.FULL_REVERSAL if whole else AdjustmentKind.PARTIAL_REVERSAL
    return _order(row, kind, why, event_id=row.event_id, mg=None if whole else mg)


def _corrected(session: Session, row: Dispute, right: int, why: str) -> Order:
    """Correct an act to the right amount; where that takes what was used, it is a claw-back of the difference."""
    left, free = _left_of(session, row)
    if 0 < right < left and left - right > free:
        return _order(row, AdjustmentKind.CLAW_BACK, why, event_id=row.event_id, mg=left - right)
    return _order(row, AdjustmentKind.CORRECTION, why, event_id=row.event_id, mg=right)


def _draw(session: Session, row: Dispute, outcome: Outcome, why: str) -> Order:
    used = session.execute(
        text("SELECT used_mg FROM reservation WHERE reservation_id = :r"), {"r": row.reservation_id}
    ).scalar_one()
    if (outcome.adjust is Adjust.PARTIAL) != (outcome.mg is not None):
        raise UsageProblem("mg: a part has an amount, and the whole has none")
    if outcome.mg is not None and not 0 < outcome.mg <= used:
        raise UsageProblem(f"{used:,} mg were used; the buffer stands in for that or less")
    return _order(
        row, AdjustmentKind.BUFFER_DRAW, why, platform=row.platform, mg=used if outcome.mg is None else outcome.mg
    )


def _left_of(session: Session, row: Dispute) -> tuple[int, int]:
    """Return what an act still counts and how much of it is whole and not used, both in milligrams."""
    if session.get(EventReversal, row.event_id) is not None:
        raise Conflict("the act does not count any more; uphold with --adjust none")
    issued = load_issued(session, [row.event_id] if row.event_id is not None else [])
    if issued.is_empty():
        # Its person did not allow to credit it: it counts for the platform, and nobody has grams of it.
        sql = (
            "SELECT e.mg - COALESCE(j.taken_mg, 0) FROM event e LEFT JOIN event_adjusted j ON j.event_id = e.event_id "
            "WHERE e.event_id = :e"
        )
        left = int(session.execute(text(sql), {"e": row.event_id}).scalar_one())
        if left <= 0:
            raise Conflict("the act counts nothing; uphold with --adjust none")
        return left, left
    (found,) = issued.iter_rows(named=True)
    return found["mg"], min(found["mg"], found["free"] + min(found["free_incentive"], found["free_attribute"]))


def _require_nothing_left(session: Session, row: Dispute) -> None:
    """A dispute that is upheld has an effect, unless there is none to have.

    The act is gone; a use cannot be undone; or the act should count more, which only its platform can tell, by a newer version.
    """
    sql = (
        "SELECT COUNT(*) FROM event e LEFT JOIN event_reversal v ON v.event_id = e.event_id "
        "WHERE e.event_id = :e AND v.event_id IS NULL AND e.mg > 0"
    )
    if row.event_id is not None and session.execute(text(sql), {"e": row.event_id}).scalar_one():
        if row.target == Target.AMOUNT and (row.claimed_mg or 0) > _left_of(session, row)[0]:
            return
        raise Conflict("the act still counts; say what is taken back with --adjust full or partial")
    if row.link_id is not None and load_link_events(session, row.link_id):
        raise Conflict("acts that came over this link still count; uphold with --adjust full")


def _end_link(session: Session, hub: Hub, row: Dispute, now: datetime) -> None:
    try:
        change = close_link(
            session, link_id=row.link_id or "", subject_id=row.subject_id, now=now, reason=LINK_REASON
        )  # fmt: skip
    except LinkNotFound:
        return  # it was closed meanwhile
    log_consent_change(session, change, now, hub=hub)


def _order(
    row: Dispute, kind: AdjustmentKind, why: str, *, event_id: int | None = None, mg: int | None = None,
    platform: str | None = None,
) -> Order:  # fmt: skip
    return Order(
        kind=kind,
        reason=Reason(row.reason),
        event_id=event_id,
        mg=mg,
        platform=platform,
        case_id=row.dispute_id,
        why=why,
    )
