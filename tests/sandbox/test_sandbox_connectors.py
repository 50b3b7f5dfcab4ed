"""The two sides of each wire meet: the hub's own connectors read what the simulators send, and miss nothing."""

import asyncio
import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import polars as pl
import pytest
from fastapi import FastAPI, Request, Response
from starlette.concurrency import run_in_threadpool

from connectors.base import (
    Cursor,
    Delivery,
    Fetcher,
    Inbound,
    LinkAccess,
    Outcome,
    Receiver,
    Reply,
    RetryLater,
    SetAside,
)
from connectors.registry import build
from hub.participants import parse_document
from hub.sandbox.config import origin_of, participants, secrets_of
from hub.sandbox.people import BEIJING, CITIC, KUAIDIAN, PLATFORMS, SHENZHEN, WECHAT
from hub.sandbox.platforms.citic import CiticCarbon
from hub.sandbox.platforms.faults import Fault
from hub.sandbox.platforms.site import Platform
from hub.sandbox.platforms.tokens import Sealer
from hub.sandbox.reports import Note, Oracle, Reports
from hub.sandbox.server import SandboxOptions, make_platforms
from mappings.load import load_mapping
from mappings.translate import translate

Serve = Callable[..., str]


@dataclass
class Door:
    """The hub's door for push and devices, and nothing behind it."""

    receivers: dict[str, Receiver]
    app: FastAPI = field(default_factory=FastAPI)
    deliveries: dict[str, list[Delivery]] = field(default_factory=dict)
    refused: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        for path in ("/in/{participant}", "/in/{participant}/{rest:path}"):
            self.app.add_api_route(path, self.take, methods=["POST"], response_model=None)

    async def take(self, participant: str, request: Request, rest: str = "") -> Response:
        inbound = Inbound(
            method="POST",
            path=request.url.path,
            query=dict(request.query_params),
            headers={name.lower(): value for name, value in request.headers.items()},
            body=await request.body(),
        )
        receiver = self.receivers[participant]
        answer = await run_in_threadpool(lambda: receiver.receive(inbound, now=datetime.now(UTC)))
        if isinstance(answer, Delivery):
            self.deliveries.setdefault(participant, []).append(answer)
            answer = receiver.acknowledge(answer, Outcome(accepted=len(answer.rows)))
        assert isinstance(answer, Reply)
        self.refused += [answer.status] if answer.status >= 400 else []
        return Response(answer.body, status_code=answer.status, headers=dict(answer.headers))

    def rows(self, participant: str) -> list[Any]:
        return [json.loads(row) for delivery in self.deliveries[participant] for row in delivery.rows]

    def ids(self, participant: str) -> set[str]:
        return {delivery.delivery_id for delivery in self.deliveries[participant]}


@dataclass
class Wires:
    documents: dict[str, dict[str, Any]]
    platforms: dict[str, Platform]
    door: Door
    reports: Reports

    def connector(self, platform: str) -> Receiver | Fetcher:
        document = self.documents[platform]
        return build(document["connector"], document["connector_config"], document["secrets"])

    def fetcher(self, platform: str) -> Fetcher:
        return cast(Fetcher, self.connector(platform))


@pytest.fixture
def wires(serve: Serve, reports: Reports, base_port: int, drop_dir: Path) -> Wires:
    drop_dir.mkdir()
    door = Door({})
    hub_url = serve(door.app)
    documents = {one["id"]: one for one in participants(base_port, drop_dir, hub_url, 7)}
    options = SandboxOptions(seed=7, base_port=base_port, hub_url=hub_url, drop_dir=drop_dir)
    platforms = dict(make_platforms(options, reports))
    wires = Wires(documents, platforms, door, reports)
    for platform in (BEIJING, KUAIDIAN, WECHAT):
        door.receivers[platform] = cast(Receiver, wires.connector(platform))
    for platform in (CITIC, WECHAT):
        serve(platforms[platform].app, int(origin_of(platform, base_port).rsplit(":", 1)[1]))
    return wires


def _told(reports: Reports, platform: str, part: int, *, readable: bool = True) -> list[Any]:
    unreadable = ("number_too_large", "incomplete_record") if readable else ()
    return [json.loads(row.body) for row in reports.told_by(platform, part, "") if row.trouble not in unreadable]


def _sorted(rows: list[Any]) -> list[str]:
    return sorted(json.dumps(row, sort_keys=True) for row in rows)


