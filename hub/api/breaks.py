"""Breaks between a platform's statements and ours: GET /v1/breaks, propose, sign. I/O: HTTP, the database.

Access as to statements; a platform sees its own breaks only. Every write takes an `Idempotency-Key`.
"""

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, HTTPException, Path, Query, Request
from fastapi.responses import JSONResponse
from pydantic import Field
from sqlalchemy.orm import Session

from consent.tokens import ApiCall
from hub.api.access import Gate
from hub.api.writes import Answer, Body, Entered, described, write_once
from hub.context import Hub
from hub.db import reading
from hub.reconcile.breaks import Wanted, load_breaks, open_source_id, propose, require_break, sign
from hub.reconcile.lines import BreakKind
from hub.reconcile.report import age_s
from hub.reconcile.rules import MEANING, NOTE_CHARACTERS, Proposal, Side, State, choices_of
from hub.reconcile.tables import StatementBreak

SCOPE = "records:write"
MOST_BYTES = 4_096
BreakId = Annotated[int, Path(ge=1, lt=2**63, description="the break's number")]


class Proposed(Body):
    """What should become of a break."""

    proposal: str = Field(max_length=40, description="one of the break's `choices`")
    note: str = Field(default="", max_length=NOTE_CHARACTERS, description="one line, without anybody's name")


class Signed(Body):
    """What the platform signs: the proposal that it has seen."""

    proposal: str = Field(max_length=40)


def breaks_router(hub: Hub, gate: Gate) -> APIRouter:
    """Build the router."""
    router = APIRouter(prefix="/v1", tags=["statements"])

    @router.get("/breaks")
    def listed(
        request: Request,
        window: Annotated[int | None, Query(ge=1, lt=2**31)] = None,
        state: Annotated[State | None, Query(description="left out: all that are not closed")] = None,
        cursor: Annotated[int, Query(ge=0, lt=2**63, description="`next` of the page before")] = 0,
        limit: Annotated[int, Query(ge=1, le=1_000)] = 100,
    ) -> dict[str, Any]:
        """List breaks of this platform, each with its age, owner and proposal."""
        platform = _enter(gate, gate.call(request)).participant
        wanted = Wanted(window_id=window, platform=platform, state=state, live=state is None, after=cursor)
        with reading(hub.engine) as session:
            found = load_breaks(session, wanted, limit=limit + 1)
            told = [_named(hub, row) for row in found[:limit]]
        return {"breaks": told, "next": told[-1]["break"] if len(found) > limit else None}

    @router.get("/breaks/{break_id}")
    def shown(request: Request, break_id: BreakId) -> dict[str, Any]:
        """Show one break."""
        platform = _enter(gate, gate.call(request)).participant
        with reading(hub.engine) as session:
            return _named(hub, require_break(session, break_id, platform=platform))

    @router.post("/breaks/{break_id}/propose", openapi_extra=described(Proposed))
    async def proposes(request: Request, break_id: BreakId) -> JSONResponse:
        """Propose what becomes of a break; takes back what was signed."""

        def act(session: Session, caller: Entered[None], told: Proposed) -> Answer:
            row = require_break(session, break_id, platform=caller.participant, hold=True)
            now = hub.clock()
            propose(session, row, told.proposal, note=told.note, by=caller.client_id, side=Side.PLATFORM, now=now)
            return 200, describe(row, now)

        return await write_once(hub, gate, request, Proposed, _enter, act)

    @router.post("/breaks/{break_id}/sign", openapi_extra=described(Signed))
    async def signs(request: Request, break_id: BreakId) -> JSONResponse:
        """Sign what is proposed; once the hub has signed it too, the break is closed."""

        def act(session: Session, caller: Entered[None], told: Signed) -> Answer:
            row = require_break(session, break_id, platform=caller.participant, hold=True)
            now = hub.clock()
            sign(session, row, told.proposal, by=caller.client_id, side=Side.PLATFORM, now=now)
            return 200, describe(row, now)

        return await write_once(hub, gate, request, Signed, _enter, act)

    return router


def describe(row: StatementBreak, now: datetime) -> dict[str, Any]:
    """Tell a break to its platform, without the platform's own id of the record: answers to writes are kept."""
    kind = BreakKind(row.kind)
    return {
        "break": row.break_id, "window": row.window_id, "stream": row.stream or None, "kind": row.kind,
        "delivery_id": row.delivery_id, "ours": row.ours, "theirs": row.theirs, "mg": row.mg, "state": row.state,
        "owner": row.owner, "proposal": row.proposal, "meaning": MEANING[Proposal(row.proposal)],
        "choices": [str(one) for one in choices_of(kind)], "note": row.note, "age_s": age_s(row, now),
        "opened_at": row.opened_at.isoformat(), "proposed_at": _time(row.proposed_at),
        "platform_signed_at": _time(row.platform_signed_at), "hub_signed_at": _time(row.hub_signed_at),
        "closed_at": _time(row.closed_at), "closed_why": row.closed_why,
    }  # fmt: skip


def _named(hub: Hub, row: StatementBreak) -> dict[str, Any]:
    return {**describe(row, hub.clock()), "source_id": open_source_id(hub.ring, row)}


def _time(at: datetime | None) -> str | None:
    return None if at is None else at.isoformat()


def _enter(gate: Gate, call: ApiCall) -> Entered[None]:
    token = gate.enter(call, SCOPE)
    if token.participant is None:
        raise HTTPException(403, "this client acts for no participant")
    return Entered(token.client_id, token.participant, None)
