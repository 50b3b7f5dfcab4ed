"""Use grams once: /v1/reservations. I/O: HTTP, the database.

Access by a token of the person (scope `grams:use`) for a client that acts for an active participant. Every write takes an
`Idempotency-Key`.
"""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from fastapi import APIRouter, HTTPException, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from sqlalchemy.orm import Session
from starlette.concurrency import run_in_threadpool

from connectors.strict_json import MalformedJsonError, parse_object
from consent.grants import Grant
from consent.tokens import ApiCall
from hub.api.access import Gate
from hub.api.bodies import read_bounded
from hub.api.repeats import Write, answer_once, parse_write
from hub.context import Hub
from hub.db import reading, writing
from hub.errors import UsageProblem
from hub.participants import require_active
from hub.uses.reservations import MOST_MG, Wanted, commit, describe, find_reservation, reserve, void
from standards.uses import Use

SCOPE = "grams:use"
MOST_BYTES = 4_096


class Asked(BaseModel):
    """What to reserve."""

    model_config = ConfigDict(strict=True, extra="forbid")

    mg: int = Field(gt=0, le=MOST_MG, description="milligrams of CO2e")
    use: str = Field(pattern="^(redeem|transfer|retire)$", description="points, an enterprise's pool, a retirement")
    purpose: str | None = Field(default=None, max_length=40, description="of a retirement")
    timeout_s: int | None = Field(default=None, gt=0, le=31_536_000, description="seconds until the grams go back")


class Committed(BaseModel):
    """How much is used; nothing said: all."""

    model_config = ConfigDict(strict=True, extra="forbid")

    mg: int | None = Field(default=None, gt=0, le=MOST_MG, description="milligrams of CO2e; the rest goes back")


class Nothing(BaseModel):
    """An empty object."""

    model_config = ConfigDict(strict=True, extra="forbid")


def reservations_router(hub: Hub, gate: Gate) -> APIRouter:
    """Build the router."""
    router = APIRouter(prefix="/v1", tags=["reservations"])

    @router.post("/reservations", status_code=201, openapi_extra=_described(Asked), responses=_PROBLEMS)
    async def reserve_grams(request: Request) -> JSONResponse:
        """Reserve grams of the person: nobody else can use them until they are committed, voided or the time is over."""
        return await _write(hub, gate, request, Asked, _reserve)

    @router.get("/reservations/{reservation_id}", responses=_PROBLEMS)
    async def show(request: Request, reservation_id: str) -> dict[str, Any]:
        """Tell how a reservation stands."""
        return await run_in_threadpool(_show, hub, gate, gate.call(request), reservation_id)

    @router.post("/reservations/{reservation_id}/commit", openapi_extra=_described(Committed), responses=_PROBLEMS)
    async def commit_grams(request: Request, reservation_id: str) -> JSONResponse:
        """Use what was reserved, or a part of it, for good; give points or goods only after this answer."""

        def act(session: Session, caller: "Caller", told: Committed) -> tuple[int, dict[str, Any]]:
            done = commit(session, reservation_id, client_id=caller.client_id, mg=told.mg, now=hub.clock())
            return 200, describe(done)

        return await _write(hub, gate, request, Committed, act)

    @router.post("/reservations/{reservation_id}/void", openapi_extra=_described(Nothing), responses=_PROBLEMS)
    async def void_grams(request: Request, reservation_id: str) -> JSONResponse:
        """Give what was reserved back to the person."""

        def act(session: Session, caller: "Caller", _told: Nothing) -> tuple[int, dict[str, Any]]:
            return 200, describe(void(session, reservation_id, client_id=caller.client_id, now=hub.clock()))

        return await _write(hub, gate, request, Nothing, act)

    def _reserve(session: Session, caller: "Caller", told: Asked) -> tuple[int, dict[str, Any]]:
        wanted = Wanted(
            mg=told.mg, use=Use(told.use), purpose=told.purpose,
            timeout=None if told.timeout_s is None else timedelta(seconds=told.timeout_s),
        )  # fmt: skip
        done = reserve(
            session, grant=caller.grant, participant=caller.participant, client_id=caller.client_id, wanted=wanted,
            now=hub.clock(),
        )  # fmt: skip
        return 201, describe(done)

    return router


class Caller:
    """Who calls, for whom, and for which participant."""

    def __init__(self, client_id: str, participant: str, grant: Grant) -> None:
        self.client_id, self.participant, self.grant = client_id, participant, grant


def _enter(gate: Gate, call: ApiCall) -> Caller:
    token = gate.enter(call, SCOPE)
    if token.grant is None:
        raise HTTPException(403, "This address is about a person; the token is no person's.")
    if token.participant is None:
        raise HTTPException(403, "this client acts for no participant")
    return Caller(token.client_id, token.participant, token.grant)


async def _write(
    hub: Hub,
    gate: Gate,
    request: Request,
    form: type[Any],
    act: Callable[[Session, Caller, Any], tuple[int, dict[str, Any]]],
) -> JSONResponse:
    call = gate.call(request)
    body = await read_bounded(request, min(MOST_BYTES, hub.settings.max_body_bytes))
    return await run_in_threadpool(_do, hub, gate, call, parse_write(request, body), form, body, act)


def _do(
    hub: Hub,
    gate: Gate,
    call: ApiCall,
    write: Write,
    form: type[Any],
    body: bytes,
    act: Callable[[Session, Caller, Any], tuple[int, dict[str, Any]]],
) -> JSONResponse:
    caller = _enter(gate, call)
    told = _parse(form, body)
    with writing(hub.engine) as session:
        require_active(session, caller.participant)
        status, answer = answer_once(session, caller.client_id, write, hub.clock(), lambda: act(session, caller, told))
    return JSONResponse(answer, status)


def _show(hub: Hub, gate: Gate, call: ApiCall, reservation_id: str) -> dict[str, Any]:
    caller = _enter(gate, call)
    with reading(hub.engine) as session:
        return describe(find_reservation(session, reservation_id, caller.client_id))


def _parse(form: type[BaseModel], body: bytes) -> BaseModel:
    try:
        return form.model_validate(parse_object(body or b"{}"))
    except MalformedJsonError as cause:
        raise UsageProblem(f"the body is not strict JSON ({cause.reason})") from None
    except ValidationError as cause:
        first = cause.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise UsageProblem(f"{where}: {first['msg']}") from None


def _described(form: type[BaseModel]) -> dict[str, Any]:
    """Describe the body, which is read by hand: the framework's reader keeps the last of two equal keys, unbounded."""
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": form.model_json_schema()}}}}


def _problem(what: str) -> dict[str, Any]:
    return {"description": what, "content": {"application/problem+json": {}}}


_PROBLEMS: dict[int | str, dict[str, Any]] = {
    401: _problem("no token, a dead one, or no proof of its key"),
    403: _problem("the token is no person's, lacks the scope grams:use, or is of no active participant"),
    404: _problem("there is no such reservation of this client"),
    409: _problem(
        "fewer grams can be used, the reservation is over, the consent is, or the key came with another request"
    ),
    422: _problem("not of the agreed form; `title` names the member"),
}
