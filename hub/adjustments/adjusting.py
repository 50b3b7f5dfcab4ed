"""Post adjustments of cleared events. I/O: the database, inside the caller's transaction. ADR 0035.

What becomes of an event depends on how far its grams have gone: pending, held and forfeited ones are taken; of what was used
or is reserved nothing is undone, and a claw-back lets the platform that reported the act owe it. Adjustments and clearing
take turns, so that no gram is taken back twice.
"""

import secrets
from dataclasses import dataclass, replace
from datetime import datetime

import polars as pl
from sqlalchemy import text
from sqlalchemy.orm import Session

from hub.adjustments.kinds import AdjustmentKind, Order, leaf_fields
from hub.adjustments.tables import Adjustment, EventAdjusted
from hub.attestations.overstated import revoke_overstated
from hub.changes import log_change
from hub.clearing.reviews.reviews import require_why
from hub.clearing.store import TAKE_BACK
from hub.clearing.tables import EventReversal
from hub.clearing.windows import join_open_window
from hub.context import Hub
from hub.db import lock, next_sequence, writing
from hub.disputes.locking import require_unlocked
from hub.disputes.tables import Dispute
from hub.errors import Busy, Conflict, NotFound, UsageProblem
from hub.ledger import postings
from hub.ledger.store import append_entries, load_issued
from hub.log.leaves import Kind
from hub.participants import require_participant
from hub.records.store import mark_dirty
from hub.staff.accounts import member_of, require_member
from hub.staff.actions import append_action
from hub.staff.rights import NO_SCOPE, Right, What, find_refusal
from hub.uses.debts import Source, repay

_WHOLE = (AdjustmentKind.FULL_REVERSAL, AdjustmentKind.CLAW_BACK)
_MOST_CASE = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class _Standing:
    """A cleared event that counts: whose, for which platform, and how many milligrams of it are left."""

    event_id: int
    subject_id: int
    platform: str
    left_mg: int


def adjust(hub: Hub, order: Order, *, by: str, now: datetime) -> Adjustment:
    """Post an adjustment for a member of staff. Entry, row, staff action and leaves commit together.

    Args:
        by: the name of a member of staff with the right to adjust.

    Raises:
        As `post_adjustment`; UsageProblem, NotFound: there is no such member, or they may not.
    """
    with writing(hub.engine) as session:
        row = require_member(session, by)
        if row.disabled_at is not None:
            raise Conflict("this member of staff is disabled")
        member = member_of(row)
        refusal = find_refusal(member, Right.ADJUST, NO_SCOPE)
        if refusal is not None:
            raise Conflict(f"staff of the role {member.role} may not adjust ({refusal})")
        if order.case_id is not None and session.get(Dispute, order.case_id) is not None:
            raise Conflict(f"{order.case_id} is a dispute; what follows from it is posted when it is decided")
        posted = post_adjustment(session, order, staff_id=member.staff_id, now=now)
        ids = {"window": str(posted.window_id), "participant": posted.platform}
        append_action(session, member, right=Right.ADJUST, what=What.ADJUSTED, now=now, ids=ids, case_id=posted.case_id)
        session.expunge(posted)
    return posted


def post_adjustment(session: Session, order: Order, *, staff_id: str, now: datetime) -> Adjustment:
    """Post one adjustment in the open window, with its leaf; durable when the caller's transaction commits.

    Raises:
        NotFound: there is no such event or participant. Conflict: the event does not count, or what is to be taken was used,
            or nothing can be drawn. Busy: a sealed window is being cleared. UsageProblem: the order cannot be.
    """
    order = replace(order, why=require_why(order.why))
    if order.case_id is not None and not (order.case_id.isascii() and 0 < len(order.case_id) <= _MOST_CASE):
        raise UsageProblem("case: an id of a case")
    lock(session, TAKE_BACK)
    _require_nothing_between(session)
    window_id = join_open_window(session)
    if order.kind is AdjustmentKind.BUFFER_DRAW:
        row = _draw(session, order, window_id, staff_id, now)
    elif order.kind is AdjustmentKind.REATTRIBUTION:
        row = _reattribute(session, order, window_id, staff_id, now)
    else:
        row = _take_back(session, order, window_id, staff_id, now)
    session.add(row)
    session.flush()
    log_change(session, Kind.ADJUSTMENT_POSTED, row.adjustment_id, now, leaf_fields(row))
    return row


