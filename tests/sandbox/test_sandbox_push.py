"""The sandbox pushes signed messages to a small counterpart that checks every one with a public library."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

import httpx
import pytest
from fastapi import FastAPI, Request, Response
from standardwebhooks import Webhook, WebhookVerificationError
from tests_support.sandbox_doors import SECRETS

from hub.sandbox.people import BEIJING
from hub.sandbox.platforms.beijing import BeijingGreenLife
from hub.sandbox.platforms.courier import Courier
from hub.sandbox.platforms.faults import Fault
from hub.sandbox.platforms.site import Front, Site
from hub.sandbox.reports import Reports

MakeSite = Callable[..., Site]
Serve = Callable[..., str]


@dataclass
class SignedDoor:
    """A hub that knows nothing but Standard Webhooks."""

    app: FastAPI = field(default_factory=FastAPI)
    bodies: dict[str, bytes] = field(default_factory=dict)
    refused: int = 0
    arrivals: int = 0
    answers: list[int] = field(default_factory=list)  # what is answered before anything is checked

    def __post_init__(self) -> None:
        self.app.add_api_route(f"/in/{BEIJING}", self.take, methods=["POST"], response_model=None)

    async def take(self, request: Request) -> Response:
        self.arrivals += 1
        if self.answers:
            return Response(status_code=self.answers.pop(0), headers={"retry-after": "0"})
        body = await request.body()
        try:
            Webhook(SECRETS[BEIJING]["webhook_secret"]).verify(body, dict(request.headers), json_parse=False)
        except WebhookVerificationError:
            self.refused += 1
            return Response(status_code=401)
        self.bodies.setdefault(request.headers["webhook-id"], body)
        return Response(status_code=200)


@pytest.fixture
def signed(serve: Serve, make_site: MakeSite) -> tuple[SignedDoor, BeijingGreenLife]:
    door = SignedDoor()
    return door, BeijingGreenLife(Front(make_site(BEIJING, hub_url=serve(door.app))))


def test_every_row_arrives_signed_and_byte_for_byte(
    signed: tuple[SignedDoor, BeijingGreenLife], reports: Reports
) -> None:
    door, platform = signed
    tally = asyncio.run(platform.deliver(1))
    rows = reports.told_by(BEIJING, 1, "")
    assert (tally.rows, tally.refused, tally.failed) == (len(rows), 0, 0)
    assert tally.deliveries == len(door.bodies) > 1
    text = b",".join(body.removeprefix(b'{"records":[').removesuffix(b"]}") for body in door.bodies.values())
    assert text.decode() == ",".join(row.body for row in rows)


def test_the_statement_names_what_was_delivered(
    signed: tuple[SignedDoor, BeijingGreenLife], reports: Reports, serve: Serve
) -> None:
    door, platform = signed
    asyncio.run(platform.deliver(1))
    asyncio.run(platform.deliver(2))
    origin = serve(platform.app)
    first, both = (
        httpx.get(f"{origin}/statement", params=query, trust_env=False, timeout=60).json()["deliveries"]
        for query in ({"part": 1}, {})
    )
    assert {one["delivery_id"] for one in both} == set(door.bodies)
    assert sum(one["rows"] for one in first) == len(reports.told_by(BEIJING, 1, ""))
    told = (*reports.told_by(BEIJING, 1, ""), *reports.told_by(BEIJING, 2, ""))
    assert sum(one["claimed_mg"] for one in both) == sum(row.claimed_mg for row in told)


def test_delivering_again_sends_the_same_messages_under_the_same_names(
    signed: tuple[SignedDoor, BeijingGreenLife], make_site: MakeSite
) -> None:
    door, platform = signed
    asyncio.run(platform.deliver(1))
    before = dict(door.bodies)
    asyncio.run(BeijingGreenLife(Front(make_site(BEIJING, hub_url=platform.site.hub_url))).deliver(1))
    assert door.bodies == before
    assert door.arrivals == 2 * len(before)


@pytest.mark.parametrize("fault", [Fault.WRONG_SIGNATURE, Fault.TAMPERED])
def test_a_wrong_signature_is_really_wrong(signed: tuple[SignedDoor, BeijingGreenLife], fault: Fault) -> None:
    door, platform = signed
    platform.faults.arm(fault)
    tally = asyncio.run(platform.deliver(1))
    assert (door.refused, tally.refused) == (1, 1)
    assert len(platform.book.statement()["deliveries"]) == tally.taken == tally.deliveries - 1


def test_duplicates_are_the_same_message_twice(signed: tuple[SignedDoor, BeijingGreenLife]) -> None:
    door, platform = signed
    platform.faults.arm(Fault.DUPLICATES, 2)
    tally = asyncio.run(platform.deliver(1))
    assert door.arrivals == tally.deliveries == len(door.bodies) + 2


@pytest.mark.parametrize("status", [429, 503, 500])
def test_a_busy_hub_is_asked_again(signed: tuple[SignedDoor, BeijingGreenLife], status: int) -> None:
    door, platform = signed
    door.answers = [status, status]
    tally = asyncio.run(platform.deliver(1))
    assert (tally.failed, tally.refused) == (0, 0)
    assert door.arrivals == tally.deliveries + 2


def test_what_the_hub_never_took_is_not_claimed(signed: tuple[SignedDoor, BeijingGreenLife]) -> None:
    door, platform = signed
    door.answers = [503] * 1000
    tally = asyncio.run(platform.deliver(1))
    assert tally.deliveries == tally.failed > 0
    assert platform.book.statement() == {"deliveries": []}


def test_patience_with_a_hub_that_is_not_there_ends() -> None:
    async def post() -> httpx.Response | None:
        async with Courier(attempts=3, first_wait_s=0) as courier:
            return await courier.post("http://127.0.0.1:9/in", b"{}", {})

    assert asyncio.run(post()) is None
