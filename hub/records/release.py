"""Decide about holds: release them into the open window, or reject them for good. I/O: the database. ADR 0028.

A released record is taken in again as a version of its own, as a restatement does it: same content, same pins, another
number, in the open window. The held event falls with the record it is named by, and its other reports are decided anew
beside the new version (ADR 0005). So nothing of a sealed or final window is edited, late acts keep their vintage, and what
was counted meanwhile still counts once.
"""

import secrets
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import Any

import polars as pl
from sqlalchemy.orm import Session

from consent.guard import Permit, permit
from consent.terms import HUB, Purpose
from consent.vault import load_vault
from hub.changes import log_change
from hub.clearing.reviews.holds import load_standing
from hub.clearing.reviews.reviews import Outcome, Review, Standing, require_open_hold, require_why
from hub.clearing.tables import HoldReview
from hub.clearing.windows import hold_unfinished_windows
from hub.context import Hub
from hub.db import load_frame, lock, next_sequence, writing
from hub.errors import Conflict
from hub.log.leaves import Kind
from hub.log.merkle import commitment_root
from hub.records.collect import Origin
from hub.records.intake import Intake
from hub.records.store import Shelf, append_records, mark_dirty
from hub.records.tables import Batch
from hub.staff.accounts import member_of, require_member
from hub.staff.actions import append_action
from hub.staff.rights import NO_SCOPE, Member, Right, What, find_refusal
from standards.schema import UTC_US

_STORED: dict[str, Any] = {
    "record_id": pl.Int64(), "subject_id": pl.Int64(), "platform": pl.String(), "role": pl.String(),
    "behaviour": pl.String(), "start_us": pl.Int64(), "end_us": pl.Int64(), "precision": pl.String(),
    "quantity_micro": pl.Int64(), "unit": pl.String(), "event_key": pl.Int64(), "payment_key": pl.Int64(),
    "region": pl.Int32(), "claimed_mg": pl.Int64(), "reference_mg": pl.Int64(), "factor_id": pl.String(),
    "methodology": pl.String(), "mapping": pl.String(), "stream": pl.String(), "source_id": pl.String(),
    "version": pl.Int64(), "digest": pl.Binary(), "link_id": pl.String(), "posted_us": pl.Int64(),
    "received_us": pl.Int64(), "payload": pl.Binary(), "cancelled": pl.Boolean(),
}  # fmt: skip
_SOURCE = {"stream", "source_id", "version", "digest", "link_id", "posted_us", "received_us", "payload", "cancelled"}
_DONE = {Outcome.RELEASED: What.HOLD_RELEASED, Outcome.REJECTED: What.HOLD_REJECTED}


@dataclass(frozen=True, slots=True, kw_only=True)
class Reviewed:
    """What was decided; `record_id` is the version that is cleared in the open window, of a release."""

    event_id: int
    outcome: Outcome
    rule: str
    reason: str
    window_id: int
    record_id: int | None
    digest: bytes


def decide_hold(hub: Hub, record_id: int, outcome: Outcome, *, by: str, why: str, now: datetime) -> Reviewed:
    """Release or reject a hold. The review, the new version, the staff action and the leaves commit together.

    Args:
        by: the name of a member of staff with the right to decide about holds. why: one line without anybody's name.

    Raises:
        NotFound: there is no such record or member. Conflict: the record is not held, does not stand, was decided about
            before, or may not be cleared now. UsageProblem: the member may not, or the line cannot be kept.
    """
    why = require_why(why)
    with writing(hub.engine) as session:
        # Of two reviewers at once the second one waits here, and is then told what the first one decided.
        lock(session, "review_hold")
        member = _require_reviewer(session, by)
        window_id = hold_unfinished_windows(session)
        hold = require_open_hold(load_standing(session, record_id), record_id, outcome)
        review = Review(
            review_id=secrets.token_hex(16), event_id=record_id, outcome=outcome, rule=hold.rule or "",
            reason=hold.reason or "", staff_id=member.staff_id, why=why, window_id=window_id, at=now,
        )  # fmt: skip
        taken = _take_again(session, hub, hold, review, now) if outcome is Outcome.RELEASED else None
        _append(session, hold, review, taken)
        append_action(
            session, member, right=Right.DECIDE_HOLDS, what=_DONE[outcome], now=now, ids={"window": str(window_id)}
        )
        log_change(session, Kind.REVIEW_DECIDED, review.review_id, now, review.leaf_fields(str(member.role)))
    return Reviewed(
        event_id=record_id, outcome=outcome, rule=review.rule, reason=review.reason, window_id=window_id, record_id=taken,
        digest=review.digest(),
    )  # fmt: skip


def _require_reviewer(session: Session, name: str) -> Member:
    row = require_member(session, name)
    if row.disabled_at is not None:
        raise Conflict("this member of staff is disabled")
    member = member_of(row)
    refusal = find_refusal(member, Right.DECIDE_HOLDS, NO_SCOPE)
    if refusal is not None:
        raise Conflict(f"staff of the role {member.role} may not decide about holds ({refusal})")
    return member


