"""Statements of a window: ours for the platform to read, theirs to compare. I/O: HTTP, the database.

Access by a client-credentials token of a client that acts for the participant; a platform sees its own statement only. A POST
takes no Idempotency-Key: the same statement again is compared again, and the newest comparison stands.
"""

from typing import Annotated, Any

import polars as pl
from fastapi import APIRouter, HTTPException, Path, Query, Request
from sqlalchemy.orm import Session
from starlette.concurrency import run_in_threadpool

from hub.api.access import Gate
from hub.api.bodies import read_bounded
from hub.clock import from_micros
from hub.context import Hub
from hub.db import reading
from hub.errors import NotFound, UsageProblem
from hub.participants import Feed, Platform, open_platform
from hub.reconcile.comparing import ComparedStream, Recorded, record_statement
from hub.reconcile.deliveries import load_restated, load_statement
from hub.reconcile.documents import Statement, Told, ToldStream, is_stream_name, parse_lines, parse_told
from hub.reconcile.lines import Totals, totals_of
from hub.reconcile.ours import Period, feeds_of, is_numbered, load_keys, load_ours, load_period, name_lines

LINES = "application/x-ndjson"
MOST_LINES_A_PAGE = 10_000
Window = Annotated[int, Path(ge=1, lt=2**31, description="the window's number")]
Stream = Annotated[str | None, Query(description="one stream; left out: the participant's first")]


def statements_router(hub: Hub, gate: Gate) -> APIRouter:
    """Build the router."""
    router = APIRouter(prefix="/v1", tags=["statements"])

    @router.get("/statements/{window}")
    def ours(
        request: Request,
        window: Window,
        lines: Annotated[bool, Query(description="a page of one stream's records instead of the totals")] = False,
        stream: Stream = None,
        cursor: Annotated[int, Query(ge=0, lt=2**63, description="`next` of the page before")] = 0,
        limit: Annotated[int, Query(ge=1, le=MOST_LINES_A_PAGE)] = 1_000,
    ) -> dict[str, object]:
        """Give the hub's side: this platform's deliveries in the window, and count, sum and digest of each stream."""
        platform = _platform(gate, request)
        if lines:
            return _page(hub, window, platform, stream, cursor, limit)
        return _ours(hub, window, platform)

    @router.post("/statements/{window}", openapi_extra=_described())
    async def theirs(request: Request, window: Window, stream: Stream = None) -> dict[str, object]:
        """Compare the platform's side with ours; the answer is every difference with its type."""
        platform = await run_in_threadpool(_platform, gate, request)
        if request.headers.get("content-type", "").partition(";")[0].strip() == LINES:
            body = await read_bounded(request, hub.settings.max_statement_bytes)
            return await run_in_threadpool(_compare_lines, hub, window, platform, stream, body)
        body = await read_bounded(request, hub.settings.max_body_bytes)
        return await run_in_threadpool(_compare, hub, window, platform, body)

    return router


def _ours(hub: Hub, window: int, platform_id: str) -> dict[str, object]:
    with reading(hub.engine) as session:
        period = load_period(session, window)
        statement = load_statement(session, window, platform_id)
        restated = load_restated(session, window, platform_id)
        told: dict[str, object] = {"window": window, **_times(period), "deliveries": statement.to_dicts()}
        told["streams"] = [
            {"stream": name, "versions": is_numbered(feed)}
            | _totals(totals_of(load_ours(session, hub.ring, platform_id, feed, window)))
            for name, feed in _feeds(hub, session, platform_id).items()
        ]
    return told if restated.is_empty() else told | {"restated": restated.to_dicts()}


def _feeds(hub: Hub, session: Session, platform_id: str) -> dict[str, Feed]:
    """Return the feeds of a client's participant; one that never joined, or is gone, has none."""
    try:
        return feeds_of(open_platform(session, hub.ring, platform_id))
    except NotFound:
        return {}