def _take_back(session: Session, order: Order, window_id: int, staff_id: str, now: datetime) -> Adjustment:
    event = _require_standing(session, order)
    require_unlocked(session, event.event_id)
    mg = _amount(order, event)
    issued = load_issued(session, [event.event_id])
    whole = mg == event.left_mg
    number = event.event_id if whole else next_sequence(session, "adjustment", 1)[0]
    kind = "reverse" if whole else "adjust"
    taken = issued.with_columns(mg=pl.lit(mg, pl.Int64()), event_id=pl.lit(number, pl.Int64()))
    entries, sides = postings.reverse(taken, window_id, order.reason, kind=kind)
    owed = sides.filter((pl.col("account_kind") == "owed") & (pl.col("rights") != "incentive"))
    parted = sides.filter((pl.col("account_kind") == "owed") & (pl.col("rights") != "attribute"))
    owed_mg = -min(int(owed["mg"].sum()), int(parted["mg"].sum()))
    if owed_mg and order.kind is not AdjustmentKind.CLAW_BACK:
        raise Conflict(
            f"{owed_mg:,} of {mg:,} mg are used or reserved; a claw-back takes them too, and {event.platform} owes them"
        )
    append_entries(session, entries, sides, now)
    if whole:
        session.add(
            EventReversal(
                event_id=event.event_id, by_record_id=event.event_id, window_id=window_id, reason=order.reason,
                decided_anew=0,
            )
        )  # fmt: skip
    else:
        _adjusted(session, event.event_id).taken_mg += mg
    session.flush()
    mark_dirty(session, pl.Series([event.subject_id], dtype=pl.Int64()))
    revoke_overstated(session, event.subject_id, now)
    return _row(
        order, platform=event.platform, mg=mg, owed_mg=owed_mg, event=event, posted=(kind, number), window_id=window_id,
        staff_id=staff_id, now=now,
    )  # fmt: skip


def _reattribute(session: Session, order: Order, window_id: int, staff_id: str, now: datetime) -> Adjustment:
    event = _require_standing(session, order)
    target = order.platform
    if target is None:
        raise UsageProblem("say for which participant the act counts from now on")
    if order.mg is not None:
        raise UsageProblem("a re-attribution moves the whole act; no amount is said")
    told = text("SELECT COUNT(*) FROM decision d JOIN reduction_record r USING (record_id) "
                "WHERE d.event_id = :e AND r.platform = :p AND d.verdict <> 'rejected'")  # fmt: skip
    if not session.execute(told, {"e": event.event_id, "p": target}).scalar_one():
        raise Conflict(f"{target} has not reported this act; it can count for those only who have")
    if target == event.platform:
        raise Conflict(f"the act counts for {target} already")
    number = next_sequence(session, "adjustment", 1)[0]
    issued = load_issued(session, [event.event_id])
    if len(issued):
        append_entries(session, *postings.reattribute(issued, number, target, window_id, order.reason), now)
    _adjusted(session, event.event_id).platform = target
    return _row(
        order, platform=event.platform, to_platform=target, mg=event.left_mg, event=event, posted=("adjust", number),
        window_id=window_id, staff_id=staff_id, now=now,
    )  # fmt: skip


def _draw(session: Session, order: Order, window_id: int, staff_id: str, now: datetime) -> Adjustment:
    if order.platform is None or order.mg is None or order.event_id is not None:
        raise UsageProblem("a draw names who owes and how many milligrams the buffer delivers, and no event")
    require_participant(session, order.platform)
    paid = repay(session, order.platform, order.mg, Source.BUFFER, now=now)
    return _row(
        order, platform=order.platform, mg=order.mg, posted=("draw", paid.number), window_id=window_id,
        staff_id=staff_id, now=now,
    )  # fmt: skip


