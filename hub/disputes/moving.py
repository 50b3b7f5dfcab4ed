"""A dispute goes on: evidence, questions, review, withdrawal, deadlines. I/O: the database, in the caller's transaction."""

from datetime import datetime

from sqlalchemy import ColumnElement, or_
from sqlalchemy.orm import Session
from sqlmodel import col, select

from hub.clearing.store import TAKE_BACK
from hub.clearing.windows import join_open_window
from hub.context import Hub
from hub.db import lock
from hub.disputes.locking import unlock_dispute
from hub.disputes.opening import append_evidence, log_step, weekdays_of
from hub.disputes.rules import Side, State, Step, due_after, is_live, moved, require_text
from hub.disputes.staffing import note_access, require_right, right_to_speak
from hub.disputes.tables import Dispute, DisputeEvidence
from hub.disputes.targets import Who
from hub.errors import Conflict, NotFound
from hub.staff.rights import Right, What

_DONE = {Step.ACKNOWLEDGED: What.DISPUTE_MOVED, Step.ASKED: What.DISPUTE_MOVED, Step.REVIEWED: What.DISPUTE_MOVED}


def require_dispute(session: Session, dispute_id: str, who: Who, *, hold: bool = False) -> Dispute:
    """Load a dispute for somebody who has a part in it. Raises NotFound, also for everybody else's.

    Args:
        hold: until the transaction ends, for changing it.
    """
    known = dispute_id.isascii() and dispute_id.isprintable()  # no database takes every text as a value
    wanted = select(Dispute).where(col(Dispute.dispute_id) == dispute_id)
    if hold:
        wanted = wanted.with_for_update().execution_options(populate_existing=True)
    row = session.scalars(wanted).one_or_none() if known else None
    if row is None or not has_part(row, who):
        raise NotFound("there is no such dispute of yours")
    if who.member is not None and who.side is Side.REGULATOR:
        require_right(who, Right.SEE_CASE, row.region)
    return row


def has_part(row: Dispute, who: Who) -> bool:
    """Whether somebody is a side of a dispute: whose grams, whose report or use, who opened it, or staff."""
    if who.member is not None:
        return True
    if who.side is Side.PERSON:
        return row.subject_id == who.subject_id
    return who.platform is not None and who.platform in (row.platform, row.opener_platform)


def is_opener(row: Dispute, who: Who) -> bool:
    """Whether somebody speaks for who opened a dispute; what one member of staff opened, another may go on with."""
    return row.opener == who.side and (row.opener_platform is None or row.opener_platform == who.platform)


def submit(session: Session, hub: Hub, dispute_id: str, who: Who, text: str, now: datetime) -> DisputeEvidence:
    """Add what a side has to say.

    Raises:
        NotFound: it is nobody's of theirs. Conflict: evidence is closed, or they wrote often enough. UsageProblem: no text.
    """
    told = require_text(text)
    row = require_dispute(session, dispute_id, who, hold=True)
    row.state = moved(row.state, Step.SUBMITTED)
    piece = append_evidence(session, hub, row, who, told, now)
    if is_opener(row, who):
        row.answer_due_at = None
    log_step(session, row, Step.SUBMITTED, now, evidence=piece.digest)
    if who.member is not None:
        note_access(session, who, right_to_speak(who), What.DISPUTE_EVIDENCE, row, now)
    return piece


def advance(session: Session, hub: Hub, dispute_id: str, who: Who, step: Step, now: datetime) -> Dispute:
    """Acknowledge a dispute, ask who opened it for more, or take it into review: an operator does.

    Raises:
        NotFound: there is none. Conflict: the member may not, or the dispute is elsewhere.
    """
    row = require_dispute(session, dispute_id, who, hold=True)
    require_right(who, Right.DECIDE_DISPUTES, row.region)
    row.state = moved(row.state, step)
    row.acknowledged_at = row.acknowledged_at or now
    if step is Step.ASKED:
        row.answer_due_at = row.evidence_due_at = due_after(now, weekdays_of(hub).evidence)
        row.review_at = None
    elif step is Step.REVIEWED:
        row.review_at, row.answer_due_at = now, None
    log_step(session, row, step, now)
    note_access(session, who, Right.DECIDE_DISPUTES, _DONE[step], row, now)
    return row


def withdraw(session: Session, dispute_id: str, who: Who, now: datetime) -> Dispute:
    """Take a dispute back: who opened it may, until it is decided. What it locks is free again.

    Raises:
        NotFound: it is nobody's of theirs. Conflict: they have not opened it, or it is over.
    """
    lock(session, TAKE_BACK)
    window_id = join_open_window(session)
    row = require_dispute(session, dispute_id, who, hold=True)
    if not is_opener(row, who):
        raise Conflict("only who opened a dispute withdraws it")
    close(session, row, Step.WITHDRAWN, window_id, now)
    if who.member is not None:
        note_access(session, who, right_to_speak(who), What.DISPUTE_WITHDRAWN, row, now)
    return row


def close(session: Session, row: Dispute, step: Step, window_id: int, now: datetime) -> None:
    """End a dispute without an adjustment and unlock what it locks; the caller holds TAKE_BACK and the open window."""
    row.state = moved(row.state, step)
    row.closed_at, row.answer_due_at = now, None
    unlock_dispute(session, row.dispute_id, window_id, row.state, now)
    log_step(session, row, step, now)


def is_any_due(session: Session, *, now: datetime) -> bool:
    """Say whether time moves a dispute on now."""
    return session.scalars(select(col(Dispute.dispute_id)).where(_due(now)).limit(1)).first() is not None


def follow_deadlines(session: Session, now: datetime, *, limit: int = 100) -> int:
    """Take into review what had time for evidence, and let lapse what its opener did not answer; returns how many moved.

    Nobody's dispute is decided by it: an overdue decision stays one.
    """
    lock(session, TAKE_BACK)
    window_id = join_open_window(session)
    wanted = select(Dispute).where(_due(now)).order_by(col(Dispute.opened_at), col(Dispute.dispute_id)).limit(limit)
    due = list(session.scalars(wanted.with_for_update(skip_locked=True)))
    for row in due:
        if row.answer_due_at is not None:
            close(session, row, Step.LAPSED, window_id, now)
            continue
        row.state, row.review_at = moved(row.state, Step.REVIEWED), now
        row.acknowledged_at = row.acknowledged_at or now
        log_step(session, row, Step.REVIEWED, now)
    return len(due)


def forget_disputes(session: Session, subject_id: int, window_id: int, now: datetime) -> int:
    """Withdraw what is open about a person who is being erased and empty what was written; returns how many there were.

    The caller holds every window that is not final alone, so nobody locks or takes back meanwhile.
    """
    rows = list(session.scalars(select(Dispute).where(col(Dispute.subject_id) == subject_id).with_for_update()))
    for row in rows:
        if is_live(row.state):
            close(session, row, Step.WITHDRAWN, window_id, now)
        row.why = ""
    pieces = session.scalars(select(DisputeEvidence).where(col(DisputeEvidence.subject_id) == subject_id))
    for piece in pieces:
        piece.text_sealed = b""
    session.flush()
    return len(rows)


def _due(now: datetime) -> ColumnElement[bool]:
    early = col(Dispute.state).in_([State.OPENED, State.EVIDENCE])
    return early & or_(
        col(Dispute.answer_due_at) <= now, col(Dispute.answer_due_at).is_(None) & (col(Dispute.evidence_due_at) <= now)
    )
