"""Statements of a window: ours for the platform to read, theirs to compare. I/O: HTTP, the database.

Access by a client-credentials token of a client that acts for the participant; a platform sees its own statement only.
"""

from typing import Annotated

import polars as pl
from fastapi import APIRouter, Header, HTTPException
from pydantic import BaseModel, ConfigDict, Field

from consent.tokens import TokenInfo, TokenRefused, require_token
from hub.clearing.reconcile import STATEMENT_SCHEMA, load_statement
from hub.context import Hub
from hub.db import reading
from hub.sync.statements import record_statement

Authorization = Annotated[str | None, Header()]


class Line(BaseModel):
    """One delivery as the platform remembers it."""

    model_config = ConfigDict(extra="forbid", strict=True)

    delivery_id: str = Field(min_length=1, max_length=200)
    rows: int = Field(ge=0, le=10**9)


class Statement(BaseModel):
    """What a platform says it delivered in a window."""

    model_config = ConfigDict(extra="forbid", strict=True)

    deliveries: list[Line] = Field(max_length=100_000)


def statements_router(hub: Hub) -> APIRouter:
    """Build the router."""
    router = APIRouter(prefix="/v1", tags=["statements"])

    @router.get("/statements/{window}")
    def ours(window: int, authorization: Authorization = None) -> dict[str, object]:
        """Give the hub's side: the deliveries of this platform that fell into the window."""
        platform = _platform(hub, authorization)
        with reading(hub.engine) as session:
            statement = load_statement(session, window, platform)
        return {"window": window, "deliveries": statement.to_dicts()}

    @router.post("/statements/{window}")
    def theirs(window: int, statement: Statement, authorization: Authorization = None) -> dict[str, object]:
        """Compare the platform's side with ours; the answer is every difference with its type."""
        platform = _platform(hub, authorization)
        lines = [(line.delivery_id, line.rows) for line in statement.deliveries]
        frame = pl.DataFrame(lines, schema=STATEMENT_SCHEMA, orient="row")
        compared = record_statement(hub, window, platform, frame, now=hub.clock())
        return {"window": window, "breaks": compared.breaks.to_dicts()}

    return router


def _platform(hub: Hub, authorization: str | None) -> str:
    try:
        with reading(hub.engine) as session:
            token: TokenInfo = require_token(session, authorization, scope="records:write", now=hub.clock())
    except TokenRefused as refused:
        raise HTTPException(refused.status, "a token with scope records:write is needed") from None
    if token.participant is None:
        raise HTTPException(403, "this client acts for no participant")
    return token.participant
