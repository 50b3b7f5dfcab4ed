"""A person's account for a recipient whom the person allowed to look. I/O: HTTP, the database.

Only what the consent names is in any answer, the sums too. Amounts are whole milligrams of CO2e.
"""

from datetime import datetime
from typing import Annotated, Any

import polars as pl
from fastapi import APIRouter, HTTPException, Path, Query, Request
from sqlalchemy import text
from starlette.concurrency import run_in_threadpool

from consent.grants import Grant, require_grant
from consent.pairwise import pairwise_subject
from hub.api.access import Gate
from hub.clearing.explain.explanation import Report
from hub.clock import from_micros
from hub.context import Hub
from hub.db import reading, writing
from hub.disclosure import Shown, TooOften, load_shared, note_disclosure
from hub.disputes.locking import load_locked_mg
from hub.errors import NotFound
from hub.explain import explain_stored
from hub.records.corroboration import find_confirmations

SCOPE = "account:read"
STATES = ("provisional", "pending", "held")
Limit = Annotated[int, Query(ge=1, le=500, description="how many at most")]
Cursor = Annotated[int | None, Query(ge=1, lt=2**63, description="the last event of the page before")]
EventId = Annotated[int, Path(ge=1, lt=2**63, description="the event's number")]


def account_router(hub: Hub, gate: Gate) -> APIRouter:
    """Build the router."""
    router = APIRouter(prefix="/v1", tags=["account"])

    @router.get("/account")
    async def account(request: Request) -> dict[str, Any]:
        """Give the sums of what this recipient may see."""
        return await run_in_threadpool(_account, hub, gate, gate.call(request))

    @router.get("/account/entries")
    async def entries(request: Request, limit: Limit = 100, cursor: Cursor = None) -> dict[str, Any]:
        """Give the acts that count, newest first; go on with `next_cursor`."""
        return await run_in_threadpool(_entries, hub, gate, gate.call(request), limit, cursor)

    @router.get("/account/events/{event_id}")
    async def event(request: Request, event_id: EventId) -> dict[str, Any]:
        """Give one act with everybody who told of it, and why it counts once: in a sentence (zh-CN, en) and as data."""
        return await run_in_threadpool(_event, hub, gate, gate.call(request), event_id)

    return router


def _account(hub: Hub, gate: Gate, call: Any) -> dict[str, Any]:
    grant, shown, now = _look(hub, gate, call, "account")
    sums = dict.fromkeys(STATES, 0) | dict(shown.events.group_by("state").agg(pl.col("mg").sum()).iter_rows())
    with reading(hub.engine) as session:
        # Of pending and held: what a dispute locks, and nobody can use before it is decided.
        locked = load_locked_mg(session, shown.events["event_id"].to_list())
    return {
        "subject": pairwise_subject(hub.ring, grant.terms.recipient, grant.subject_id),
        "as_of": now.isoformat(),
        "balances": {f"{state}_mg": sums[state] for state in STATES},
        "locked_mg": locked,
        "events": len(shown.events),
        "authorization_details": [one.to_json() for one in shown.details],
    }


def _entries(hub: Hub, gate: Gate, call: Any, limit: int, cursor: int | None) -> dict[str, Any]:
    _grant, shown, _now = _look(hub, gate, call, "entries")
    events = shown.events
    if cursor is not None:
        places = events["event_id"].index_of(cursor)
        if places is None:
            raise NotFound("the cursor is not one of this account's")
        events = events.slice(places + 1)
    page = events.head(limit)
    more = len(events) > limit
    return {
        "entries": [_told(row) for row in page.iter_rows(named=True)],
        "next_cursor": int(page["event_id"][-1]) if more else None,
    }


def _event(hub: Hub, gate: Gate, call: Any, event_id: int) -> dict[str, Any]:
    grant, shown, now = _look(hub, gate, call, "event", event_id)
    if shown.events.is_empty():
        raise NotFound("there is no such event in what you may see")
    told = _told(shown.events.row(0, named=True))
    with writing(hub.engine) as session:
        rows = session.execute(
            text(
                "SELECT r.platform, d.verdict, d.rule, d.reason FROM decision d JOIN reduction_record r USING (record_id) "
                "WHERE d.event_id = :e ORDER BY d.record_id"
            ),
            {"e": event_id},
        ).all()
        confirmed = find_confirmations(session, [event_id]).get(event_id, [])
    # Who else told is shown only as far as the person allows this recipient to know of such acts at those platforms.
    at = from_micros(shown.events["start_us"][0])
    naming = [one for one in shown.details if told["behaviour"] in one.behaviours and one.since <= at < one.until]
    seen = {word for one in naming for word in one.platforms}
    told["records"] = [
        {"platform": platform, "verdict": verdict, "rule": rule, "reason": reason}
        for platform, verdict, rule, reason in rows
        if platform in seen
    ]
    told["confirmed_by"] = confirmed
    told["explanation"] = _explanation(hub, grant, shown, seen, event_id, now)
    return told


def _explanation(hub: Hub, grant: Grant, shown: Shown, seen: set[str], event_id: int, now: datetime) -> dict[str, Any]:
    """Explain the act as far as this recipient may know: other reports by `seen` platforms, other acts by its consent."""
    with reading(hub.engine) as session:

        def may_see(report: Report) -> bool:
            if report.event_id == event_id:
                return report.platform in seen
            if report.event_id is None or report.start_at is None:
                return False
            at = report.start_at
            named = any(
                report.platform in one.platforms and report.behaviour in one.behaviours and one.since <= at < one.until
                for one in shown.details
            )
            return named and not load_shared(session, grant, now=now, event_id=report.event_id).events.is_empty()

        return explain_stored(session, event_id, may_see=may_see).to_dict()


def _look(hub: Hub, gate: Gate, call: Any, what: str, event_id: int | None = None) -> tuple[Grant, Shown, datetime]:
    grant = gate.enter_for_person(call, SCOPE)
    with writing(hub.engine) as session:
        now = hub.clock()
        # As it stands now, in the transaction that reads: a withdrawal since the token was looked at counts.
        grant = require_grant(session, grant_id=grant.grant_id, subject_id=grant.subject_id)
        shown = load_shared(session, grant, now=now, event_id=event_id)
        try:
            note_disclosure(session, grant, what=what, rows=len(shown.events), now=now)
        except TooOften as refused:
            raise HTTPException(403, str(refused)) from None
    return grant, shown, now


def _told(row: dict[str, Any]) -> dict[str, Any]:
    return {
        "event_id": row["event_id"],
        "start_at": from_micros(row["start_us"]).isoformat(),
        "end_at": from_micros(row["end_us"]).isoformat(),
        "behaviour": row["behaviour"],
        "platform": row["platform"],
        "counted_mg": row["mg"],
        "state": row["state"],
        "methodology": row["methodology"],
        "policy": row["policy"],
    }
