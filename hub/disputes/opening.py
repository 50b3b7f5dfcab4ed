"""Open a dispute: find what it is about, lock what is still held, keep what was said. I/O: the caller's transaction. ADR 0037."""

import json
import secrets
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256

from sqlalchemy.orm import Session
from sqlmodel import col, select

from consent.vault import load_vault
from hub.changes import log_change
from hub.clearing.store import TAKE_BACK
from hub.clearing.windows import join_open_window
from hub.context import Hub
from hub.db import lock
from hub.disputes.locking import lock_events
from hub.disputes.rules import MOST_OPEN, MOST_PIECES, Side, State, Step, Weekdays, due_after, require_text
from hub.disputes.staffing import note_access, require_right, right_to_speak
from hub.disputes.tables import Dispute, DisputeEvidence
from hub.disputes.targets import Asked, Found, Who, find_target
from hub.errors import Conflict
from hub.log.leaves import FieldValue, Kind
from hub.staff.rights import What
from standards.canonical import canonical_bytes

SALT_BYTES = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """A dispute; `is_new` is false where the same opener had opened it before and it goes on."""

    dispute: Dispute
    is_new: bool


def open_dispute(session: Session, hub: Hub, asked: Asked, who: Who, now: datetime) -> Opened:
    """Open a dispute, or find the one that the same opener has open about the same thing.

    Raises:
        NotFound: there is no such thing that they may dispute. UsageProblem: what was said cannot be kept.
        Conflict: the thing is not settled, somebody else's dispute about it is open, or too many are.
    """
    text = require_text(asked.text)
    lock(session, TAKE_BACK)
    window_id = join_open_window(session)
    found = find_target(session, hub.ring, asked, who)
    if who.member is not None:
        require_right(who, right_to_speak(who), found.region)
    standing = _find_live(session, found)
    if standing is not None:
        if not _is_opener(standing, who):
            raise Conflict("a dispute about this is open already; what is decided there is decided for everybody")
        return Opened(dispute=standing, is_new=False)
    _require_few(session, who)
    row = _row(hub, asked, found, who, now)
    session.add(row)
    session.flush()
    row.locked_mg, used = lock_events(session, row.dispute_id, found.event_ids, window_id, now)
    row.used = used or found.used
    piece = append_evidence(session, hub, row, who, text, now)
    log_step(session, row, Step.OPENED, now, evidence=piece.digest)
    if who.member is not None:
        note_access(session, who, right_to_speak(who), What.DISPUTE_OPENED, row, now)
    return Opened(dispute=row, is_new=True)


def weekdays_of(hub: Hub) -> Weekdays:
    """Return the deadlines that the operator set."""
    told = hub.settings
    return Weekdays(
        acknowledge=told.dispute_acknowledge_weekdays, evidence=told.dispute_evidence_weekdays,
        decision=told.dispute_decision_weekdays,
    )  # fmt: skip


def append_evidence(
    session: Session, hub: Hub, row: Dispute, who: Who, text: str, now: datetime
) -> DisputeEvidence:  # fmt: skip
    """Keep a text (as `require_text` gives it), sealed under the key of the person whom the dispute is about.

    Raises:
        Conflict: this side has written often enough. ErasedError: the person is gone.
    """
    wanted = select(DisputeEvidence).where(col(DisputeEvidence.dispute_id) == row.dispute_id)
    before = list(session.scalars(wanted))
    if sum((one.side, one.platform) == (who.side, who.platform) for one in before) >= MOST_PIECES:
        raise Conflict(f"one side writes {MOST_PIECES} times at most")
    salted = json.dumps({"salt": secrets.token_hex(SALT_BYTES), "text": text}, ensure_ascii=False).encode()
    evidence_id = secrets.token_hex(16)
    vault = load_vault(session, hub.ring, [row.subject_id])
    sealed = vault.seal(
        "dispute_evidence", "text_sealed", row_id=evidence_id, subject_id=row.subject_id, plaintext=salted
    )
    piece = DisputeEvidence(
        evidence_id=evidence_id, dispute_id=row.dispute_id, number=len(before) + 1, subject_id=row.subject_id,
        side=who.side, platform=who.platform, text_sealed=sealed, digest=sha256(salted).digest(), at=now,
    )  # fmt: skip
    session.add(piece)
    session.flush()
    return piece


def log_step(session: Session, row: Dispute, step: Step, now: datetime, *, evidence: bytes = b"") -> None:
    """Tell the log of a step: nothing of whom it is about, and a digest for who has the row.

    A person's dispute names no platform: together with the time it could tell who it was.
    """
    row.steps += 1
    session.flush()
    told = {
        "adjust": row.adjust or "", "claimed_mg": str(row.claimed_mg or ""), "dispute": row.dispute_id,
        "evidence": evidence.hex(), "reason": row.reason, "state": row.state, "step": str(row.steps),
        "target": row.target_key, "what": str(step),
    }  # fmt: skip
    fields: dict[str, FieldValue] = {
        "what": f"dispute.{step}", "target": row.target, "reason": row.reason, "state": row.state, "step": row.steps,
        "opener": row.opener, "digest": sha256(canonical_bytes(told)).digest(),
    }  # fmt: skip
    if row.opener_platform is not None:
        fields["participant"] = row.opener_platform
    log_change(session, Kind.DISPUTE_CHANGED, f"{row.dispute_id}:{row.steps}", now, fields)


def _find_live(session: Session, found: Found) -> Dispute | None:
    wanted = select(Dispute).where(col(Dispute.target_key) == found.key, col(Dispute.closed_at).is_(None))
    return session.scalars(wanted).one_or_none()


def _is_opener(row: Dispute, who: Who) -> bool:
    if row.opener != who.side:
        return False
    match who.side:
        case Side.PERSON:
            return row.subject_id == who.subject_id
        case Side.PLATFORM:
            return row.opener_platform == who.platform
        case _:
            return who.member is not None and row.opener_staff == who.member.staff_id


def _require_few(session: Session, who: Who) -> None:
    most = MOST_OPEN.get(who.side)
    if most is None:
        return
    whose = (
        col(Dispute.opener_platform) == who.platform
        if who.side is Side.PLATFORM
        else (col(Dispute.opener) == Side.PERSON) & (col(Dispute.subject_id) == who.subject_id)
    )
    wanted = select(col(Dispute.dispute_id)).where(whose, col(Dispute.closed_at).is_(None)).limit(most)
    if len(session.scalars(wanted).all()) >= most:
        raise Conflict(f"{most} disputes of yours are open; wait for a decision, or withdraw one")


def _row(hub: Hub, asked: Asked, found: Found, who: Who, now: datetime) -> Dispute:
    days = weekdays_of(hub)
    return Dispute(
        dispute_id=f"d_{secrets.token_urlsafe(16)}", target=asked.target, target_key=found.key, event_id=found.event_id,
        link_id=found.link_id, reservation_id=found.reservation_id, claimed_mg=asked.claimed_mg, reason=asked.reason,
        subject_id=found.subject_id, platform=found.platform, region=found.region, opener=who.side,
        opener_platform=who.platform, opener_staff=None if who.member is None else who.member.staff_id,
        state=State.OPENED, opened_at=now, acknowledge_due_at=due_after(now, days.acknowledge),
        evidence_due_at=due_after(now, days.evidence), decision_due_at=due_after(now, days.decision),
    )  # fmt: skip
