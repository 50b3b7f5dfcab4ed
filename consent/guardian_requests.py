"""What a client asks of a child under 14, put to the guardian (PIPL articles 28 and 31). I/O: `guardian_request`.

    the child asks -> waiting -> approved -> used: the child's next try with the same request completes
                              -> refused  -> used: the child's next try tells the client
                   approved -> refused           : taken back before it was used

The child's request lives minutes and the guardian answers in their own time, on their own device: so a yes is kept, for
this child, this client and this very request, for one use within some days. The grant is made when it is used, of what
the guardian was shown and said yes to. A row beyond its end, of another guardian's yes, or of who has turned 14 is none.
"""

import json
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from sqlalchemy import delete, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session
from sqlmodel import col

from consent.authorize import Decision, DecisionRefused, agreed_to, record_refusal
from consent.changes import Change
from consent.clients import load_client
from consent.details import dump_details, load_details
from consent.errors import ConsentError
from consent.guardians import find_guardian, is_child, load_wards
from consent.pushed import Asked
from consent.tables import GuardianRequest
from consent.terms import Assurance, Sensitive

LIFE = timedelta(days=7)  # from asking to the answer, and again from a yes to its use


class Answer(StrEnum):
    APPROVED = "approved"
    REFUSED = "refused"


class RequestOver(ConsentError):
    """Nobody waits for this answer (any more): it was given, withdrawn or too late, or is not this guardian's to give."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A request to a guardian that still matters: without an answer, or with one that was not used yet."""

    request_id: str
    subject_id: int
    asked: Asked
    created_at: datetime
    expires_at: datetime
    answer: Answer | None
    guardian_id: int | None
    agreed: str


def ask_guardian(session: Session, asked: Asked, *, subject_id: int, now: datetime) -> None:
    """Put a request to the guardian of this child; asking twice is asking once, and another request of the client takes
    the place of one that waits."""
    if find_request(session, asked, subject_id=subject_id, now=now) is not None:
        return
    _forget_waiting(session, asked, subject_id)
    parameters = {
        "scope": asked.scope, "details": dump_details(asked.details), "action": asked.action, "grant_id": asked.grant_id
    }  # fmt: skip
    row = GuardianRequest(
        request_id="q_" + secrets.token_urlsafe(16), subject_id=subject_id, client_id=asked.client.client_id,
        digest=asked.digest, asked=json.dumps(parameters), created_at=now, expires_at=now + LIFE,
    )  # fmt: skip
    try:
        with session.begin_nested():
            session.add(row)
    except IntegrityError:
        return  # asked in another window at the same moment


def find_request(session: Session, asked: Asked, *, subject_id: int, now: datetime) -> Request | None:
    """What became of this very request of a child: the one with an answer if there is one."""
    rows = session.scalars(
        _open(now).where(
            col(GuardianRequest.subject_id) == subject_id,
            col(GuardianRequest.client_id) == asked.client.client_id,
            col(GuardianRequest.digest) == asked.digest,
        )
    )
    guardian_id = find_guardian(session, subject_id=subject_id)
    found = [one for row in rows if (one := _parse(session, row)) and one.guardian_id in (None, guardian_id)]
    return max(found, key=lambda one: (one.answer is not None, one.created_at), default=None)


def load_requests(session: Session, *, guardian_id: int, now: datetime) -> list[Request]:
    """What waits for this guardian's answer, and the yeses that wait for a child; oldest first."""
    wards = [ward.subject_id for ward in load_wards(session, guardian_id=guardian_id, now=now)]
    rows = session.scalars(_open(now).where(col(GuardianRequest.subject_id).in_(wards)))
    found = [one for row in rows if (one := _parse(session, row)) and one.guardian_id in (None, guardian_id)]
    return [one for one in found if one.answer is not Answer.REFUSED]


def require_request(session: Session, *, request_id: str, guardian_id: int, now: datetime) -> Request:
    """One of them. Raises RequestOver."""
    mine = load_requests(session, guardian_id=guardian_id, now=now)
    found = next((one for one in mine if one.request_id == request_id), None)
    if found is None:
        raise RequestOver
    return found


def allow(session: Session, request: Request, decision: Decision, *, guardian_id: int, now: datetime) -> None:
    """Keep the guardian's yes until the child comes back.

    Raises:
        DecisionRefused: nothing is left of what they would allow.
        RequestOver: it was answered meanwhile.
    """
    agreed_to(request.asked, decision)
    agreed = {
        "notice": decision.notice_version, "language": decision.language,
        "sensitive": sorted(decision.agreed), "chosen": sorted(decision.chosen),
    }  # fmt: skip
    values = {"answer": Answer.APPROVED.value, "agreed": json.dumps(agreed), "expires_at": now + LIFE}
    _decide(session, request, guardian_id, now, values)