# --- what stands ------------------------------------------------------------------------------------------------------


def _require_nothing_between(session: Session) -> None:
    """A sealed window that is not cleared decides by what stood when it was sealed: nothing is taken back under it."""
    waiting = text("SELECT MIN(window_id) FROM clearing_window WHERE sealed_at IS NOT NULL AND cleared_at IS NULL")
    window = session.execute(waiting).scalar_one()
    if window is not None:
        raise Busy(f"window {window} is sealed and not cleared yet; try again when it is")


def _require_standing(session: Session, order: Order) -> _Standing:
    if order.event_id is None:
        raise UsageProblem("say which event")
    found = session.execute(
        text(
            "SELECT e.subject_id, COALESCE(j.platform, r.platform), e.mg - COALESCE(j.taken_mg, 0), e.provisional, "
            "v.event_id IS NOT NULL FROM event e JOIN reduction_record r ON r.record_id = e.event_id "
            "LEFT JOIN event_adjusted j ON j.event_id = e.event_id LEFT JOIN event_reversal v ON v.event_id = e.event_id "
            "WHERE e.event_id = :e"
        ),
        {"e": order.event_id},
    ).one_or_none()
    if found is None:
        raise NotFound(f"there is no event {order.event_id}")
    subject_id, platform, left, provisional, gone = found
    if provisional:
        raise Conflict(
            f"event {order.event_id} is provisional: its window is not cleared, and its platform can correct it"
        )
    if gone:
        raise Conflict(f"event {order.event_id} was taken back already")
    if left <= 0:
        raise Conflict(f"event {order.event_id} counts nothing")
    return _Standing(event_id=order.event_id, subject_id=int(subject_id), platform=str(platform), left_mg=int(left))


def _amount(order: Order, event: _Standing) -> int:
    """Return how many milligrams are taken back."""
    left, mg = event.left_mg, order.mg
    if order.platform is not None:
        raise UsageProblem("a platform is named for a re-attribution or a draw only")
    if order.kind in _WHOLE and mg is None:
        return left
    if mg is None:
        raise UsageProblem("say how many milligrams")
    if order.kind is AdjustmentKind.FULL_REVERSAL and mg != left:
        raise UsageProblem(f"a full reversal takes all that is left, {left:,} mg; for less there is the partial one")
    if order.kind is AdjustmentKind.CLAW_BACK and not 0 < mg <= left:
        raise UsageProblem(f"the event counts {left:,} mg; between 1 and that can be taken back")
    if order.kind is AdjustmentKind.PARTIAL_REVERSAL and not 0 < mg < left:
        raise UsageProblem(f"the event counts {left:,} mg; a part is between 1 and {left - 1:,}")
    if order.kind is AdjustmentKind.CORRECTION:
        if not 0 < mg < left:
            raise UsageProblem(
                f"the event counts {left:,} mg; a correction says less, and more than 0. For more, its platform sends a "
                "newer version of the record"
            )
        return left - mg
    return mg


def _adjusted(session: Session, event_id: int) -> EventAdjusted:
    row = session.get(EventAdjusted, event_id, populate_existing=True)
    if row is None:
        row = EventAdjusted(event_id=event_id)
        session.add(row)
    return row


def _row(
    order: Order, *, platform: str, mg: int, posted: tuple[str, int], window_id: int, staff_id: str, now: datetime,
    to_platform: str | None = None, owed_mg: int = 0, event: _Standing | None = None,
) -> Adjustment:  # fmt: skip
    return Adjustment(
        adjustment_id=secrets.token_hex(16), kind=str(order.kind), reason=str(order.reason), event_id=order.event_id,
        subject_id=None if event is None else event.subject_id, platform=platform, to_platform=to_platform, mg=mg,
        owed_mg=owed_mg, posted_as=posted[0], source_id=posted[1], case_id=order.case_id, staff_id=staff_id, why=order.why,
        window_id=window_id, at=now,
    )  # fmt: skip
