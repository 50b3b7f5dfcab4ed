"""The doors of platforms that push: /in/{participant}/... I/O: HTTP, the database.

The platform's connector checks and unpacks the message, the pipeline takes the rows, the connector words the answer. An
unknown and a suspended participant get the same answer.
"""

from datetime import datetime

from fastapi import APIRouter, Request, Response
from starlette.concurrency import run_in_threadpool

from connectors.base import ConnectorError, Delivery, Inbound, Outcome, Receiver, Reply, problem
from hub.api.bodies import BodyTooLarge, read_bounded
from hub.context import Hub
from hub.db import reading
from hub.errors import Conflict, NotFound
from hub.participants import Platform, Status, open_platform
from hub.pipeline import take_delivery
from hub.records.races import DATABASE_ERRORS, TRIES, lost_a_race


def doors_router(hub: Hub) -> APIRouter:
    """Build the router of all doors."""
    router = APIRouter(tags=["doors"])

    @router.api_route("/in/{participant}", methods=["POST"], name="deliver")
    @router.api_route("/in/{participant}/{rest:path}", methods=["POST"], name="deliver at a path")
    async def deliver(request: Request, participant: str, rest: str = "") -> Response:
        """Take one message of a platform, in the platform's own format."""
        try:
            body = await read_bounded(request, hub.settings.max_body_bytes)
        except BodyTooLarge:
            return _response(problem(413, "message_too_large", "The message is larger than this hub takes."))
        inbound = Inbound(
            method=request.method,
            path="/" + rest,
            query=dict(request.query_params),
            headers={name.lower(): value for name, value in request.headers.items()},
            body=body,
        )
        return _response(await run_in_threadpool(answer, hub, participant, inbound))

    return router


def answer(hub: Hub, participant: str, inbound: Inbound) -> Reply:
    """Take a message through the participant's connector and the pipeline; every outcome is a reply."""
    try:
        with reading(hub.engine) as session:
            platform = open_platform(session, hub.ring, participant)
    except NotFound:
        return _no_door()
    if platform.status is not Status.ACTIVE or not isinstance(platform.connector, Receiver):
        return _no_door()
    return _take(hub, platform, platform.connector, inbound)


def _take(hub: Hub, platform: Platform, receiver: Receiver, inbound: Inbound) -> Reply:
    now = hub.clock()
    try:
        received = receiver.receive(inbound, now=now)
    except ConnectorError as error:
        return problem(503, error.reason, "The hub cannot take this now; an operator was told.")
    if not isinstance(received, Delivery):
        return received
    if len(received.rows) + len(received.unreadable) > hub.settings.max_rows_per_delivery:
        return problem(413, "too_many_rows", f"At most {hub.settings.max_rows_per_delivery} rows fit one message.")
    try:
        outcome = _store(hub, platform, received, now)
    except Conflict as conflict:
        return problem(409, "delivery_conflict", str(conflict))
    return receiver.acknowledge(received, outcome)


def _store(hub: Hub, platform: Platform, delivery: Delivery, now: datetime) -> Outcome:
    """Take a delivery, again if the same rows were stored by another message at this very moment."""
    for _ in range(TRIES - 1):
        try:
            return take_delivery(hub, platform, delivery, now=now)
        except DATABASE_ERRORS as error:
            if not lost_a_race(error):
                raise
    return take_delivery(hub, platform, delivery, now=now)


def _no_door() -> Reply:
    return problem(404, "no_door", "There is no such door.")


def _response(reply: Reply) -> Response:
    return Response(content=reply.body, status_code=reply.status, headers=dict(reply.headers))