def decline(
    session: Session, request: Request, decision: Decision, *, guardian_id: int, now: datetime
) -> Sequence[Change]:
    """Record the guardian's no; it takes back a yes that was not used yet. Raises RequestOver."""
    _decide(session, request, guardian_id, now, {"answer": Answer.REFUSED.value, "expires_at": now + LIFE})
    return record_refusal(session, request.asked, decision, now)


def use_request(session: Session, request: Request, *, now: datetime, change: Change | None = None) -> None:
    """Use up an answer, in the transaction that acts by it: a yes by the grant that `change` tells of, or a no.

    Raises RequestOver for all but one of any number of racing callers.
    """
    values: dict[str, Any] = {"used_at": now}
    if change is not None:
        given = {"grant_id": change.ids["grant_id"], "grant_version": int(change.ids["version"])}
        values |= given | {"expires_at": None}
    mine = (
        col(GuardianRequest.request_id) == request.request_id,
        col(GuardianRequest.answer) == request.answer,
        col(GuardianRequest.used_at).is_(None),
    )
    _require_one(session.execute(update(GuardianRequest).where(*mine).values(**values)))


def drop_requests(session: Session, asked: Asked, *, subject_id: int) -> None:
    """Forget what this client asked of a child and was not used: the child does not want it."""
    session.execute(
        delete(GuardianRequest).where(
            col(GuardianRequest.subject_id) == subject_id,
            col(GuardianRequest.client_id) == asked.client.client_id,
            col(GuardianRequest.used_at).is_(None),
        )
    )


def decision_of(session: Session, request: Request, *, now: datetime) -> Decision:
    """The guardian's yes as the decision that it is. Raises DecisionRefused unless it stands now."""
    stands = (
        request.answer is Answer.APPROVED
        and now < request.expires_at
        and is_child(session, subject_id=request.subject_id, now=now)
        and request.guardian_id == find_guardian(session, subject_id=request.subject_id)
    )
    if not stands:
        raise DecisionRefused("the guardian has not allowed this, or no longer does")
    told = json.loads(request.agreed)
    return Decision(
        subject_id=request.subject_id, assurance=Assurance.GUARDIAN, notice_version=told["notice"],
        language=told["language"], agreed=frozenset(Sensitive(one) for one in told["sensitive"]),
        chosen=frozenset(told["chosen"]),
    )  # fmt: skip


def _decide(session: Session, request: Request, guardian_id: int, now: datetime, values: dict[str, object]) -> None:
    before = request.answer
    mine = (
        col(GuardianRequest.request_id) == request.request_id,
        col(GuardianRequest.used_at).is_(None),
        col(GuardianRequest.answer).is_(None) if before is None else col(GuardianRequest.answer) == before,
    )
    decided = {"guardian_id": guardian_id, "decided_at": now, **values}
    _require_one(session.execute(update(GuardianRequest).where(*mine).values(**decided)))


def _require_one(result: Any) -> None:
    if result.rowcount != 1:
        raise RequestOver


def _forget_waiting(session: Session, asked: Asked, subject_id: int) -> None:
    """Make room: whatever else of this client waits for the guardian of this child, expired or not."""
    session.execute(
        delete(GuardianRequest).where(
            col(GuardianRequest.subject_id) == subject_id,
            col(GuardianRequest.client_id) == asked.client.client_id,
            col(GuardianRequest.decided_at).is_(None),
        )
    )


def _open(now: datetime) -> Any:
    query = select(GuardianRequest).where(col(GuardianRequest.used_at).is_(None), col(GuardianRequest.expires_at) > now)
    return query.order_by(col(GuardianRequest.created_at))


def _parse(session: Session, row: GuardianRequest) -> Request | None:
    client = load_client(session, row.client_id)
    if client is None or row.expires_at is None:  # suspended: nobody decides on it meanwhile
        return None
    told = json.loads(row.asked)
    asked = Asked(
        client=client, scope=told["scope"], details=load_details(told["details"]), action=told["action"],
        grant_id=told["grant_id"], digest=row.digest,
    )  # fmt: skip
    return Request(
        request_id=row.request_id, subject_id=row.subject_id, asked=asked, created_at=row.created_at,
        expires_at=row.expires_at, answer=None if row.answer is None else Answer(row.answer),
        guardian_id=row.guardian_id, agreed=row.agreed,
    )  # fmt: skip
