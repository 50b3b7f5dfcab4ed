"""Disputes for platforms: /v1/disputes. I/O: HTTP, the database.

Access as to statements: a token with the scope `records:write` of a client that acts for an active participant. A platform
disputes acts that it reported, accounts of its own and uses that it made; it sees what it opened, and what is said about its own
reports. Every write takes an `Idempotency-Key`; what was written is in no answer that is kept.
"""

from collections.abc import Callable
from typing import Annotated, Any

from fastapi import APIRouter, HTTPException, Path, Query, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from sqlalchemy.orm import Session
from starlette.concurrency import run_in_threadpool

from connectors.strict_json import MalformedJsonError, parse_object
from consent.tokens import ApiCall
from hub.adjustments.kinds import Reason
from hub.api.access import Gate
from hub.api.bodies import read_bounded
from hub.api.repeats import Write, answer_once, parse_write
from hub.context import Hub
from hub.db import reading, writing
from hub.disputes.moving import require_dispute, submit, withdraw
from hub.disputes.opening import open_dispute
from hub.disputes.rules import TEXT_CHARACTERS, Side, State, Target
from hub.disputes.showing import Wanted, describe, describe_whole, load_disputes
from hub.disputes.targets import MOST_MG, Asked, Who
from hub.errors import UsageProblem
from hub.participants import require_active

SCOPE = "records:write"
MOST_BYTES = 32 * 1024
DisputeId = Annotated[str, Path(max_length=32, description="the dispute's id")]


class Opening(BaseModel):
    """What is disputed, and why. One way of naming it, as its target needs."""

    model_config = ConfigDict(strict=True, extra="forbid")

    target: str = Field(pattern="^(link|event|amount|retirement)$")
    reason: str = Field(pattern=f"^({'|'.join(Reason)})$", description="a reason code, as of adjustments")
    text: str = Field(max_length=TEXT_CHARACTERS, description="what is wrong; the other side reads it")
    event_id: int | None = Field(default=None, ge=1, lt=2**63)
    stream: str | None = Field(default=None, max_length=64, description="with source_id: the platform's own record")
    source_id: str | None = Field(default=None, max_length=200)
    link_id: str | None = Field(default=None, max_length=32)
    account: str | None = Field(default=None, max_length=200, description="of a link: the platform's own name of it")
    reservation_id: str | None = Field(default=None, max_length=40)
    claimed_mg: int | None = Field(default=None, gt=0, le=MOST_MG, description="of an amount: what would be right")


class Writing(BaseModel):
    """What a side has to say."""

    model_config = ConfigDict(strict=True, extra="forbid")

    text: str = Field(max_length=TEXT_CHARACTERS)


class Nothing(BaseModel):
    """An empty object."""

    model_config = ConfigDict(strict=True, extra="forbid")


Act = Callable[[Session, Who, Any], tuple[int, dict[str, Any]]]