def _page(hub: Hub, window: int, platform_id: str, stream: str | None, cursor: int, limit: int) -> dict[str, object]:
    with reading(hub.engine) as session:
        load_period(session, window)
        platform = open_platform(session, hub.ring, platform_id)
        feed = feeds_of(platform).get(_stream_name(platform, stream))
        if feed is None:
            raise UsageProblem("this participant tells no records in a stream of that name")
        keys = load_keys(session, platform_id, feed, window)
        page = keys.filter(pl.col("record_id") > cursor).head(limit)
        named = name_lines(session, hub.ring, platform_id, feed, window, page)
    more = len(page) == limit and int(page["record_id"][-1]) < int(keys["record_id"][-1])
    rows = named.select("source_id", "version", "claimed_mg", "posted_us").to_dicts()
    for row in rows:
        posted = row.pop("posted_us")
        row["posted_at"] = None if posted is None else from_micros(posted).isoformat()
    following = int(page["record_id"][-1]) if more else None
    return {"window": window, "stream": feed.stream, "lines": rows, "next": following}


def _compare(hub: Hub, window: int, platform: str, body: bytes) -> dict[str, Any]:
    return _answer(hub, window, platform, parse_told(body, extra="forbid"))


def _compare_lines(hub: Hub, window: int, platform: str, stream: str | None, body: bytes) -> dict[str, Any]:
    if stream is not None and not is_stream_name(stream):
        raise UsageProblem("this participant tells no records in a stream of that name")
    lines = parse_lines(body)
    told = ToldStream(stream=stream, totals=totals_of(lines), lines=lines)
    return _answer(hub, window, platform, Told(deliveries=None, streams=(told,)))


def _answer(hub: Hub, window: int, platform: str, told: Told) -> dict[str, Any]:
    done = record_statement(hub, window, platform, told.deliveries, now=hub.clock(), streams=told.streams)
    answer: dict[str, Any] = {"window": window, "breaks": done.breaks.to_dicts()}
    if not told.streams:
        return answer
    return answer | {"state": done.state, "streams": [_stream(one) for one in done.streams], **_moved(done)}


def _stream(one: ComparedStream) -> dict[str, Any]:
    told: dict[str, Any] = {"stream": one.stream, "state": one.state, "versions": one.numbered}
    told |= {"ours": _totals(one.ours), "theirs": _totals(one.theirs)}
    if one.paired is not None:
        shown = one.paired.breaks.select("source_id", "kind", "ours", "theirs", "mg")
        told |= {"matched": one.paired.matched, "breaks": shown.to_dicts()}
    return told


def _moved(done: Recorded) -> dict[str, Any]:
    return {"opened": len(done.moved.opened), "closed": len(done.moved.closed)}


def _totals(totals: Totals) -> dict[str, Any]:
    return {"records": totals.records, "claimed_mg": totals.claimed_mg, "digest": totals.digest.hex()}


def _times(period: Period) -> dict[str, str | None]:
    until = None if period.until_us is None else from_micros(period.until_us).isoformat()
    return {"from": from_micros(period.from_us).isoformat(), "until": until}


def _stream_name(platform: Platform, stream: str | None) -> str:
    return platform.feeds[0].stream if stream is None else stream


def _platform(gate: Gate, request: Request) -> str:
    token = gate.enter(gate.call(request), "records:write")
    if token.participant is None:
        raise HTTPException(403, "this client acts for no participant")
    return token.participant


def _described() -> dict[str, Any]:
    """Describe the body, which is read by hand: the framework's reader keeps the last of two equal keys, unbounded."""
    schema = Statement.model_json_schema()
    parts = schema.pop("$defs")
    parts["StreamLine"]["properties"]["lines"]["anyOf"][0]["items"] = parts["RecordLine"]
    for name, item in (("deliveries", "Line"), ("streams", "StreamLine")):
        told = schema["properties"][name]["anyOf"][0]
        schema["properties"][name] = {"type": "array", "maxItems": told["maxItems"], "items": parts[item]}
    line = {"type": "string", "description": "a record on each line: source_id, version, claimed_mg, posted_at"}
    content = {"application/json": {"schema": schema}, LINES: {"schema": line}}
    return {"requestBody": {"required": True, "content": content}}
