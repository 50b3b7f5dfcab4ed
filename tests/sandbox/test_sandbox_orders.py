"""Takeaway, e-waybills, recycling and charging asked for: the hub's connectors read what the simulators write."""

import asyncio
import base64
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.padding import PKCS7
from fastapi import FastAPI, Request, Response
from starlette.concurrency import run_in_threadpool

from connectors.base import Cursor, Delivery, Fetcher, Inbound, Outcome, Receiver, Reply, RetryLater, SetAside, Window
from connectors.formats.tcec102 import TCec102
from connectors.registry import build
from connectors.statements import Statement, find_disputes
from hub.sandbox.acts import CHARGING_OPERATOR
from hub.sandbox.platforms import ewaybill, kuaidian, kuaidian_asked, takeaway, zhenhai
from hub.sandbox.platforms.faults import Fault
from hub.sandbox.platforms.kuaidian_asked import KuaidianAsked
from hub.sandbox.platforms.site import Front, Site, Voice
from hub.sandbox.platforms.spec import Feed, Place, Spec
from hub.sandbox.platforms.tcec_wire import WireKeys, encrypt_data, request_envelope
from hub.sandbox.registers import EWAYBILL, KUAIDIAN, TAKEAWAY, ZHENHAI
from hub.sandbox.reports import Note, Oracle, Reports
from hub.sandbox.town import Town

Serve = Callable[..., str]
MakeSite = Callable[..., Site]
PUSHED = [(spec, feed) for spec in (takeaway.SPEC, ewaybill.SPEC, zhenhai.SPEC) for feed in spec.feeds
          if feed.connector in ("takeaway_order", "wechat_waybill", "kuaidi100_label", "recycling")]  # fmt: skip
NAMES = [feed.connector for _, feed in PUSHED]


@dataclass
class Door:
    """The hub's door with one connector behind it, and no hub."""

    receiver: Receiver
    app: FastAPI = field(default_factory=FastAPI)
    deliveries: list[Delivery] = field(default_factory=list)
    refused: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        for path in ("/in/{participant}", "/in/{participant}/{rest:path}"):
            self.app.add_api_route(path, self.take, methods=["POST"], response_model=None)

    async def take(self, request: Request) -> Response:
        inbound = Inbound(
            method="POST",
            path=request.url.path,
            query=dict(request.query_params),
            headers={name.lower(): value for name, value in request.headers.items()},
            body=await request.body(),
        )
        answer = await run_in_threadpool(lambda: self.receiver.receive(inbound, now=datetime.now(UTC)))
        if isinstance(answer, Delivery):
            self.deliveries.append(answer)
            answer = self.receiver.acknowledge(answer, Outcome(accepted=len(answer.rows)))
        self.refused += [answer.status] if answer.status >= 400 else []
        return Response(answer.body, status_code=answer.status, headers=dict(answer.headers))

    def rows(self) -> list[str]:
        return [row.decode() for delivery in self.deliveries for row in delivery.rows]


def stand_up(spec: Spec, feed: Feed, serve: Serve, make_site: MakeSite) -> tuple[Door, Voice]:
    site = make_site(spec.id)
    place = Place(platform=spec.id, origin=site.origin, drop_dir=site.drop_dir, agreed=site.secrets)
    receiver = build(feed.connector, feed.config(place), feed.secrets(site.secrets))
    door = Door(cast(Receiver, receiver))
    told = make_site(spec.id, hub_url=serve(door.app))
    return door, feed.voice(Front(told), "" if feed is spec.feeds[0] else feed.stream)


@pytest.mark.parametrize(("spec", "feed"), PUSHED, ids=NAMES)
def test_what_is_pushed_is_what_is_received(spec: Spec, feed: Feed, serve: Serve, make_site: MakeSite) -> None:
    door, voice = stand_up(spec, feed, serve, make_site)
    told = []
    for part in (1, 2, 3, 4):
        tally = asyncio.run(voice.deliver(part))
        told += [row.body for row in voice.rows(part)]
        assert (tally.refused, tally.failed) == (0, 0)
    assert told
    assert door.rows() == told
    assert not any(delivery.unreadable for delivery in door.deliveries)
    statement = {one["delivery_id"] for one in voice.book.statement()["deliveries"]}
    assert statement == {delivery.delivery_id for delivery in door.deliveries}


