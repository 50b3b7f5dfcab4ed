"""Totals and programmes as data: /v1/totals, /v1/programmes, /v1/account/programmes. I/O: HTTP, the database.

A participant (client-credentials token) sees the regional totals, which are everybody's to see, and those of the programmes
that it runs. A person sees all programmes and their own memberships. Joining is the person's own decision, made with their
session; an app that acts for them can show programmes and let them leave, and sends them to the portal to join.
"""

from hashlib import sha256
from typing import Annotated, Any, Literal

from fastapi import APIRouter, HTTPException, Query, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from sqlalchemy.orm import Session
from starlette.concurrency import run_in_threadpool

from connectors.strict_json import MalformedJsonError, parse_object
from consent.guardians import GuardianNeeded
from consent.sessions import CsrfRefused
from consent.tokens import ApiCall
from hub.api.access import Gate
from hub.api.bodies import read_bounded
from hub.api.repeats import Write, answer_once, parse_write
from hub.context import Hub
from hub.db import reading, writing
from hub.errors import NotFound, UsageProblem
from hub.portal.browser import Visit, require_own, visit
from hub.totals.asking import answer, parse_question, to_document
from hub.totals.membership import (
    describe_membership,
    find_membership,
    join_programme,
    leave_programme,
    load_memberships_of,
    load_shares,
)
from hub.totals.programmes import count_members, describe, load_programmes, require_programme

PARTICIPANT_SCOPE, PERSON_SCOPE = "records:write", "account:read"
MOST_BYTES = 1_024
CSRF = "x-csrf-token"
By = Annotated[str, Query(max_length=100, description="region, city, category, behaviour, day, month; with commas")]
Period = Annotated[str, Query(max_length=10, description="a year, a month or a day: 2026, 2026-11, 2026-11-05")]
ProgrammeId = Annotated[str | None, Query(max_length=32, description="a programme that this participant runs")]


class Decision(BaseModel):
    """What the person decided."""

    model_config = ConfigDict(strict=True, extra="forbid")

    decision: Literal["join", "leave"] = Field(
        description="join: acts from now on; leave: no later total has any of them"
    )


def totals_router(hub: Hub, gate: Gate) -> APIRouter:
    """Build the router."""
    router = APIRouter(prefix="/v1", tags=["totals"])

    @router.get("/totals", responses=_PROBLEMS)
    async def totals(request: Request, period: Period, by: By = "", programme: ProgrammeId = None) -> dict[str, Any]:
        """Give totals of final windows, by what is asked; of everybody, or of one programme of this participant."""
        return await run_in_threadpool(_totals, hub, gate, gate.call(request), by, period, programme)

    @router.get("/programmes", responses=_PROBLEMS)
    async def programmes(request: Request) -> dict[str, Any]:
        """List the programmes that this participant runs, with about how many had joined when the month began."""
        return await run_in_threadpool(_programmes, hub, gate, gate.call(request))

    @router.get("/account/programmes", responses=_PROBLEMS)
    async def mine(request: Request) -> dict[str, Any]:
        """List the programmes there are, what this person joined and left, and their own exact share."""
        return await run_in_threadpool(_mine, hub, gate, request)

    @router.put("/account/programmes/{programme}", openapi_extra=_described(), responses=_PROBLEMS)
    async def decide(request: Request, programme: str) -> JSONResponse:
        """Join or leave: by the person's session with its CSRF token in X-CSRF-Token; leave also by a person's token."""
        body = await read_bounded(request, MOST_BYTES)
        return await run_in_threadpool(_decide, hub, gate, request, programme, body)

    return router


def _participant(gate: Gate, call: ApiCall) -> str:
    token = gate.enter(call, PARTICIPANT_SCOPE)
    if token.participant is None:
        raise HTTPException(403, "this client acts for no participant")
    return token.participant


def _totals(hub: Hub, gate: Gate, call: ApiCall, by: str, period: str, programme: str | None) -> dict[str, Any]:
    participant = _participant(gate, call)
    question = parse_question(by, period, programme)
    with reading(hub.engine) as session:
        # Another's programme is answered like one that does not exist.
        if programme is not None and require_programme(session, programme).participant_id != participant:
            raise NotFound(f"there is no programme {programme!r}")
        return to_document(answer(session, question, k=hub.settings.totals_k))