def disputes_router(hub: Hub, gate: Gate) -> APIRouter:
    """Build the router."""
    router = APIRouter(prefix="/v1", tags=["disputes"])

    @router.post("/disputes", status_code=201, openapi_extra=_described(Opening))
    async def opens(request: Request) -> JSONResponse:
        """Open a dispute; 200 and the first one where the platform has it open already. Locks what is still held."""

        def act(session: Session, who: Who, told: Opening) -> tuple[int, dict[str, Any]]:
            said = told.model_dump() | {"target": Target(told.target), "reason": Reason(told.reason)}
            done = open_dispute(session, hub, Asked(**said), who, hub.clock())
            return (201 if done.is_new else 200), describe(session, done.dispute, who, hub.clock())

        return await _write(hub, gate, request, Opening, act)

    @router.get("/disputes")
    def listed(
        request: Request,
        state: Annotated[State | None, Query(description="left out: all that are not over")] = None,
        cursor: Annotated[str, Query(max_length=32, description="`next` of the page before")] = "",
        limit: Annotated[int, Query(ge=1, le=500)] = 100,
    ) -> dict[str, Any]:
        """List disputes that the platform opened, or that are about its reports, accounts and uses; the oldest first."""
        who = _enter(gate, gate.call(request))[1]
        wanted = Wanted(state=state, live=state is None, platform=who.platform)
        with reading(hub.engine) as session:
            found = load_disputes(session, wanted, hub.clock(), after=cursor, limit=limit + 1)
            told = [describe(session, row, who, hub.clock()) for row in found[:limit]]
        return {"disputes": told, "next": told[-1]["dispute"] if len(found) > limit else None}

    @router.get("/disputes/{dispute_id}")
    def shown(request: Request, dispute_id: DisputeId) -> dict[str, Any]:
        """Show one dispute with what both sides wrote."""
        who = _enter(gate, gate.call(request))[1]
        with reading(hub.engine) as session:
            return describe_whole(session, hub, require_dispute(session, dispute_id, who), who, hub.clock())

    @router.post("/disputes/{dispute_id}/evidence", openapi_extra=_described(Writing))
    async def writes(request: Request, dispute_id: DisputeId) -> JSONResponse:
        """Add what the platform has to say, as opener or as the one that has to answer."""

        def act(session: Session, who: Who, told: Writing) -> tuple[int, dict[str, Any]]:
            piece = submit(session, hub, dispute_id, who, told.text, hub.clock())
            row = require_dispute(session, dispute_id, who)
            return 200, describe(session, row, who, hub.clock()) | {"evidence": piece.digest.hex()}

        return await _write(hub, gate, request, Writing, act)

    @router.post("/disputes/{dispute_id}/withdraw", openapi_extra=_described(Nothing))
    async def withdraws(request: Request, dispute_id: DisputeId) -> JSONResponse:
        """Take back a dispute that the platform opened."""

        def act(session: Session, who: Who, _told: Nothing) -> tuple[int, dict[str, Any]]:
            return 200, describe(session, withdraw(session, dispute_id, who, hub.clock()), who, hub.clock())

        return await _write(hub, gate, request, Nothing, act)

    return router


async def _write(hub: Hub, gate: Gate, request: Request, form: type[BaseModel], act: Act) -> JSONResponse:
    call = gate.call(request)
    body = await read_bounded(request, min(MOST_BYTES, hub.settings.max_body_bytes))
    return await run_in_threadpool(_do, hub, gate, call, parse_write(request, body), form, body, act)


def _do(
    hub: Hub, gate: Gate, call: ApiCall, write: Write, form: type[BaseModel], body: bytes, act: Act
) -> JSONResponse:  # fmt: skip
    client, who = _enter(gate, call)
    told = _parse(form, body)
    with writing(hub.engine) as session:
        require_active(session, who.platform or "")
        status, answer = answer_once(session, client, write, hub.clock(), lambda: act(session, who, told))
    return JSONResponse(answer, status)


def _enter(gate: Gate, call: ApiCall) -> tuple[str, Who]:
    """Return the client, and the platform that it speaks for."""
    token = gate.enter(call, SCOPE)
    if token.participant is None:
        raise HTTPException(403, "this client acts for no participant")
    return token.client_id, Who(side=Side.PLATFORM, platform=token.participant)


def _parse(form: type[BaseModel], body: bytes) -> BaseModel:
    try:
        return form.model_validate(parse_object(body or b"{}"))
    except MalformedJsonError as cause:
        raise UsageProblem(f"the body is not strict JSON ({cause.reason})") from None
    except ValidationError as cause:
        first = cause.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise UsageProblem(f"the body is not of the agreed form ({where}: {first['msg']})") from None


def _described(form: type[BaseModel]) -> dict[str, Any]:
    """Describe the body, which is read by hand: the framework's reader keeps the last of two equal keys, unbounded."""
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": form.model_json_schema()}}}}
