"""What tests of the doors share: a message, the stores that it may change, and what a clear refusal looks like."""

from datetime import UTC, datetime
from typing import Any

from tests_support.deliveries import act
from tests_support.pushes import body_of

NOW = datetime(2026, 11, 20, 8, 0, tzinfo=UTC)
STORES = ("source_record", "reduction_record", "quarantined", "batch", "decision", "change_leaf")
BODY = body_of(act("1"), act("2"))


def is_problem(answer: Any, status: int, reason: str) -> bool:
    """RFC 9457: the media type, the stable type, the status, and a title for people."""
    document = answer.json()
    return (
        answer.headers["content-type"] == "application/problem+json"
        and answer.status_code == document["status"] == status
        and document["type"] == f"urn:tanlian:problem:{reason}"
        and bool(document["title"])
    )
