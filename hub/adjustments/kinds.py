"""Kinds of adjustments, their reasons, and what the log says of one. Pure. ADR 0035.

    full_reversal     all that is left of an event: the act does not count
    partial_reversal  a part of it
    correction        down to the right amount
    claw_back         all or a part, also of what was used: the platform that reported the act owes that
    reattribution     the same act and the same grams count for another platform that reported it, too
    buffer_draw       the hub's buffer delivers what a platform owes and cannot

A correction by the platform (a newer version of its record) and a restatement by another methodology are no orders: they go
through clearing, and so does a hold that is released.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from hashlib import sha256

from hub.adjustments.tables import Adjustment
from hub.log.leaves import FieldValue
from standards.canonical import canonical_bytes


class AdjustmentKind(StrEnum):
    """What an adjustment does."""

    FULL_REVERSAL = "full_reversal"
    PARTIAL_REVERSAL = "partial_reversal"
    CORRECTION = "correction"
    CLAW_BACK = "claw_back"
    REATTRIBUTION = "reattribution"
    BUFFER_DRAW = "buffer_draw"


class Reason(StrEnum):
    """Why, in a code that every participant knows."""

    DUPL = "dupl"  # the act counts twice
    LATE = "late"  # it came when it could not count any more
    METH = "meth"  # the methodology was applied wrongly
    FACT = "fact"  # a figure is wrong
    FRAD = "frad"  # it was made up
    CONS = "cons"  # there was no consent
    LINK = "link"  # it is another person's
    SRCC = "srcc"  # its source says something else now
    CAPX = "capx"  # more than a cap allows
    OPER = "oper"  # a mistake in operating the hub


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What is to be done.

    Args:
        event_id: the event; None for a buffer draw.
        mg: milligrams. Of a partial reversal: to take back. Of a correction: what is right. Of a claw-back: to take back, all
            if nothing is said. Of a draw: to deliver.
        platform: of a re-attribution, for which the act counts from now on; of a draw, who owes.
        case_id: the dispute whose outcome this is.
        why: one line without anybody's name; kept, and logged as a digest.
    """

    kind: AdjustmentKind
    reason: Reason
    event_id: int | None = None
    mg: int | None = None
    platform: str | None = None
    case_id: str | None = None
    why: str


def digest_of(row: Adjustment) -> bytes:
    """Name a row in the log: whoever is shown the row can check that it is the one that was logged."""
    told = {
        "adjustment": row.adjustment_id, "at": row.at.isoformat(), "case": row.case_id or "",
        "event": str(row.event_id or ""), "kind": row.kind, "mg": str(row.mg), "owed_mg": str(row.owed_mg),
        "platform": row.platform, "reason": row.reason, "staff": row.staff_id, "to_platform": row.to_platform or "",
        "why": row.why, "window": str(row.window_id),
    }  # fmt: skip
    return sha256(canonical_bytes(told)).digest()


def leaf_fields(row: Adjustment) -> Mapping[str, FieldValue]:
    """Return what the log says: what was done, why by its code, to whose account of the books, and the row's digest."""
    fields: dict[str, FieldValue] = {
        "what": row.kind, "reason": row.reason, "participant": row.platform, "window": row.window_id,
        "digest": digest_of(row),
    }  # fmt: skip
    if row.to_platform is not None:
        fields["to_participant"] = row.to_platform
    if row.case_id is not None:
        fields["case"] = sha256(row.case_id.encode()).digest()
    return fields
