"""A market's blocks: /v1/blocks. I/O: HTTP, the database.

Access by a token of the client itself (client_credentials, scope `blocks:write`) for an active participant, which sees its own
blocks only. That people's grams are pooled takes their consent to the same client (action `pool`). Every write takes an
`Idempotency-Key`.
"""

from collections.abc import Callable
from datetime import timedelta
from typing import Annotated, Any

from fastapi import APIRouter, HTTPException, Query, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from sqlalchemy.orm import Session
from starlette.concurrency import run_in_threadpool

from connectors.strict_json import MalformedJsonError, parse_object
from consent.tokens import ApiCall
from hub.api.access import Gate
from hub.api.bodies import read_bounded
from hub.api.repeats import Write, answer_once, parse_write
from hub.context import Hub
from hub.db import reading, writing
from hub.errors import UsageProblem
from hub.market import blocks
from hub.market.income import describe_income, share_income
from hub.market.pool import MOST_BLOCKS, Wanted, pool, require_pooler
from hub.market.pooling import MOST_FEN
from hub.participants import require_active
from hub.records.races import try_again

SCOPE = "blocks:write"
MOST_BYTES = 4_096
SECONDS = Field(default=None, gt=0, le=31_536_000, description="seconds until the block is held again")


class _Form(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")


class Asked(_Form):
    """What to pool: whole tonnes of everybody who allows it, the oldest acts first."""

    vintage_year: int | None = Field(default=None, ge=2000, le=9000, description="only acts of this year")
    most: int | None = Field(default=None, gt=0, le=MOST_BLOCKS, description="at most so many blocks")


class Frozen(_Form):
    """What a block is set aside for."""

    purpose: str = Field(max_length=40, description="quota_offset, neutrality, voluntary or compensation")
    timeout_s: int | None = SECONDS


class Pending(_Form):
    """Under which number the other registry has taken the block up."""

    reference: str = Field(max_length=blocks.REFERENCE_CHARS)
    timeout_s: int | None = SECONDS


class Retired(_Form):
    """For whom a block is used: an enterprise or an event, never a person."""

    beneficiary: str = Field(max_length=blocks.BENEFICIARY_CHARS)
    reference: str | None = Field(default=None, max_length=blocks.REFERENCE_CHARS)


class Income(_Form):
    """What a block brought."""

    amount_fen: int = Field(gt=0, le=MOST_FEN)
    reference: str = Field(
        min_length=1, max_length=blocks.REFERENCE_CHARS, description="the market's name of the payment"
    )


class Nothing(_Form):
    """An empty object."""


Caller = tuple[str, str]
"""A client and the participant that it acts for."""
Act = Callable[[Session, Caller, Any], tuple[int, dict[str, Any]]]


def blocks_router(hub: Hub, gate: Gate) -> APIRouter:
    """Build the router."""
    router = APIRouter(prefix="/v1/blocks", tags=["market"])

    @router.get("", responses=_PROBLEMS)
    def listed(
        request: Request,
        state: Annotated[blocks.State | None, Query()] = None,
        vintage_year: Annotated[int | None, Query(ge=2000, le=9000)] = None,
        cursor: Annotated[int, Query(ge=0, lt=2**63, description="`next` of the page before")] = 0,
        limit: Annotated[int, Query(ge=1, le=1_000)] = 100,
    ) -> dict[str, Any]:
        """List this market's blocks in the order in which they were pooled."""
        _, participant = _enter(gate, gate.call(request))
        with reading(hub.engine) as session:
            found = blocks.load_blocks(
                session, participant=participant, state=state, year=vintage_year, after=cursor, limit=limit + 1
            )
        shown = found[:limit]
        return {
            "blocks": [blocks.describe(block) for block in shown],
            "next": shown[-1].number if len(found) > limit else None,
        }

    @router.get("/{block_id}", responses=_PROBLEMS)
    def shown(request: Request, block_id: str) -> dict[str, Any]:
        """Show one block."""
        _, participant = _enter(gate, gate.call(request))
        with reading(hub.engine) as session:
            return blocks.describe(blocks.find_block(session, block_id, participant))

    @router.post("", status_code=201, openapi_extra=_described(Asked), responses=_PROBLEMS)
    async def pools(request: Request) -> JSONResponse:
        """Pool grams into blocks of one tonne; what is left over stays with people."""

        def act(session: Session, caller: Caller, told: Asked) -> tuple[int, dict[str, Any]]:
            client_id = require_pooler(session, caller[1], caller[0])
            wanted = Wanted(year=told.vintage_year, most=told.most)
            done = pool(session, participant=caller[1], client_id=client_id, wanted=wanted, now=hub.clock())
            return 201, {"blocks": [blocks.describe(block) for block in done.blocks]}

        return await _write(hub, gate, request, Asked, act)

    _add_ways_in(router, hub, gate)
    _add_ways_out(router, hub, gate)
    return router


def _add_ways_in(router: APIRouter, hub: Hub, gate: Gate) -> None:
    """Add the addresses that set one block aside."""

    @router.post("/{block_id}/freeze", openapi_extra=_described(Frozen), responses=_PROBLEMS)
    async def freezes(request: Request, block_id: str) -> JSONResponse:
        """Set a block aside for one use until a time."""

        def act(session: Session, caller: Caller, told: Frozen) -> tuple[int, dict[str, Any]]:
            rows = blocks.freeze(
                session, [block_id], purpose=told.purpose, timeout=_seconds(told.timeout_s), now=hub.clock(),
                participant=caller[1],
            )  # fmt: skip
            return 200, blocks.describe(rows[0])

        return await _write(hub, gate, request, Frozen, act)

    @router.post("/{block_id}/pending", openapi_extra=_described(Pending), responses=_PROBLEMS)
    async def is_pending(request: Request, block_id: str) -> JSONResponse:
        """Note that the other registry has taken a frozen block up."""

        def act(session: Session, caller: Caller, told: Pending) -> tuple[int, dict[str, Any]]:
            rows = blocks.mark_pending(
                session, [block_id], reference=told.reference, timeout=_seconds(told.timeout_s), now=hub.clock(),
                participant=caller[1],
            )  # fmt: skip
            return 200, blocks.describe(rows[0])

        return await _write(hub, gate, request, Pending, act)


def _add_ways_out(router: APIRouter, hub: Hub, gate: Gate) -> None:
    """Add the addresses that end it, and the one that tells what a block brought."""

    @router.post("/{block_id}/retire", openapi_extra=_described(Retired), responses=_PROBLEMS)
    async def retires(request: Request, block_id: str) -> JSONResponse:
        """Use a block for good."""

        def act(session: Session, caller: Caller, told: Retired) -> tuple[int, dict[str, Any]]:
            rows = blocks.retire(
                session, [block_id], beneficiary=told.beneficiary, reference=told.reference, now=hub.clock(),
                participant=caller[1],
            )  # fmt: skip
            return 200, blocks.describe(rows[0])

        return await _write(hub, gate, request, Retired, act)

    @router.post("/{block_id}/release", openapi_extra=_described(Nothing), responses=_PROBLEMS)
    async def releases(request: Request, block_id: str) -> JSONResponse:
        """Let a block that was set aside be held again."""

        def act(session: Session, caller: Caller, _told: Nothing) -> tuple[int, dict[str, Any]]:
            return 200, blocks.describe(blocks.release(session, [block_id], now=hub.clock(), participant=caller[1])[0])

        return await _write(hub, gate, request, Nothing, act)

    @router.post("/{block_id}/income", openapi_extra=_described(Income), responses=_PROBLEMS)
    async def brings(request: Request, block_id: str) -> JSONResponse:
        """Tell what a block brought; it is shared among the people whose grams it is made of."""

        def act(session: Session, caller: Caller, told: Income) -> tuple[int, dict[str, Any]]:
            done = share_income(
                session, block_id, amount_fen=told.amount_fen, reference=told.reference, now=hub.clock(),
                participant=caller[1],
            )  # fmt: skip
            return 200, describe_income(done)

        return await _write(hub, gate, request, Income, act)


def _seconds(told: int | None) -> timedelta | None:
    return None if told is None else timedelta(seconds=told)


def _enter(gate: Gate, call: ApiCall) -> Caller:
    token = gate.enter(call, SCOPE)
    if token.participant is None:
        raise HTTPException(403, "this client acts for no participant")
    return token.client_id, token.participant


async def _write(hub: Hub, gate: Gate, request: Request, form: type[_Form], act: Act) -> JSONResponse:
    call = gate.call(request)
    body = await read_bounded(request, MOST_BYTES)
    return await run_in_threadpool(_do, hub, gate, call, parse_write(request, body), form, body, act)


def _do(hub: Hub, gate: Gate, call: ApiCall, write: Write, form: type[_Form], body: bytes, act: Act) -> JSONResponse:
    caller = _enter(gate, call)
    told = _parse(form, body)

    def once() -> tuple[int, dict[str, Any]]:
        with writing(hub.engine) as session:
            require_active(session, caller[1])
            return answer_once(session, caller[0], write, hub.clock(), lambda: act(session, caller, told))

    # Pooling holds the balances of many people: of two who wait for each other the database ends one, which is run again.
    status, answer = try_again(once)
    return JSONResponse(answer, status)


def _parse(form: type[_Form], body: bytes) -> _Form:
    try:
        return form.model_validate(parse_object(body or b"{}"))
    except MalformedJsonError as cause:
        raise UsageProblem(f"the body is not strict JSON ({cause.reason})") from None
    except ValidationError as cause:
        first = cause.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise UsageProblem(f"{where}: {first['msg']}") from None


def _described(form: type[_Form]) -> dict[str, Any]:
    """Describe the body, which is read by hand: the framework's reader keeps the last of two equal keys, unbounded."""
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": form.model_json_schema()}}}}


def _problem(what: str) -> dict[str, Any]:
    return {"description": what, "content": {"application/problem+json": {}}}


_PROBLEMS: dict[int | str, dict[str, Any]] = {
    401: _problem("no token, a dead one, or no proof of its key"),
    403: _problem("the token lacks the scope blocks:write, or is of no active participant"),
    404: _problem("there is no such block of this market, or this client is not registered for grams:pool"),
    409: _problem(
        "the block's state does not allow it, it is out of time, or the key or reference came with another request"
    ),
    422: _problem("not of the agreed form; `title` names the member"),
}
