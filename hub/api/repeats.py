"""The same write twice is one write. I/O: the database, inside the caller's transaction.

Draft-ietf-httpapi-idempotency-key-header: the caller names each write with an `Idempotency-Key`. The same key with the same
request gets the same answer, with another request a conflict. The answer commits with the change, so a request that failed
left nothing and may be sent again under its key. Answers are kept for KEPT.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any, cast

from fastapi import Request
from sqlalchemy import CursorResult, text
from sqlalchemy.orm import Session

from hub.api.tables import AnsweredRequest
from hub.columns import instant_text
from hub.errors import Conflict, UsageProblem

HEADER = "idempotency-key"
MOST_CHARS = 200
KEPT = timedelta(days=7)


@dataclass(frozen=True, slots=True, kw_only=True)
class Write:
    """What names a write: the caller's key, and a digest of what it asks."""

    key: str
    digest: bytes


def parse_write(request: Request, body: bytes) -> Write:
    """Return what names this write.

    Raises:
        UsageProblem: there is no key, or it is not printable ASCII of 1 to 200 characters.
    """
    keys = request.headers.getlist(HEADER)
    key = keys[0] if len(keys) == 1 else ""
    if not (0 < len(key) <= MOST_CHARS and key.isascii() and key.isprintable()):
        raise UsageProblem(f"this address needs one Idempotency-Key of 1 to {MOST_CHARS} printable ASCII characters")
    said = f"{request.method} {request.url.path}\n".encode() + body
    return Write(key=key, digest=sha256(said).digest())


def answer_once(
    session: Session, client_id: str, write: Write, now: datetime, act: Callable[[], tuple[int, dict[str, Any]]]
) -> tuple[int, dict[str, Any]]:
    """Do the write and keep its answer, or return the answer that it had.

    Args:
        act: does it, in this transaction; returns status and body. What it raises undoes everything, the key too.

    Raises:
        Conflict: the key came before with another request.
    """
    claim = text(
        "INSERT INTO answered_request (client_id, request_key, digest, status, answer, at) "
        "VALUES (:c, :k, :d, 0, '', :at) ON CONFLICT DO NOTHING"
    )
    params = {"c": client_id, "k": write.key, "d": write.digest, "at": instant_text(session, now)}
    # Of two at once the second waits here until the first has committed, and then finds its answer.
    if not cast(CursorResult[Any], session.execute(claim, params)).rowcount:
        before = session.get_one(AnsweredRequest, (client_id, write.key))
        if before.digest != write.digest:
            raise Conflict("this Idempotency-Key came before with another request")
        return before.status, json.loads(before.answer)
    status, told = act()
    kept = session.get_one(AnsweredRequest, (client_id, write.key))
    kept.status, kept.answer = status, json.dumps(told, ensure_ascii=False)
    session.flush()
    return status, told


def forget_answers(session: Session, now: datetime) -> int:
    """Delete answers that were kept long enough; returns how many."""
    before = instant_text(session, now - KEPT)
    done = session.execute(text("DELETE FROM answered_request WHERE at < :t"), {"t": before})
    return cast(CursorResult[Any], done).rowcount
