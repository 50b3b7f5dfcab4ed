"""What a leaf can be found by, read from the leaf alone. Pure.

participant  who exchanged, or whose standing changed
window       the clearing window
batch        the batch of records
purpose      as the leaf says it, else what its kind is for
outcome      as the leaf says it, else its state, else the last word of its kind (`grant.revoked`: revoked)
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from hub.log.leaves import Kind

MOST_CHARS = 40
# Purposes of the consent terms where a leaf is about records of people; words of the hub's own elsewhere.
PURPOSE_OF_KIND: Mapping[str, str] = {
    Kind.BATCH_RECEIVED: "collect", Kind.BATCH_FETCHED: "collect", Kind.BATCH_REPLAYED: "collect",
    Kind.BATCH_RESTATED: "restate", Kind.BATCH_RELEASED: "review", Kind.ROWS_DISCARDED: "collect",
    Kind.WINDOW_OPENED: "clear", Kind.WINDOW_SEALED: "clear", Kind.WINDOW_CLEARED: "clear",
    Kind.WINDOW_PROVISIONAL: "clear", Kind.WINDOW_FINAL: "clear", Kind.ENTRIES_POSTED: "credit",
    Kind.STATEMENT_RECEIVED: "settlement", Kind.RECONCILIATION_DONE: "settlement", Kind.BREAK_CHANGED: "settlement",
    Kind.EXCHANGE_PAIRED: "settlement", Kind.EXCHANGE_COUNTED: "operation", Kind.DISCLOSURE_MADE: "disclose",
    Kind.PRECHECK_ANSWERED: "precheck", Kind.REVIEW_DECIDED: "review", Kind.ADJUSTMENT_POSTED: "adjustment",
    Kind.DISPUTE_CHANGED: "dispute", Kind.TOTALS_TOLD: "statistics", Kind.RESERVATION_CHANGED: "reserve",
    Kind.CONSENT_CHANGED: "consent", Kind.LINK_CHANGED: "consent", Kind.ATTESTATION_ISSUED: "attest",
    Kind.ATTESTATION_REVOKED: "attest",
}  # fmt: skip
_OUTCOMES = ("outcome", "state", "status", "what")


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What one leaf can be found by; as the columns of `log_entry`."""

    kind: str
    at: datetime
    participant: str | None
    purpose: str | None
    outcome: str | None
    window_id: int | None
    batch_id: int | None


def found_by(kind: str, at: datetime, fields: Mapping[str, Any]) -> Found:
    """Return what a leaf can be found by.

    Args:
        at: when, of whole seconds. fields: the leaf's own, before or after they went through JSON.
    """
    told = next((str(fields[name]) for name in _OUTCOMES if isinstance(fields.get(name), str)), kind)
    return Found(
        kind=str(kind), at=at, participant=_word(fields.get("participant"), 64),
        purpose=_word(fields.get("purpose", PURPOSE_OF_KIND.get(kind)), MOST_CHARS),
        outcome=_word(told.rpartition(".")[2], MOST_CHARS), window_id=_number(fields.get("window")),
        batch_id=_number(fields.get("batch")),
    )  # fmt: skip


def _word(value: object, most: int) -> str | None:
    return str(value)[:most] if isinstance(value, str) and value else None


def _number(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None