@pytest.mark.parametrize("platform", PLATFORMS)
def test_each_document_builds_its_connector(wires: Wires, platform: str) -> None:
    document = wires.documents[platform]
    described = wires.connector(platform).describe()
    assert described.name == document["connector"]
    assert described.streams == (document["stream"],)


@pytest.mark.parametrize("platform", [BEIJING, KUAIDIAN, WECHAT])
def test_what_is_pushed_is_what_is_received(wires: Wires, platform: str) -> None:
    for part in (1, 2, 3, 4):
        before = len(wires.door.rows(platform)) if platform in wires.door.deliveries else 0
        tally = asyncio.run(wires.platforms[platform].deliver(part))
        assert (tally.refused, tally.failed) == (0, 0)
        assert _sorted(wires.door.rows(platform)[before:]) == _sorted(_told(wires.reports, platform, part))
    statement = wires.platforms[platform].book.statement()["deliveries"]
    assert {one["delivery_id"] for one in statement} == wires.door.ids(platform)
    arrived = {one.delivery_id: len(one.rows) + len(one.unreadable) for one in wires.door.deliveries[platform]}
    assert {one["delivery_id"]: one["rows"] for one in statement} == arrived


def test_a_row_that_is_no_json_is_set_aside_and_the_others_arrive(wires: Wires) -> None:
    for part in (1, 2, 3, 4):
        asyncio.run(wires.platforms[BEIJING].deliver(part))
    found = Counter(row.reason for one in wires.door.deliveries[BEIJING] for row in one.unreadable)
    expected = sum((reasons for reasons in _quarantines(wires.reports, BEIJING)), Counter())["number_too_large"]
    assert found == Counter(number_too_large=expected)
    assert expected > 0


def _quarantines(reports: Reports, platform: str) -> list[Counter[str]]:
    return [reasons for (one, _), reasons in Oracle(reports).quarantines().items() if one == platform]


@pytest.mark.parametrize(
    ("platform", "fault", "status"),
    [
        (BEIJING, Fault.WRONG_SIGNATURE, 401),
        (BEIJING, Fault.TAMPERED, 401),
        (WECHAT, Fault.TAMPERED, 400),
        (WECHAT, Fault.WRONG_SIGNATURE, 400),
        (WECHAT, Fault.WRONG_APPID, 400),
    ],
)
def test_what_is_spoilt_is_refused(wires: Wires, platform: str, fault: Fault, status: int) -> None:
    wires.platforms[platform].faults.arm(fault)
    tally = asyncio.run(wires.platforms[platform].deliver(1))
    assert wires.door.refused == [status]
    assert tally.refused == 1


@pytest.mark.parametrize("fault", [Fault.WRONG_SIGNATURE, Fault.TAMPERED])
def test_a_spoilt_charge_order_is_refused_in_the_standards_way(wires: Wires, fault: Fault) -> None:
    wires.platforms[KUAIDIAN].faults.arm(fault)
    tally = asyncio.run(wires.platforms[KUAIDIAN].deliver(1))
    assert (tally.refused, tally.failed) == (1, 0)
    assert len(wires.door.rows(KUAIDIAN)) == len(wires.reports.told_by(KUAIDIAN, 1, "")) - 1


def _access(wires: Wires, account: str) -> LinkAccess:
    sealer = Sealer(secrets_of(7)[CITIC]["seal_key"].encode())
    claims = {"sub": account, "scope": "records:read", "grant": "g", "jti": "j"}
    token = sealer.seal("access", claims, now=datetime.now(UTC), lives=timedelta(minutes=5))
    return LinkAccess(link_id="1", account=account, access_token=token)


def test_what_is_pulled_part_by_part_is_the_account(wires: Wires) -> None:
    fetcher, platform = wires.fetcher(CITIC), wires.platforms[CITIC]
    person = wires.reports.town.people[0]
    account, cursor = person.accounts[CITIC], None
    met: dict[tuple[str, int], Any] = {}
    ids: set[str] = set()
    for part in (1, 2, 3, 4):
        asyncio.run(platform.voices[0].deliver(part))
        for page in fetcher.fetch(_access(wires, account), cursor, now=datetime.now(UTC)):
            cursor = Cursor(json.loads(json.dumps(page.cursor)))
            ids.add(page.delivery.delivery_id)
            for row in map(json.loads, page.delivery.rows):
                met[row["cardTransactionId"], row["version"]] = row
    own = [row for row in wires.reports.told_by(CITIC, stream="") if row.account == account]
    assert _sorted(list(met.values())) == _sorted([json.loads(row.body) for row in own])
    assert {one["delivery_id"] for one in platform.book.statement()["deliveries"]} == ids


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (Fault.RATE_LIMITED, RetryLater),
        (Fault.SERVER_ERROR, RetryLater),
        (Fault.TRUNCATED_PAGE, RetryLater),
        (Fault.REPEATED_PAGE, SetAside),
    ],
)
def test_a_pull_that_goes_wrong_is_named_by_its_recovery(wires: Wires, fault: Fault, error: type[Exception]) -> None:
    platform = wires.platforms[CITIC]
    assert isinstance(platform.voices[0], CiticCarbon)
    asyncio.run(platform.voices[0].deliver(4))
    platform.faults.arm(fault, 5)
    document = wires.documents[CITIC]
    fetcher = cast(Fetcher, build("cursor_pull", document["connector_config"] | {"limit": 3}, {}))
    access = _access(wires, wires.reports.town.people[0].accounts[CITIC])
    with pytest.raises(error):
        list(fetcher.fetch(access, None, now=datetime.now(UTC)))