@pytest.mark.parametrize(("spec", "feed"), PUSHED, ids=NAMES)
@pytest.mark.parametrize("fault", [Fault.WRONG_SIGNATURE, Fault.TAMPERED])
def test_what_is_spoilt_is_refused_and_the_rest_arrives(
    spec: Spec, feed: Feed, fault: Fault, serve: Serve, make_site: MakeSite
) -> None:
    door, voice = stand_up(spec, feed, serve, make_site)
    voice.faults.arm(fault)
    tally = asyncio.run(voice.deliver(1))
    assert (tally.refused, tally.failed, door.refused) == (1, 0, [401])
    assert tally.taken == tally.deliveries - 1


@pytest.mark.parametrize(("spec", "feed"), PUSHED, ids=NAMES)
def test_what_is_sent_twice_is_one_delivery(spec: Spec, feed: Feed, serve: Serve, make_site: MakeSite) -> None:
    door, voice = stand_up(spec, feed, serve, make_site)
    voice.faults.arm(Fault.DUPLICATES, 3)
    asyncio.run(voice.deliver(1))
    asyncio.run(voice.deliver(1))
    by_id: dict[str, set[bytes]] = {}
    for delivery in door.deliveries:
        by_id.setdefault(delivery.delivery_id, set()).add(delivery.digest)
    assert all(len(digests) == 1 for digests in by_id.values())
    assert len(by_id) < len(door.deliveries)


@pytest.mark.parametrize(
    ("platform", "notes", "troubles"),
    [
        (
            TAKEAWAY,
            {Note.PLAIN, Note.LATE, Note.REPLAY, Note.CANCELLATION, Note.DIRTY, Note.MALFORMED},
            {"no_reduction", "not_final", "unknown_status", "time_out_of_range", "bad_region"},
        ),
        (
            EWAYBILL,
            {Note.PLAIN, Note.LATE, Note.REPLAY, Note.CORRECTION, Note.CANCELLATION, Note.MALFORMED},
            {"unknown_status", "missing_time", "bad_region", "bad_time", "time_ahead"},
        ),
        (
            ZHENHAI,
            {Note.PLAIN, Note.CANCELLATION, Note.DIRTY, Note.MALFORMED},
            {"not_final", "unknown_scene", "negative_quantity", "missing_status"},
        ),
    ],
)
def test_every_hardship_of_these_platforms_occurs(platform: str, notes: set[Note], troubles: set[str]) -> None:
    oracle = Oracle(Reports(Town(7, 400)))
    own = [row for row in oracle.rows if row.platform == platform and row.stream in ("", "kuaidi100_labels")]
    assert notes <= {row.note for row in own}
    assert {row.trouble for row in own} - {None} == troubles
    people = {person.index: person for person in oracle.town.people}
    for row in own:
        if row.trouble is not None:
            assert platform in people[row.person].links
            assert people[row.person].revokes is None


def test_parcels_are_told_in_both_forms_under_one_number(reports: Reports) -> None:
    told: dict[str, set[str]] = {}
    for row in reports.told_by(EWAYBILL):
        if row.act_id is not None:
            told.setdefault(json.loads(row.body)["number"], set()).add(row.stream)
    assert sum(len(streams) == 2 for streams in told.values()) >= 10
    assert all(number in {act.order_no for act in reports.town.acts} for number in told)


# ----- charging, asked for -----


@dataclass
class Asked:
    voice: KuaidianAsked
    config: dict[str, Any]
    secrets: dict[str, Any]

    def fetcher(self, **changes: object) -> Fetcher:
        return cast(Fetcher, build("tcec102_pull", self.config | changes, self.secrets))

    def read(self, cursor: Cursor | None = None, **changes: object) -> tuple[list[str], Cursor | None]:
        now = datetime.now(UTC) + timedelta(seconds=2)
        rows = []
        window = Window(since=now - timedelta(hours=6))
        for page in self.fetcher(**changes).fetch(None, cursor, now=now, window=window):
            rows += [row.decode() for row in page.delivery.rows]
            cursor = Cursor(json.loads(json.dumps(page.cursor)))
        return rows, cursor


@pytest.fixture
def asked(serve: Serve, make_site: MakeSite) -> Asked:
    front = Front(make_site(KUAIDIAN))
    voice = KuaidianAsked(front)
    place = Place(platform=KUAIDIAN, origin=serve(front.app), drop_dir=front.site.drop_dir, agreed=front.site.secrets)
    return Asked(voice, kuaidian_asked.ASKED.config(place), kuaidian_asked.ASKED.secrets(front.site.secrets))


def test_what_is_asked_for_is_what_the_operator_has(asked: Asked, reports: Reports) -> None:
    asyncio.run(asked.voice.deliver(1))
    rows, cursor = asked.read(page_size=7)
    known = {row.source_id: row.body for row in reports.told_by(KUAIDIAN, 1, "")}
    assert sorted(rows) == sorted(known.values())
    again, _ = asked.read(cursor)
    assert sorted(again) == sorted(rows), "the overlap is read again, and nothing is lost by it"
    assert asked.voice.book.statement()["deliveries"]


