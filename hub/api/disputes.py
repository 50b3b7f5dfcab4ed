"""Disputes for platforms: /v1/disputes. I/O: HTTP, the database.

Access as to statements: a token with the scope `records:write` of a client that acts for an active participant. A platform
disputes acts that it reported, accounts of its own and uses that it made; it sees what it opened, and what is said about its own
reports. Every write takes an `Idempotency-Key`; what was written is in no answer that is kept.
"""

from typing import Annotated, Any

from fastapi import APIRouter, HTTPException, Path, Query, Request
from fastapi.responses import JSONResponse
from pydantic import Field
from sqlalchemy.orm import Session

from consent.tokens import ApiCall
from hub.adjustments.kinds import Reason
from hub.api.access import Gate
from hub.api.writes import Answer, Body, Entered, Nothing, described, write_once
from hub.context import Hub
from hub.db import reading
from hub.disputes.moving import require_dispute, submit, withdraw
from hub.disputes.opening import open_dispute
from hub.disputes.rules import TEXT_CHARACTERS, Side, State, Target
from hub.disputes.showing import Wanted, describe, describe_whole, load_disputes
from hub.disputes.targets import MOST_MG, Asked, Who

SCOPE = "records:write"
MOST_BYTES = 32 * 1024
DisputeId = Annotated[str, Path(max_length=32, description="the dispute's id")]


class Opening(Body):
    """What is disputed, and why. One way of naming it, as its target needs."""

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


class Writing(Body):
    """What a side has to say."""

    text: str = Field(max_length=TEXT_CHARACTERS)


def disputes_router(hub: Hub, gate: Gate) -> APIRouter:
    """Build the router."""
    router = APIRouter(prefix="/v1", tags=["disputes"])
    _add_reads(router, hub, gate)

    @router.post("/disputes", status_code=201, openapi_extra=described(Opening))
    async def opens(request: Request) -> JSONResponse:
        """Open a dispute; 200 and the first one where the platform has it open already. Locks what is still held."""

        def act(session: Session, caller: Entered[Who], told: Opening) -> Answer:
            who = caller.about
            said = told.model_dump() | {"target": Target(told.target), "reason": Reason(told.reason)}
            done = open_dispute(session, hub, Asked(**said), who, hub.clock())
            return (201 if done.is_new else 200), describe(session, done.dispute, who, hub.clock())

        return await write_once(hub, gate, request, Opening, _enter, act, most_bytes=MOST_BYTES)

    @router.post("/disputes/{dispute_id}/evidence", openapi_extra=described(Writing))
    async def writes(request: Request, dispute_id: DisputeId) -> JSONResponse:
        """Add what the platform has to say, as opener or as the one that has to answer."""

        def act(session: Session, caller: Entered[Who], told: Writing) -> Answer:
            who = caller.about
            piece = submit(session, hub, dispute_id, who, told.text, hub.clock())
            row = require_dispute(session, dispute_id, who)
            return 200, describe(session, row, who, hub.clock()) | {"evidence": piece.digest.hex()}

        return await write_once(hub, gate, request, Writing, _enter, act, most_bytes=MOST_BYTES)

    @router.post("/disputes/{dispute_id}/withdraw", openapi_extra=described(Nothing))
    async def withdraws(request: Request, dispute_id: DisputeId) -> JSONResponse:
        """Take back a dispute that the platform opened."""

        def act(session: Session, caller: Entered[Who], _told: Nothing) -> Answer:
            who = caller.about
            return 200, describe(session, withdraw(session, dispute_id, who, hub.clock()), who, hub.clock())

        return await write_once(hub, gate, request, Nothing, _enter, act, most_bytes=MOST_BYTES)

    return router


def _add_reads(router: APIRouter, hub: Hub, gate: Gate) -> None:
    @router.get("/disputes")
    def listed(
        request: Request,
        state: Annotated[State | None, Query(description="left out: all that are not over")] = None,
        cursor: Annotated[str, Query(max_length=32, description="`next` of the page before")] = "",
        limit: Annotated[int, Query(ge=1, le=500)] = 100,
    ) -> dict[str, Any]:
        """List disputes that the platform opened, or that are about its reports, accounts and uses; the oldest first."""
        who = _enter(gate, gate.call(request)).about
        wanted = Wanted(state=state, live=state is None, platform=who.platform)
        with reading(hub.engine) as session:
            found = load_disputes(session, wanted, hub.clock(), after=cursor, limit=limit + 1)
            told = [describe(session, row, who, hub.clock()) for row in found[:limit]]
        return {"disputes": told, "next": told[-1]["dispute"] if len(found) > limit else None}

    @router.get("/disputes/{dispute_id}")
    def shown(request: Request, dispute_id: DisputeId) -> dict[str, Any]:
        """Show one dispute with what both sides wrote."""
        who = _enter(gate, gate.call(request)).about
        with reading(hub.engine) as session:
            return describe_whole(session, hub, require_dispute(session, dispute_id, who), who, hub.clock())


def _enter(gate: Gate, call: ApiCall) -> Entered[Who]:
    token = gate.enter(call, SCOPE)
    if token.participant is None:
        raise HTTPException(403, "this client acts for no participant")
    return Entered(token.client_id, token.participant, Who(side=Side.PLATFORM, platform=token.participant))
