"""Disputes as they are told: one document for both sides, lists, and public figures. I/O: reads the database.

Both sides are told the same, but for two things. A platform is not told whether a person had used grams elsewhere. And sides
are told by what they are, never by name: a platform that disputes an act does not say to the one that it counts for who its
members are.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from statistics import median
from typing import Any

from sqlalchemy import text
from sqlalchemy.orm import Session
from sqlmodel import col, select

from consent.vault import load_vault
from hub.adjustments.tables import Adjustment
from hub.context import Hub
from hub.disputes.locking import load_locked
from hub.disputes.moving import is_opener
from hub.disputes.rules import Side, State, Target
from hub.disputes.tables import Dispute, DisputeEvidence
from hub.disputes.targets import Who

_TIMES = (
    "opened_at", "acknowledge_due_at", "evidence_due_at", "decision_due_at", "answer_due_at", "acknowledged_at",
    "review_at", "closed_at",
)  # fmt: skip
FIGURES_OF = timedelta(days=365)
"""Figures are of disputes that are open, or were opened in so long."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which disputes to list."""

    state: State | None = None
    live: bool = False
    platform: str | None = None
    overdue: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Count:
    """How many disputes about one kind of thing came to one state, and how long that took in the middle, in seconds."""

    target: str
    state: str
    count: int
    median_age_s: int
    overdue: int


def describe(session: Session, row: Dispute, who: Who, now: datetime) -> dict[str, Any]:
    """Tell a dispute without what was written in it: answers to writes are kept longer than a person is."""
    posted = select(Adjustment).where(col(Adjustment.case_id) == row.dispute_id)
    adjustments = session.scalars(posted.order_by(col(Adjustment.at), col(Adjustment.adjustment_id)))
    live = row.closed_at is None
    told = {
        "dispute": row.dispute_id, "target": row.target, "event_id": row.event_id, "link_id": row.link_id,
        "reservation_id": row.reservation_id, "claimed_mg": row.claimed_mg, "reason": row.reason, "state": row.state,
        "opened_by": row.opener, "opened_by_you": is_opener(row, who), **_times(row),
        "overdue": live and now > row.decision_due_at, "age_s": int(((row.closed_at or now) - row.opened_at).total_seconds()),
        "waits_for": _waits_for(row), "still_counts": _still_counts(session, row),
        "outcome": None if live else {
            "adjust": row.adjust, "why": row.why,
            "adjustments": [_adjusted(one, who) for one in adjustments],
        },
    }  # fmt: skip
    if who.side is Side.PLATFORM:
        return told
    return told | {"platform": row.platform, "locked_mg": _locked(session, row), "used_before": row.used}


def describe_whole(session: Session, hub: Hub, row: Dispute, who: Who, now: datetime) -> dict[str, Any]:
    """Tell a dispute with what both sides wrote; null where the person was erased since."""
    wanted = select(DisputeEvidence).where(col(DisputeEvidence.dispute_id) == row.dispute_id)
    pieces = list(session.scalars(wanted.order_by(col(DisputeEvidence.number))))
    texts = _texts(session, hub, row, pieces)
    return describe(session, row, who, now) | {
        "evidence": [
            {
                "number": one.number, "by": one.side, "yours": (one.side, one.platform) == (who.side, who.platform),
                "at": one.at.isoformat(), "digest": one.digest.hex(), "text": told,
            }
            for one, told in zip(pieces, texts, strict=True)
        ]
    }  # fmt: skip


def load_disputes(session: Session, wanted: Wanted, now: datetime, *, after: str = "", limit: int) -> list[Dispute]:
    """Load disputes for staff or a platform, the oldest first.

    Args:
        after: the last one of the page before.
    """
    query = select(Dispute)
    if wanted.state is not None:
        query = query.where(col(Dispute.state) == wanted.state)
    if wanted.live or wanted.overdue:
        query = query.where(col(Dispute.closed_at).is_(None))
    if wanted.overdue:
        query = query.where(col(Dispute.decision_due_at) < now)
    if wanted.platform is not None:
        mine = (col(Dispute.platform) == wanted.platform) | (col(Dispute.opener_platform) == wanted.platform)
        query = query.where(mine)
    last = session.get(Dispute, after) if after.isascii() and after.isprintable() and after else None
    if last is not None:
        later = (col(Dispute.opened_at) == last.opened_at) & (col(Dispute.dispute_id) > last.dispute_id)
        query = query.where((col(Dispute.opened_at) > last.opened_at) | later)
    return list(session.scalars(query.order_by(col(Dispute.opened_at), col(Dispute.dispute_id)).limit(limit)))