def test_an_expired_token_is_got_again_in_the_middle_of_a_run(asked: Asked, reports: Reports) -> None:
    asyncio.run(asked.voice.deliver(1))
    now = datetime.now(UTC) + timedelta(seconds=2)
    rows = []
    for page in asked.fetcher(page_size=5).fetch(None, None, now=now, window=Window(since=now - timedelta(hours=1))):
        rows += page.delivery.rows
        asked.voice.expire_tokens()
    assert len(rows) == len({row.source_id for row in reports.told_by(KUAIDIAN, 1, "")})


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (Fault.RATE_LIMITED, RetryLater),
        (Fault.SERVER_ERROR, RetryLater),
        (Fault.GARBAGE, RetryLater),
        (Fault.TRUNCATED_PAGE, RetryLater),
        (Fault.WRONG_SIGNATURE, SetAside),
        (Fault.TAMPERED, SetAside),
        (Fault.REPEATED_PAGE, SetAside),
        (Fault.CHANGING_CURSOR, SetAside),
    ],
)
def test_an_operator_that_fails_is_named_by_its_recovery(asked: Asked, fault: Fault, error: type[Exception]) -> None:
    asyncio.run(asked.voice.deliver(1))
    asked.voice.faults.arm(fault, 50)
    with pytest.raises(error):
        asked.read(page_size=1)


def test_the_operators_list_of_a_part_agrees_with_what_it_told(make_site: MakeSite) -> None:
    site = make_site(KUAIDIAN)
    voice = KuaidianAsked(Front(site))
    feed = kuaidian.SPEC.feeds[0]
    place = Place(platform=KUAIDIAN, origin=site.origin, drop_dir=site.drop_dir, agreed=site.secrets)
    hub = cast(TCec102, build(feed.connector, feed.config(place), feed.secrets(site.secrets)))
    statement = _told_to(hub, site, voice.statement(1), "check_charge_orders")
    assert isinstance(statement, Statement)
    taken = {line.source_id: line.quantity_micro for line in statement.lines}
    assert set(taken) == {row.source_id for row in site.reports.told_by(KUAIDIAN, 1, "") if row.trouble is None}
    assert find_disputes(statement, taken) == ()
    lost = next(iter(taken))
    disputes = find_disputes(statement, {name: micro for name, micro in taken.items() if name != lost})
    assert [(one.line.source_id, one.why) for one in disputes] == [(lost, "unknown")]
    told = _opened(site, hub.answer_statement(statement, disputes))
    assert (told["TotalDisputeOrder"], told["DisputeOrders"][0]["StartChargeSeq"]) == (1, lost)


def _told_to(hub: TCec102, site: Site, data: dict[str, Any], interface: str) -> Statement | Reply:
    def post(name: str, text: dict[str, Any], token: str = "") -> Inbound:
        sealed = encrypt_data(_keys(site), json.dumps(text).encode())
        stamp = (datetime.now(UTC) + timedelta(hours=8)).strftime("%Y%m%d%H%M%S")
        body = json.dumps(request_envelope(_keys(site), CHARGING_OPERATOR, sealed, stamp, "0001")).encode()
        headers = {"authorization": f"Bearer {token}"}
        return Inbound(method="POST", path=f"/evcs/v20161110/{name}", headers=headers, body=body)

    asked = {"OperatorID": CHARGING_OPERATOR, "OperatorSecret": site.secrets["operator_secret"]}
    granted = hub.receive(post("query_token", asked), now=datetime.now(UTC))
    assert isinstance(granted, Reply)
    request = post(interface, data, str(_opened(site, granted)["AccessToken"]))
    assert hub.is_statement(request)
    return hub.receive_statement(request, now=datetime.now(UTC))


def _keys(site: Site) -> WireKeys:
    return WireKeys(**{name: site.secrets[name] for name in ("data_secret", "data_secret_iv", "sig_secret")})


def _opened(site: Site, reply: Reply) -> dict[str, Any]:
    sealed = base64.b64decode(json.loads(reply.body)["Data"])
    key, start = site.secrets["data_secret"].encode(), site.secrets["data_secret_iv"].encode()
    opener, unpadder = Cipher(algorithms.AES(key), modes.CBC(start)).decryptor(), PKCS7(128).unpadder()
    text = unpadder.update(opener.update(sealed) + opener.finalize()) + unpadder.finalize()
    told: dict[str, Any] = json.loads(text)
    return told
