"""Use grams once: /v1/reservations. I/O: HTTP, the database.

Access by a token of the person (scope `grams:use`) for a client that acts for an active participant. Every write takes an
`Idempotency-Key`.
"""

from datetime import timedelta
from typing import Any

from fastapi import APIRouter, HTTPException, Request
from fastapi.responses import JSONResponse
from pydantic import Field
from sqlalchemy.orm import Session
from starlette.concurrency import run_in_threadpool

from consent.grants import Grant
from consent.tokens import ApiCall
from hub.api.access import Gate
from hub.api.writes import Answer, Body, Entered, Nothing, described, problem, write_once
from hub.context import Hub
from hub.db import reading
from hub.uses.reservations import MOST_MG, Wanted, commit, describe, find_reservation, reserve, void
from standards.uses import Use

SCOPE = "grams:use"


class Asked(Body):
    """What to reserve."""

    mg: int = Field(gt=0, le=MOST_MG, description="milligrams of CO2e")
    use: str = Field(pattern="^(redeem|transfer|retire)$", description="points, an enterprise's pool, a retirement")
    purpose: str | None = Field(default=None, max_length=40, description="of a retirement")
    timeout_s: int | None = Field(default=None, gt=0, le=31_536_000, description="seconds until the grams go back")


class Committed(Body):
    """How much is used; nothing said: all."""

    mg: int | None = Field(default=None, gt=0, le=MOST_MG, description="milligrams of CO2e; the rest goes back")


def reservations_router(hub: Hub, gate: Gate) -> APIRouter:
    """Build the router."""
    router = APIRouter(prefix="/v1", tags=["reservations"])

    @router.post("/reservations", status_code=201, openapi_extra=described(Asked), responses=_PROBLEMS)
    async def reserve_grams(request: Request) -> JSONResponse:
        """Reserve grams of the person: nobody else can use them until they are committed, voided or the time is over."""
        return await write_once(hub, gate, request, Asked, _enter, _reserve)

    @router.get("/reservations/{reservation_id}", responses=_PROBLEMS)
    async def show(request: Request, reservation_id: str) -> dict[str, Any]:
        """Tell how a reservation stands."""
        return await run_in_threadpool(_show, hub, gate, gate.call(request), reservation_id)

    @router.post("/reservations/{reservation_id}/commit", openapi_extra=described(Committed), responses=_PROBLEMS)
    async def commit_grams(request: Request, reservation_id: str) -> JSONResponse:
        """Use what was reserved, or a part of it, for good; give points or goods only after this answer."""

        def act(session: Session, caller: Entered[Grant], told: Committed) -> Answer:
            done = commit(session, reservation_id, client_id=caller.client_id, mg=told.mg, now=hub.clock())
            return 200, describe(done)

        return await write_once(hub, gate, request, Committed, _enter, act)

    @router.post("/reservations/{reservation_id}/void", openapi_extra=described(Nothing), responses=_PROBLEMS)
    async def void_grams(request: Request, reservation_id: str) -> JSONResponse:
        """Give what was reserved back to the person."""

        def act(session: Session, caller: Entered[Grant], _told: Nothing) -> Answer:
            return 200, describe(void(session, reservation_id, client_id=caller.client_id, now=hub.clock()))

        return await write_once(hub, gate, request, Nothing, _enter, act)

    def _reserve(session: Session, caller: Entered[Grant], told: Asked) -> Answer:
        wanted = Wanted(
            mg=told.mg, use=Use(told.use), purpose=told.purpose,
            timeout=None if told.timeout_s is None else timedelta(seconds=told.timeout_s),
        )  # fmt: skip
        done = reserve(
            session, grant=caller.about, participant=caller.participant, client_id=caller.client_id, wanted=wanted,
            now=hub.clock(),
        )  # fmt: skip
        return 201, describe(done)

    return router


def _enter(gate: Gate, call: ApiCall) -> Entered[Grant]:
    token = gate.enter(call, SCOPE)
    if token.grant is None:
        raise HTTPException(403, "This address is about a person; the token is no person's.")
    if token.participant is None:
        raise HTTPException(403, "this client acts for no participant")
    return Entered(token.client_id, token.participant, token.grant)


def _show(hub: Hub, gate: Gate, call: ApiCall, reservation_id: str) -> dict[str, Any]:
    caller = _enter(gate, call)
    with reading(hub.engine) as session:
        return describe(find_reservation(session, reservation_id, caller.client_id))


_PROBLEMS: dict[int | str, dict[str, Any]] = {
    401: problem("no token, a dead one, or no proof of its key"),
    403: problem("the token is no person's, lacks the scope grams:use, or is of no active participant"),
    404: problem("there is no such reservation of this client"),
    409: problem(
        "fewer grams can be used, the reservation is over, the consent is, or the key came with another request"
    ),
    422: problem("not of the agreed form; `title` names the member"),
}
