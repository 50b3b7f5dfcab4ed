"""The doors of platforms that push: /in/{participant}/... I/O: HTTP, the database.

The platform's connector checks and unpacks the message, the pipeline takes the rows, the connector words the answer. An
unknown and a suspended participant get the same answer.
"""

from dataclasses import replace
from datetime import datetime

import structlog
from fastapi import APIRouter, Request, Response
from starlette.concurrency import run_in_threadpool

from connectors.base import ConnectorError, Delivery, Inbound, Outcome, Receiver, Reply, Transport, problem
from connectors.statements import StatementReceiver, find_disputes
from hub.api import notices
from hub.api.bodies import BodyTooLarge, read_bounded
from hub.context import Hub
from hub.db import reading
from hub.errors import Conflict, NotFound
from hub.exchange.counting import note_caller
from hub.participants import Platform, Status, open_platform
from hub.pipeline import take_delivery
from hub.records.naming import load_naming
from hub.records.races import try_again
from hub.records.told import load_quantities

log = structlog.get_logger(__name__)


def doors_router(hub: Hub) -> APIRouter:
    """Build the router of all doors."""
    router = APIRouter(tags=["doors"])

    # Some platforms prove an address by asking it, once; the connector says which methods it takes.
    @router.get("/in/{participant}", include_in_schema=False)
    @router.get("/in/{participant}/{rest:path}", include_in_schema=False)
    @router.post("/in/{participant}", name="deliver")
    @router.post("/in/{participant}/{rest:path}", name="deliver at a path")
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
    if platform.status is not Status.ACTIVE:
        return _no_door()
    note_caller(platform.platform_id)
    if inbound.path == notices.PATH and platform.document.notice_secret is not None:
        return notices.take_notice(hub, platform, inbound, now=hub.clock())
    found = _receiver(platform, inbound)
    if found is None:
        return _no_door()
    return _take(hub, platform, *found)


def _receiver(platform: Platform, inbound: Inbound) -> tuple[Receiver, Inbound] | None:
    """Find the feed that is spoken to: the one whose stream the path begins with, else the first that can be spoken to."""
    receivers = [
        (feed.stream, feed.connector)
        for feed in platform.feeds
        # What people bring has no door: nobody there could say whose it is.
        if isinstance(feed.connector, Receiver) and feed.connector.describe().transport is not Transport.UPLOAD
    ]
    first, _, rest = inbound.path.lstrip("/").partition("/")
    for stream, connector in receivers:
        if stream == first:
            return connector, replace(inbound, path="/" + rest)
    return (receivers[0][1], inbound) if receivers else None


def _take(hub: Hub, platform: Platform, receiver: Receiver, inbound: Inbound) -> Reply:
    now = hub.clock()
    if isinstance(receiver, StatementReceiver) and receiver.is_statement(inbound):
        return _compare(hub, platform, receiver, inbound, now)
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


def _compare(hub: Hub, platform: Platform, receiver: StatementReceiver, inbound: Inbound, now: datetime) -> Reply:
    """Answer a platform's own list of what it told, line by line: the format has a word for it."""
    statement = receiver.receive_statement(inbound, now=now)
    if isinstance(statement, Reply):
        return statement
    with reading(hub.engine) as session:
        taken = load_quantities(
            session, load_naming(session, hub.ring), platform.platform_id, statement.stream,
            [line.source_id for line in statement.lines],
        )  # fmt: skip
    disputes = find_disputes(statement, taken)
    log.info("statement_compared", platform=platform.platform_id, lines=len(statement.lines), disputes=len(disputes))
    return receiver.answer_statement(statement, disputes)


def _store(hub: Hub, platform: Platform, delivery: Delivery, now: datetime) -> Outcome:
    """Take a delivery, again if the same rows were stored by another message at this very moment."""
    return try_again(lambda: take_delivery(hub, platform, delivery, now=now))


def _no_door() -> Reply:
    return problem(404, "no_door", "There is no such door.")


def _response(reply: Reply) -> Response:
    return Response(content=reply.body, status_code=reply.status, headers=dict(reply.headers))
