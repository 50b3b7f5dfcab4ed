"""What a reviewer may decide about a hold, and what the log says of it. Pure.

A release says: this is an act of its own, and it can be. It is cleared again in the open window, as a new version of the
record that it was held by; it is not doubted again for being implausible, tied or uncertain, and every other rule holds:
what was counted meanwhile makes it a duplicate, two trips at once stay two trips at once. A rejection says that it never
counts; the decision that held it stays as it is, and its review stands beside it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from hashlib import sha256

import polars as pl

from hub.errors import Conflict, NotFound, UsageProblem
from hub.log.leaves import FieldValue
from standards.canonical import canonical_bytes
from standards.schema import Verdict

WHY_CHARACTERS = 200
NEVER_RELEASED = frozenset({"declared_only"})
"""Held until somebody else tells of the act too: no reviewer can stand in for a second witness."""


class Outcome(StrEnum):
    """What was decided."""

    RELEASED = "released"
    REJECTED = "rejected"


@dataclass(frozen=True, slots=True, kw_only=True)
class Review:
    """One decision about one hold. `review_id` is random, so that the digest says nothing to who has not the row."""

    review_id: str
    event_id: int
    outcome: Outcome
    rule: str
    reason: str
    staff_id: str
    why: str
    window_id: int
    at: datetime

    def digest(self) -> bytes:
        """Name the row in the log: whoever is shown the row can check that it is the one that was logged."""
        told = {
            "at": self.at.isoformat(), "event": str(self.event_id), "outcome": str(self.outcome), "reason": self.reason,
            "review": self.review_id, "rule": self.rule, "staff": self.staff_id, "why": self.why,
            "window": str(self.window_id),
        }  # fmt: skip
        return sha256(canonical_bytes(told)).digest()

    def leaf_fields(self, role: str) -> Mapping[str, FieldValue]:
        """Return what the log says: that somebody of this role decided, what kind of hold it was, and the row's digest."""
        return {
            "what": f"hold.{self.outcome}", "rule": self.rule, "reason": self.reason, "window": self.window_id,
            "role": f"staff.{role}", "digest": self.digest(),
        }  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What stands about one record, as far as a review needs to know."""

    record_id: int
    subject_id: int
    event_id: int | None
    verdict: str | None
    rule: str | None
    reason: str | None
    provisional: bool
    taken_back: bool
    superseded: bool
    cancelled: bool
    erased: bool
    reviewed: str | None


def require_why(why: str) -> str:
    """Return the reason that a reviewer gives. Raises UsageProblem unless it is one line that can be kept."""
    why = why.strip()
    if not why or len(why) > WHY_CHARACTERS or not why.isprintable():
        raise UsageProblem(f"say why in one line of at most {WHY_CHARACTERS} characters, without anybody's name")
    return why


def require_open_hold(standing: Standing | None, record_id: int, outcome: Outcome) -> Standing:
    """Return the hold that is to be decided about.

    Raises:
        NotFound: there is no such record. Conflict: it is not held now, or not by itself, or was decided about before.
    """
    if standing is None:
        raise NotFound(f"there is no record {record_id}")
    problem = _problem(standing, outcome)
    if problem:
        raise Conflict(f"record {record_id} {problem}")
    return standing


def _problem(one: Standing, outcome: Outcome) -> str:
    if one.erased:
        return "is of somebody who was erased; nothing of it can count"
    if one.verdict is None or one.provisional:
        return "is not decided yet: its window is not cleared"
    if one.reviewed is not None:
        return f"was reviewed before, and {one.reviewed}"
    if one.event_id is not None and one.event_id != one.record_id:
        return f"is a report of the act of record {one.event_id}: decide about that one"
    if one.verdict != Verdict.HELD:
        return f"is not held but {one.verdict}"
    if one.superseded or one.cancelled or one.taken_back:
        return "does not stand any more: its platform corrected or withdrew it"
    if outcome is Outcome.RELEASED and one.reason in NEVER_RELEASED:
        return "is what a person's own document says: it counts when somebody else tells of the act too"
    return ""


def waived_records(released: pl.DataFrame, earlier: pl.DataFrame, records: pl.DataFrame) -> pl.DataFrame:
    """Return record_id and act of the records that are decided now and belong to released acts.

    Args:
        released: record_id, event_id: the versions that took the place of held records, and the events that were held.
        earlier: record_id, event_id of what earlier windows decided; records: record_id of what is decided now.
    """
    others = earlier.join(released.select("event_id"), on="event_id", how="semi").select("record_id", "event_id")
    members = pl.concat([released.select("record_id", "event_id"), others]).unique("record_id", maintain_order=True)
    return members.join(records, on="record_id", how="semi").rename({"event_id": "act"})