def _append(session: Session, hold: Standing, review: Review, record_id: int | None) -> None:
    row = HoldReview(
        event_id=review.event_id, review_id=review.review_id, subject_id=hold.subject_id, outcome=str(review.outcome),
        rule=review.rule, reason=review.reason, staff_id=review.staff_id, why=review.why, record_id=record_id,
        window_id=review.window_id, at=review.at,
    )  # fmt: skip
    session.add(row)
    session.flush()


def _take_again(session: Session, hub: Hub, hold: Standing, review: Review, now: datetime) -> int:
    """Store the record again as a version in the open window; returns its number."""
    row = _load_record(session, hold.record_id)
    allowed = _ask(session, row, now)
    vault = load_vault(session, hub.ring, [hold.subject_id])
    (payload,) = vault.open_many(
        "source_record", "payload", row_ids=[hold.record_id], subject_ids=[hold.subject_id],
        blobs=row["payload"].to_list(),
    )  # fmt: skip
    if payload is None:
        raise Conflict(f"what was kept of record {hold.record_id} cannot be read")
    number = next_sequence(session, "record", 1)[0]
    fresh = row.with_columns(
        record_id=pl.lit(number, pl.Int64()),
        newest=pl.lit(True),
        payload=pl.lit(payload, pl.Binary()),
        digest=pl.lit(_digest(review, row["digest"][0]), pl.Binary()),
        start_at=pl.col("start_us").cast(UTC_US),
        end_at=pl.col("end_us").cast(UTC_US),
        posted_at=pl.col("posted_us").cast(UTC_US),
        event_key=pl.col("event_key").reinterpret(signed=False),
        payment_key=pl.col("payment_key").reinterpret(signed=False),
    )
    batch = _open_batch(session, fresh, review, now)
    shelf = Shelf(platform=batch.platform, stream=batch.stream, mapping=batch.mapping, window_id=batch.window_id)
    standing = row.select("source_id", standing_id="record_id")
    intake = Intake(
        fresh=fresh.with_columns(batch_id=pl.lit(batch.batch_id)), replayed=fresh.clear(), conflicting=fresh.clear(),
        standing=standing,
    )  # fmt: skip
    append_records(session, allowed, vault, shelf, intake, methodology=row["methodology"][0], received_at=now)
    mark_dirty(session, row["subject_id"])
    return number


def _load_record(session: Session, record_id: int) -> pl.DataFrame:
    names = ", ".join(f"{'s' if name in _SOURCE else 'r'}.{name}" for name in _STORED)
    sql = f"SELECT {names} FROM reduction_record r JOIN source_record s USING (record_id) WHERE r.record_id = :r"
    return load_frame(session, sql, _STORED, r=record_id).with_row_index("row")


def _ask(session: Session, row: pl.DataFrame, now: datetime) -> Permit:
    """Ask whether the act may be cleared, and whether it may be credited; a withdrawal meanwhile waits."""
    asked = row.select("row", "subject_id", "platform", "behaviour", at=pl.col("start_us").cast(UTC_US))
    for purpose in (Purpose.CLEAR, Purpose.CREDIT):
        allowed = permit(session, purpose=purpose, recipient=HUB, asked=asked, now=now, hold=True)
        if len(allowed.refused):
            reason = allowed.refused["reason"][0]
            raise Conflict(f"its person does not allow now that record {row['record_id'][0]} counts ({reason})")
    return allowed


def _open_batch(session: Session, fresh: pl.DataFrame, review: Review, now: datetime) -> Batch:
    (row,) = fresh.iter_rows(named=True)
    batch = Batch(
        batch_id=next_sequence(session, "batch", 1)[0], platform=row["platform"], stream=row["stream"],
        delivery_id=f"released:{review.review_id}", origin=str(Origin.RELEASED), digest=review.digest(),
        mapping=row["mapping"], rows=1, accepted=1, replayed=0, conflicting=0, refused=0, quarantined=0,
        claimed_mg=row["claimed_mg"] or 0, window_id=review.window_id, records_root=commitment_root([row["digest"]]),
        received_at=now,
    )  # fmt: skip
    session.add(batch)
    session.flush()
    fields = {
        "participant": batch.platform, "stream": batch.stream, "mapping": batch.mapping, "window": batch.window_id,
        "batch": batch.batch_id, "decision": batch.digest, "accepted_count": 1, "claimed_mg": batch.claimed_mg,
        "records_root": batch.records_root,
    }  # fmt: skip
    log_change(session, Kind.BATCH_RELEASED, f"{batch.batch_id}", now, fields)
    return batch


def _digest(review: Review, content: bytes) -> bytes:
    """Name the new version of a record: no platform's own telling can have this digest."""
    return sha256(b"released\x00" + review.review_id.encode() + b"\x00" + content).digest()
