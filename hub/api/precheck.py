"""POST /v1/precheck: is this act claimed already? I/O: HTTP, the database.

It is a question and changes nothing but the asker's allowance, so it takes no Idempotency-Key: to ask again is to ask again.
The body is a POST's because numbers of orders have no place in an address, which proxies write down.
"""

from math import ceil
from typing import Any

from fastapi import APIRouter, HTTPException, Request
from starlette.concurrency import run_in_threadpool

from consent.tokens import ApiCall
from hub.api.access import Gate
from hub.api.bodies import read_bounded
from hub.context import Hub
from hub.precheck.allowance import UsedUp
from hub.precheck.asking import MOST_BYTES, Answer, Answers, Question, parse_question
from hub.precheck.claims import check_claims

SCOPE = "records:write"


def precheck_router(hub: Hub, gate: Gate) -> APIRouter:
    """Build the router."""
    router = APIRouter(prefix="/v1", tags=["precheck"])

    @router.post("/precheck", openapi_extra=_described(), responses=_PROBLEMS)
    async def precheck(request: Request) -> Answers:
        """Say for up to 500 acts of this platform whether another platform has claimed them, and nothing more.

        An act is known by its order or payment number, its behaviour and its begin. Nothing is claimed by asking.
        """
        call = gate.call(request)
        body = await read_bounded(request, min(MOST_BYTES, hub.settings.max_body_bytes))
        return await run_in_threadpool(_check, hub, gate, call, body)

    return router


def _check(hub: Hub, gate: Gate, call: ApiCall, body: bytes) -> Answers:
    token = gate.enter(call, SCOPE)
    if token.participant is None:
        raise HTTPException(403, "this client acts for no participant")
    question = parse_question(body)
    try:
        checked = check_claims(hub, token.participant, question, now=hub.clock())
    except UsedUp as refused:
        wait = {"retry-after": str(max(1, ceil(refused.after.total_seconds())))}
        raise HTTPException(429, str(refused), wait) from None
    return Answers(events=[Answer(claimed=one) for one in checked.claimed], left_today=checked.left)


def _problem(what: str, **more: Any) -> dict[str, Any]:
    return {"description": what, "content": {"application/problem+json": {}}, **more}


_PROBLEMS: dict[int | str, dict[str, Any]] = {
    401: _problem("no token, a dead one, or no proof of its key"),
    403: _problem("the token lacks the scope records:write, or is of no active participant"),
    413: _problem("the question is larger than this address takes"),
    422: _problem("not of the agreed form, an act that this participant does not report, or a number that is none"),
    429: _problem(
        "too many calls this minute, or too many acts today",
        headers={"Retry-After": {"description": "seconds to wait", "schema": {"type": "integer"}}},
    ),
}


def _described() -> dict[str, Any]:
    """Describe the body, which is read by hand: the framework's reader keeps the last of two equal keys, unbounded."""
    schema = Question.model_json_schema()
    schema["properties"]["events"]["items"] = schema.pop("$defs")["Event"]
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}