def load_disputes_of(session: Session, subject_id: int) -> list[Dispute]:
    """Load all disputes about a person's things, the newest first."""
    query = select(Dispute).where(col(Dispute.subject_id) == subject_id)
    return list(session.scalars(query.order_by(col(Dispute.opened_at).desc(), col(Dispute.dispute_id))))


def find_open_dispute(session: Session, event_id: int) -> Dispute | None:
    """Find the open dispute about an act or its amount."""
    query = select(Dispute).where(col(Dispute.event_id) == event_id, col(Dispute.closed_at).is_(None))
    return session.scalars(query).one_or_none()


def export_disputes(session: Session, hub: Hub, subject_id: int, now: datetime) -> list[dict[str, Any]]:
    """Tell a person everything of the disputes about their things."""
    who = Who(side=Side.PERSON, subject_id=subject_id)
    return [describe_whole(session, hub, row, who, now) for row in load_disputes_of(session, subject_id)]


def load_counts(session: Session, now: datetime) -> list[Count]:
    """Count disputes by what they are about and what became of them; nothing in it leads to anybody."""
    query = select(Dispute).where(col(Dispute.closed_at).is_(None) | (col(Dispute.opened_at) > now - FIGURES_OF))
    ages: dict[tuple[str, str], list[float]] = {}
    late: dict[tuple[str, str], int] = {}
    for row in session.scalars(query):
        key = (row.target, row.state)
        ages.setdefault(key, []).append(((row.closed_at or now) - row.opened_at).total_seconds())
        late[key] = late.get(key, 0) + (row.closed_at is None and now > row.decision_due_at)
    order = [(str(target), str(state)) for target in Target for state in State]
    return [
        Count(target=key[0], state=key[1], count=len(ages[key]), median_age_s=int(median(ages[key])), overdue=late[key])
        for key in order
        if key in ages
    ]


def _adjusted(one: Adjustment, who: Who) -> dict[str, Any]:
    told = {"adjustment": one.adjustment_id, "kind": one.kind, "event_id": one.event_id, "mg": one.mg}
    # What was owed was used before: only who owes it, whose it was and staff are told so.
    return told | ({"owed_mg": one.owed_mg} if who.platform in (None, one.platform) else {})


def _times(row: Dispute) -> dict[str, str | None]:
    told = {name: getattr(row, name) for name in _TIMES}
    return {name: None if at is None else at.isoformat() for name, at in told.items()}


def _waits_for(row: Dispute) -> str | None:
    """Say whose turn it is: `opener` to answer, both `sides` to write, the `hub` to decide."""
    if row.closed_at is not None:
        return None
    if row.answer_due_at is not None:
        return "opener"
    return "hub" if row.state == State.REVIEW else "sides"


def _locked(session: Session, row: Dispute) -> int:
    """Return the milligrams that are locked now: whole grams and attributes, as balances are told."""
    locks = [one for one in load_locked(session, row.dispute_id) if one.unlocked_at is None]
    return sum(one.both_mg + one.attribute_mg for one in locks)


def _still_counts(session: Session, row: Dispute) -> bool | None:
    """Whether the act still counts: a newer version by its platform may have taken it back meanwhile."""
    if row.event_id is None:
        return None
    gone = text("SELECT COUNT(*) FROM event_reversal WHERE event_id = :e")
    return not session.execute(gone, {"e": row.event_id}).scalar_one()


def _texts(session: Session, hub: Hub, row: Dispute, pieces: Sequence[DisputeEvidence]) -> list[str | None]:
    opened = load_vault(session, hub.ring, [row.subject_id]).open_many(
        "dispute_evidence", "text_sealed", row_ids=[one.evidence_id for one in pieces],
        subject_ids=[row.subject_id] * len(pieces), blobs=[one.text_sealed for one in pieces],
    )  # fmt: skip
    return [None if told is None else str(json.loads(told)["text"]) for told in opened]