def test_what_is_dropped_is_read_drop_by_drop(wires: Wires) -> None:
    fetcher, cursor = wires.fetcher(SHENZHEN), None
    for part in (1, 2, 3, 4):
        asyncio.run(wires.platforms[SHENZHEN].deliver(part))
        pages = list(fetcher.fetch(None, cursor, now=datetime.now(UTC)))
        cursor = pages[-1].cursor
        rows = [json.loads(row) for page in pages for row in page.delivery.rows]
        assert _sorted(rows) == _sorted(_told(wires.reports, SHENZHEN, part))
        unreadable = Counter(row.reason for page in pages for row in page.delivery.unreadable)
        short = [row for row in wires.reports.told_by(SHENZHEN, part) if row.trouble == "incomplete_record"]
        assert unreadable == Counter({"incomplete_record": len(short)} if short else {})
        statement = wires.platforms[SHENZHEN].book.statement(part)["deliveries"]
        arrived = [
            {"delivery_id": one.delivery_id, "rows": len(one.rows) + len(one.unreadable), "claimed_mg": 0}
            for one in (page.delivery for page in pages)
        ]
        assert statement == arrived


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (Fault.WRONG_SIGNATURE, "manifest_signature"),
        (Fault.TAMPERED, "file_digest"),
        (Fault.SKIPPED_SEQUENCE, "sequence_gap"),
    ],
)
def test_a_spoilt_drop_is_set_aside(wires: Wires, fault: Fault, reason: str) -> None:
    wires.platforms[SHENZHEN].faults.arm(fault)
    asyncio.run(wires.platforms[SHENZHEN].deliver(1))
    with pytest.raises(SetAside, match=reason):
        list(wires.fetcher(SHENZHEN).fetch(None, None, now=datetime.now(UTC)))


@pytest.mark.parametrize("platform", PLATFORMS)
def test_each_document_is_one_that_the_hub_takes(wires: Wires, platform: str) -> None:
    document = wires.documents[platform]
    assert parse_document(json.dumps(document)).model_dump(mode="json", exclude_unset=True) == document


@pytest.mark.parametrize("platform", PLATFORMS)
def test_the_mapping_sets_aside_exactly_what_the_oracle_expects(wires: Wires, platform: str) -> None:
    """The rest arrives with the account, the id and the claim that the platform meant."""
    document = wires.documents[platform]
    at_the_door = ("number_too_large", "incomplete_record")  # the connector has set these aside before
    told = [row for row in wires.reports.told_by(platform, stream="") if row.trouble not in at_the_door]
    payloads = pl.Series([row.body for row in told], dtype=pl.String)
    now = wires.reports.town.ends_at + timedelta(days=5)
    accounts = pl.Series([row.account for row in told], dtype=pl.String)
    mapping = load_mapping(document["mapping"])
    translation = translate(mapping, payloads, token_key=b"k" * 32, now=now, accounts=accounts)
    reasons = {row["row"]: row["reason"] for row in translation.quarantined.iter_rows(named=True)}
    assert reasons == {place: row.trouble for place, row in enumerate(told) if row.trouble is not None}
    records = list(translation.records.iter_rows(named=True))
    assert {record["behaviour"] for record in records} <= set(document["behaviours"])  # other feeds tell of the rest
    for record in records:
        meant = told[record["row"]]
        assert (record["account"], record["source_id"]) == (meant.account or None, meant.source_id)
        assert (record["claimed_mg"] or 0, record["cancelled"]) == (meant.claimed_mg, meant.note is Note.CANCELLATION)