def _programmes(hub: Hub, gate: Gate, call: ApiCall) -> dict[str, Any]:
    participant = _participant(gate, call)
    now = hub.clock()
    told = []
    with reading(hub.engine) as session:
        for one in load_programmes(session, participant=participant):
            people, as_of = count_members(session, one.programme_id, k=hub.settings.totals_k, now=now)
            members = {"members_at_least": people, "members_as_of": as_of.isoformat()}
            told.append(describe(session, one, now) | members)
    return {"programmes": told}


def _session_of(hub: Hub, request: Request) -> tuple[Visit, int] | None:
    current = visit(hub, request)
    if current is None or current.subject_id is None or "authorization" in request.headers:
        return None
    return current, current.subject_id


def _mine(hub: Hub, gate: Gate, request: Request) -> dict[str, Any]:
    signed_in = _session_of(hub, request)
    subject_id = signed_in[1] if signed_in else gate.enter_for_person(gate.call(request), PERSON_SCOPE).subject_id
    now = hub.clock()
    with reading(hub.engine) as session:
        memberships = load_memberships_of(session, subject_id)
        told: dict[str, Any] = {
            "programmes": [describe(session, one, now) for one in load_programmes(session)],
            "memberships": [describe_membership(row) for row, _ in memberships],
        }
        if signed_in is None:
            # What a person's acts are worth is disclosed at /v1/account, by what the consent names, and noted there.
            return told
        shares = load_shares(session, subject_id)
    return told | {
        "shares": {name: {"acts": share.acts, "counted_mg": share.mg} for name, share in sorted(shares.items())}
    }


def _decide(hub: Hub, gate: Gate, request: Request, programme: str, body: bytes) -> JSONResponse:
    decision, write = _parse(body), parse_write(request, body)
    signed_in = _session_of(hub, request)
    if signed_in is not None:
        current, subject_id = signed_in
        try:
            require_own(hub, request, current.info.csrf, {"csrf": request.headers.get(CSRF, "")})
        except CsrfRefused:
            raise HTTPException(403, "The request is not from this hub's own page.") from None
        caller = f"web:{sha256(current.token.encode()).hexdigest()[:40]}"
    else:
        grant = gate.enter_for_person(gate.call(request), PERSON_SCOPE)
        subject_id, caller = grant.subject_id, f"grant:{sha256(grant.grant_id.encode()).hexdigest()[:40]}"
        if decision.decision == "join":
            raise HTTPException(403, f"Only the person joins: send them to {hub.settings.issuer}/programmes.")
    return _do(hub, caller, write, subject_id, programme, decision.decision)


def _do(hub: Hub, caller: str, write: Write, subject_id: int, programme: str, decision: str) -> JSONResponse:
    now = hub.clock()

    def act(session: Session) -> tuple[int, dict[str, Any]]:
        if decision == "join":
            join_programme(session, subject_id, programme, now=now)
        else:
            leave_programme(session, subject_id, programme, now=now)
        row = find_membership(session, subject_id, programme)
        return 200, {"programme": programme, "member": row is not None}

    try:
        with writing(hub.engine) as session:
            status, told = answer_once(session, caller, write, now, lambda: act(session))
    except GuardianNeeded as refused:
        raise HTTPException(403, str(refused)) from None
    return JSONResponse(told, status)


def _parse(body: bytes) -> Decision:
    try:
        return Decision.model_validate(parse_object(body))
    except MalformedJsonError as cause:
        raise UsageProblem(f"the decision is not strict JSON ({cause.reason})") from None
    except ValidationError:
        raise UsageProblem(
            'the decision is not of the agreed form: {"decision": "join"} or {"decision": "leave"}'
        ) from None


def _problem(what: str) -> dict[str, Any]:
    return {"description": what, "content": {"application/problem+json": {}}}


_PROBLEMS: dict[int | str, dict[str, Any]] = {
    401: _problem("no token or session, a dead one, or no proof of its key"),
    403: _problem("the token lacks the scope, is of no participant or of no person, or only the person may do this"),
    404: _problem("there is no such programme, or it is another participant's"),
    409: _problem("nobody can join it any more, or the Idempotency-Key came before with another request"),
    422: _problem("a split or period that totals are not told by, or a body of another form"),
}


def _described() -> dict[str, Any]:
    content = {"application/json": {"schema": Decision.model_json_schema()}}
    return {"requestBody": {"required": True, "content": content}}
