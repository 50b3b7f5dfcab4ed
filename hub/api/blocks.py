"""A market's blocks: /v1/blocks. I/O: HTTP, the database.

Access by a token of the client itself (client_credentials, scope `blocks:write`) for an active participant, which sees its own
blocks only. That people's grams are pooled takes their consent to the same client (action `pool`). Every write takes an
`Idempotency-Key`.
"""

from datetime import timedelta
from typing import Annotated, Any

from fastapi import APIRouter, HTTPException, Query, Request
from fastapi.responses import JSONResponse
from pydantic import Field
from sqlalchemy.orm import Session

from consent.tokens import ApiCall
from hub.api.access import Gate
from hub.api.writes import Answer, Body, Entered, Nothing, described, problem, write_once
from hub.context import Hub
from hub.db import reading
from hub.market import blocks
from hub.market.income import describe_income, share_income
from hub.market.pool import MOST_BLOCKS, Wanted, pool, require_pooler
from hub.market.pooling import MOST_FEN

SCOPE = "blocks:write"
SECONDS = Field(default=None, gt=0, le=31_536_000, description="seconds until the block is held again")


class Asked(Body):
    """What to pool: whole tonnes of everybody who allows it, the oldest acts first."""

    vintage_year: int | None = Field(default=None, ge=2000, le=9000, description="only acts of this year")
    most: int | None = Field(default=None, gt=0, le=MOST_BLOCKS, description="at most so many blocks")


class Frozen(Body):
    """What a block is set aside for."""

    purpose: str = Field(max_length=40, description="quota_offset, neutrality, voluntary or compensation")
    timeout_s: int | None = SECONDS


class Pending(Body):
    """Under which number the other registry has taken the block up."""

    reference: str = Field(max_length=blocks.REFERENCE_CHARS)
    timeout_s: int | None = SECONDS


class Retired(Body):
    """For whom a block is used: an enterprise or an event, never a person."""

    beneficiary: str = Field(max_length=blocks.BENEFICIARY_CHARS)
    reference: str | None = Field(default=None, max_length=blocks.REFERENCE_CHARS)


class Income(Body):
    """What a block brought."""

    amount_fen: int = Field(gt=0, le=MOST_FEN)
    reference: str = Field(
        min_length=1, max_length=blocks.REFERENCE_CHARS, description="the market's name of the payment"
    )


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
        participant = _enter(gate, gate.call(request)).participant
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
        participant = _enter(gate, gate.call(request)).participant
        with reading(hub.engine) as session:
            return blocks.describe(blocks.find_block(session, block_id, participant))

    @router.post("", status_code=201, openapi_extra=described(Asked), responses=_PROBLEMS)
    async def pools(request: Request) -> JSONResponse:
        """Pool grams into blocks of one tonne; what is left over stays with people."""

        def act(session: Session, caller: Entered[None], told: Asked) -> Answer:
            client_id = require_pooler(session, caller.participant, caller.client_id)
            wanted = Wanted(year=told.vintage_year, most=told.most)
            done = pool(session, participant=caller.participant, client_id=client_id, wanted=wanted, now=hub.clock())
            return 201, {"blocks": [blocks.describe(block) for block in done.blocks]}

        return await write_once(hub, gate, request, Asked, _enter, act)

    _add_ways_in(router, hub, gate)
    _add_ways_out(router, hub, gate)
    return router


def _add_ways_in(router: APIRouter, hub: Hub, gate: Gate) -> None:
    """Add the addresses that set one block aside."""

    @router.post("/{block_id}/freeze", openapi_extra=described(Frozen), responses=_PROBLEMS)
    async def freezes(request: Request, block_id: str) -> JSONResponse:
        """Set a block aside for one use until a time."""

        def act(session: Session, caller: Entered[None], told: Frozen) -> Answer:
            rows = blocks.freeze(
                session, [block_id], purpose=told.purpose, timeout=_seconds(told.timeout_s), now=hub.clock(),
                participant=caller.participant,
            )  # fmt: skip
            return 200, blocks.describe(rows[0])

        return await write_once(hub, gate, request, Frozen, _enter, act)

    @router.post("/{block_id}/pending", openapi_extra=described(Pending), responses=_PROBLEMS)
    async def is_pending(request: Request, block_id: str) -> JSONResponse:
        """Note that the other registry has taken a frozen block up."""

        def act(session: Session, caller: Entered[None], told: Pending) -> Answer:
            rows = blocks.mark_pending(
                session, [block_id], reference=told.reference, timeout=_seconds(told.timeout_s), now=hub.clock(),
                participant=caller.participant,
            )  # fmt: skip
            return 200, blocks.describe(rows[0])

        return await write_once(hub, gate, request, Pending, _enter, act)


def _add_ways_out(router: APIRouter, hub: Hub, gate: Gate) -> None:
    """Add the addresses that end it, and the one that tells what a block brought."""

    @router.post("/{block_id}/retire", openapi_extra=described(Retired), responses=_PROBLEMS)
    async def retires(request: Request, block_id: str) -> JSONResponse:
        """Use a block for good."""

        def act(session: Session, caller: Entered[None], told: Retired) -> Answer:
            rows = blocks.retire(
                session, [block_id], beneficiary=told.beneficiary, reference=told.reference, now=hub.clock(),
                participant=caller.participant,
            )  # fmt: skip
            return 200, blocks.describe(rows[0])

        return await write_once(hub, gate, request, Retired, _enter, act)

    @router.post("/{block_id}/release", openapi_extra=described(Nothing), responses=_PROBLEMS)
    async def releases(request: Request, block_id: str) -> JSONResponse:
        """Let a block that was set aside be held again."""

        def act(session: Session, caller: Entered[None], _told: Nothing) -> Answer:
            return 200, blocks.describe(
                blocks.release(session, [block_id], now=hub.clock(), participant=caller.participant)[0]
            )

        return await write_once(hub, gate, request, Nothing, _enter, act)

    @router.post("/{block_id}/income", openapi_extra=described(Income), responses=_PROBLEMS)
    async def brings(request: Request, block_id: str) -> JSONResponse:
        """Tell what a block brought; it is shared among the people whose grams it is made of."""

        def act(session: Session, caller: Entered[None], told: Income) -> Answer:
            done = share_income(
                session, block_id, amount_fen=told.amount_fen, reference=told.reference, now=hub.clock(),
                participant=caller.participant,
            )  # fmt: skip
            return 200, describe_income(done)

        return await write_once(hub, gate, request, Income, _enter, act)


def _seconds(told: int | None) -> timedelta | None:
    return None if told is None else timedelta(seconds=told)


def _enter(gate: Gate, call: ApiCall) -> Entered[None]:
    token = gate.enter(call, SCOPE)
    if token.participant is None:
        raise HTTPException(403, "this client acts for no participant")
    return Entered(token.client_id, token.participant, None)


_PROBLEMS: dict[int | str, dict[str, Any]] = {
    401: problem("no token, a dead one, or no proof of its key"),
    403: problem("the token lacks the scope blocks:write, or is of no active participant"),
    404: problem("there is no such block of this market, or this client is not registered for grams:pool"),
    409: problem(
        "the block's state does not allow it, it is out of time, or the key or reference came with another request"
    ),
    422: problem("not of the agreed form; `title` names the member"),
}
