"""Statements of a window: ours for the platform to read, theirs to compare. I/O: HTTP, the database.

Access by a client-credentials token of a client that acts for the participant; a platform sees its own statement only.
"""

from typing import Annotated, Any

import polars as pl
from fastapi import APIRouter, HTTPException, Path, Request
from starlette.concurrency import run_in_threadpool

from hub.api.access import Gate
from hub.api.bodies import read_bounded
from hub.clearing.reconcile import load_restated, load_statement
from hub.clearing.tables import ClearingWindow
from hub.context import Hub
from hub.db import reading
from hub.errors import NotFound
from hub.sync.statements import Statement, parse_statement, record_statement

Window = Annotated[int, Path(ge=1, lt=2**31, description="the window's number")]


def statements_router(hub: Hub, gate: Gate) -> APIRouter:
    """Build the router."""
    router = APIRouter(prefix="/v1", tags=["statements"])

    @router.get("/statements/{window}")
    def ours(request: Request, window: Window) -> dict[str, object]:
        """Give the hub's side: the deliveries of this platform that fell into the window, and what was restated in it."""
        platform = _platform(gate, request)
        with reading(hub.engine) as session:
            if session.get(ClearingWindow, window) is None:
                raise NotFound(f"there is no window {window}")
            statement = load_statement(session, window, platform)
            restated = load_restated(session, window, platform)
        told: dict[str, object] = {"window": window, "deliveries": statement.to_dicts()}
        return told if restated.is_empty() else told | {"restated": restated.to_dicts()}

    @router.post("/statements/{window}", openapi_extra=_described())
    async def theirs(request: Request, window: Window) -> dict[str, object]:
        """Compare the platform's side with ours; the answer is every difference with its type."""
        platform = await run_in_threadpool(_platform, gate, request)
        body = await read_bounded(request, hub.settings.max_body_bytes)
        return await run_in_threadpool(_compare, hub, window, platform, body)

    return router


def _compare(hub: Hub, window: int, platform: str, body: bytes) -> dict[str, Any]:
    told: pl.DataFrame = parse_statement(body, extra="forbid")
    compared = record_statement(hub, window, platform, told, now=hub.clock())
    return {"window": window, "breaks": compared.breaks.to_dicts()}


def _platform(gate: Gate, request: Request) -> str:
    token = gate.enter(gate.call(request), "records:write")
    if token.participant is None:
        raise HTTPException(403, "this client acts for no participant")
    return token.participant


def _described() -> dict[str, Any]:
    """Describe the body, which is read by hand: the framework's reader keeps the last of two equal keys, unbounded."""
    schema = Statement.model_json_schema()
    schema["properties"]["deliveries"]["items"] = schema.pop("$defs")["Line"]
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}
