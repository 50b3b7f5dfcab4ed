"""The platforms that speak first, heard by small counterparts that check every message with public libraries."""

import asyncio
import base64
import hashlib
import hmac
import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.padding import PKCS7
from fastapi import FastAPI, Request, Response
from standardwebhooks import Webhook, WebhookVerificationError

from hub.sandbox.config import secrets_of
from hub.sandbox.people import BEIJING, KUAIDIAN, WECHAT
from hub.sandbox.platforms.beijing import BeijingGreenLife
from hub.sandbox.platforms.courier import Courier
from hub.sandbox.platforms.faults import Fault
from hub.sandbox.platforms.kuaidian import Kuaidian
from hub.sandbox.platforms.site import Site
from hub.sandbox.platforms.wechat import WeChatSports
from hub.sandbox.reports import Reports

MakeSite = Callable[..., Site]
Serve = Callable[..., str]
SECRETS = secrets_of(7)


def _aes(key: bytes, initial: bytes, data: bytes) -> bytes:
    opener, unpadder = Cipher(algorithms.AES(key), modes.CBC(initial)).decryptor(), PKCS7(128).unpadder()
    return unpadder.update(opener.update(data) + opener.finalize()) + unpadder.finalize()


# Signed push.


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
    return door, BeijingGreenLife(make_site(BEIJING, hub_url=serve(door.app)))


def test_every_row_arrives_signed_and_byte_for_byte(
    signed: tuple[SignedDoor, BeijingGreenLife], reports: Reports
) -> None:
    door, platform = signed
    tally = asyncio.run(platform.deliver(1))
    rows = reports.told_by(BEIJING, 1)
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
        httpx.get(f"{origin}/statement", params=query, trust_env=False).json()["deliveries"]
        for query in ({"part": 1}, {})
    )
    assert {one["delivery_id"] for one in both} == set(door.bodies)
    assert sum(one["rows"] for one in first) == len(reports.told_by(BEIJING, 1))
    told = (*reports.told_by(BEIJING, 1), *reports.told_by(BEIJING, 2))
    assert sum(one["claimed_mg"] for one in both) == sum(row.claimed_mg for row in told)


def test_delivering_again_sends_the_same_messages_under_the_same_names(
    signed: tuple[SignedDoor, BeijingGreenLife], make_site: MakeSite
) -> None:
    door, platform = signed
    asyncio.run(platform.deliver(1))
    before = dict(door.bodies)
    asyncio.run(BeijingGreenLife(make_site(BEIJING, hub_url=platform.site.hub_url)).deliver(1))
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


# T/CEC 102.


@dataclass
class ChargingDoor:
    """The hub's side of T/CEC 102, from the standard's text."""

    app: FastAPI = field(default_factory=FastAPI)
    orders: list[str] = field(default_factory=list)
    ids: list[str] = field(default_factory=list)
    token_queries: int = 0
    expire_after: int = 10**9  # orders for which a token is good
    busy: int = 0
    dispute: bool = False
    token: str = ""
    rets: list[int] = field(default_factory=list)
    served: int = 0

    def __post_init__(self) -> None:
        self.app.add_api_route(
            f"/in/{KUAIDIAN}/evcs/v20161110/{{name}}", self.take, methods=["POST"], response_model=None
        )

    async def take(self, name: str, request: Request) -> dict[str, Any]:
        body = await request.json()
        signed = body["OperatorID"] + body["Data"] + body["TimeStamp"] + body["Seq"]
        agreed = SECRETS[KUAIDIAN]
        if body["Sig"] != hmac.new(agreed["sig_secret"].encode(), signed.encode(), "md5").hexdigest().upper():
            return self.reply(4001)
        try:
            text = _aes(
                agreed["data_secret"].encode(), agreed["data_secret_iv"].encode(), base64.b64decode(body["Data"])
            )
        except ValueError:
            return self.reply(4004)
        if name == "query_token":
            assert json.loads(text) == {"OperatorID": "MA5KD2026", "OperatorSecret": agreed["operator_secret"]}
            self.token_queries += 1
            self.token, self.served = f"token-{self.token_queries}", 0
            return self.reply(0, {"SuccStat": 0, "AccessToken": self.token, "TokenAvailableTime": 7200})
        if request.headers["authorization"] != f"Bearer {self.token}" or self.served >= self.expire_after:
            return self.reply(4002)
        if self.busy:
            self.busy -= 1
            return self.reply(-1)
        self.served += 1
        self.orders.append(text.decode())
        self.ids.append(f"{body['OperatorID']}-{body['TimeStamp']}-{body['Seq']}")
        return self.reply(0, {"StartChargeSeq": "x", "ConnectorID": "1", "ConfirmResult": int(self.dispute)})

    def reply(self, ret: int, data: dict[str, Any] | None = None) -> dict[str, Any]:
        self.rets.append(ret)
        agreed, sealed = SECRETS[KUAIDIAN], ""
        if data is not None:
            padder = PKCS7(128).padder()
            cipher = Cipher(
                algorithms.AES(agreed["data_secret"].encode()), modes.CBC(agreed["data_secret_iv"].encode())
            ).encryptor()
            padded = padder.update(json.dumps(data).encode()) + padder.finalize()
            sealed = base64.b64encode(cipher.update(padded) + cipher.finalize()).decode()
        signature = hmac.new(agreed["sig_secret"].encode(), f"{ret}{sealed}".encode(), "md5").hexdigest().upper()
        return {"Ret": ret, "Msg": "", "Data": sealed, "Sig": signature}


@pytest.fixture
def charging(serve: Serve, make_site: MakeSite) -> tuple[ChargingDoor, Kuaidian]:
    door = ChargingDoor()
    return door, Kuaidian(make_site(KUAIDIAN, hub_url=serve(door.app)))


def test_every_order_arrives_sealed_and_with_one_token(
    charging: tuple[ChargingDoor, Kuaidian], reports: Reports
) -> None:
    door, platform = charging
    tally = asyncio.run(platform.deliver(1))
    rows = reports.told_by(KUAIDIAN, 1)
    assert door.orders == [row.body for row in rows]
    assert door.token_queries == 1
    assert (tally.taken, tally.refused, tally.failed) == (len(rows), 0, 0)
    assert [one["delivery_id"] for one in platform.book.statement()["deliveries"]] == door.ids


def test_an_expired_token_is_fetched_again_and_the_order_is_not_lost(
    charging: tuple[ChargingDoor, Kuaidian], reports: Reports
) -> None:
    door, platform = charging
    door.expire_after = 5
    tally = asyncio.run(platform.deliver(1))
    rows = reports.told_by(KUAIDIAN, 1)
    assert door.orders == [row.body for row in rows]
    assert tally.taken == len(rows)
    assert 4002 in door.rets
    assert door.token_queries == -(-len(rows) // 5)


def test_a_token_is_renewed_before_it_expires(serve: Serve, make_site: MakeSite, reports: Reports) -> None:
    door, times = ChargingDoor(), [datetime(2026, 11, 20, tzinfo=UTC)]
    site = replace(make_site(KUAIDIAN, hub_url=serve(door.app)), clock=lambda: times[0])
    platform = Kuaidian(site)
    asyncio.run(platform.deliver(1))
    times[0] += timedelta(seconds=7200 * 9 // 10)
    asyncio.run(platform.deliver(2))
    assert door.token_queries == 2
    assert 4002 not in door.rets


def test_a_busy_door_is_asked_again(charging: tuple[ChargingDoor, Kuaidian], reports: Reports) -> None:
    door, platform = charging
    door.busy = 2
    tally = asyncio.run(platform.deliver(1))
    assert door.rets.count(-1) == 2
    assert tally.taken == len(reports.told_by(KUAIDIAN, 1))


@pytest.mark.parametrize(("fault", "ret"), [(Fault.WRONG_SIGNATURE, 4001), (Fault.TAMPERED, 4004)])
def test_a_spoilt_envelope_is_really_spoilt(
    charging: tuple[ChargingDoor, Kuaidian], reports: Reports, fault: Fault, ret: int
) -> None:
    door, platform = charging
    platform.faults.arm(fault)
    tally = asyncio.run(platform.deliver(1))
    assert door.rets.count(ret) == tally.refused == 1
    assert len(door.orders) == len(reports.told_by(KUAIDIAN, 1)) - 1


def test_a_disputed_order_is_counted_as_refused_and_still_in_the_statement(
    charging: tuple[ChargingDoor, Kuaidian], reports: Reports
) -> None:
    door, platform = charging
    door.dispute = True
    tally = asyncio.run(platform.deliver(1))
    assert (tally.taken, tally.refused) == (0, len(reports.told_by(KUAIDIAN, 1)))
    assert len(platform.book.statement()["deliveries"]) == len(door.ids)


# WeChat.


@dataclass
class MiniProgramBackEnd:
    """The hub's side of a mini-program: exchange the code, open the data."""

    app: FastAPI = field(default_factory=FastAPI)
    wechat: str = ""
    rows: list[tuple[str, int, int]] = field(default_factory=list)
    openids: list[str] = field(default_factory=list)
    ids: list[str] = field(default_factory=list)
    unreadable: int = 0
    watermarks: list[dict[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.app.add_api_route(f"/in/{WECHAT}", self.take, methods=["POST"], response_model=None)

    async def session(self, code: str) -> dict[str, Any]:
        query = {"appid": SECRETS[WECHAT]["app_id"], "secret": SECRETS[WECHAT]["app_secret"], "js_code": code}
        async with httpx.AsyncClient(trust_env=False) as client:
            answer = await client.get(
                f"{self.wechat}/sns/jscode2session", params=query | {"grant_type": "authorization_code"}
            )
        if answer.status_code != 200:
            return {"errcode": -1}
        return dict(answer.json())

    async def take(self, request: Request) -> Response:
        body = await request.json()
        session = await self.session(body["code"])
        if "openid" not in session:
            return Response(status_code=502)
        try:
            text = _aes(
                base64.b64decode(session["session_key"]),
                base64.b64decode(body["iv"]),
                base64.b64decode(body["encryptedData"]),
            )
            document = json.loads(text)
        except ValueError:
            self.unreadable += 1
            return Response(status_code=400)
        self.watermarks.append(document["watermark"])
        if document["watermark"]["appid"] != SECRETS[WECHAT]["app_id"]:
            return Response(status_code=400)
        self.openids.append(session["openid"])
        joined = f"{session['openid']}\x1f{body['iv']}\x1f{body['encryptedData']}"
        self.ids.append("werun-" + hashlib.sha256(joined.encode()).hexdigest())
        self.rows += [(session["openid"], entry["timestamp"], entry["step"]) for entry in document["stepInfoList"]]
        return Response(status_code=200)


@pytest.fixture
def phones(serve: Serve, make_site: MakeSite) -> tuple[MiniProgramBackEnd, WeChatSports]:
    door = MiniProgramBackEnd()
    platform = WeChatSports(make_site(WECHAT, hub_url=serve(door.app)))
    door.wechat = serve(platform.app)
    return door, platform


def test_every_phone_uploads_its_days(phones: tuple[MiniProgramBackEnd, WeChatSports], reports: Reports) -> None:
    door, platform = phones
    tally = asyncio.run(platform.deliver(1))
    rows = reports.told_by(WECHAT, 1)
    documents = [json.loads(row.body) for row in rows]
    assert sorted(door.rows) == sorted((one["openid"], one["timestamp"], one["step"]) for one in documents)
    assert tally.deliveries == len(door.openids) == len(set(door.openids)) == len({row.account for row in rows})
    assert {one["delivery_id"] for one in platform.book.statement(1)["deliveries"]} == set(door.ids)
    assert all(abs(mark["timestamp"] - datetime.now(UTC).timestamp()) < 60 for mark in door.watermarks)


@pytest.mark.parametrize("fault", [Fault.TAMPERED, Fault.WRONG_SIGNATURE])
def test_spoilt_step_data_cannot_be_opened(phones: tuple[MiniProgramBackEnd, WeChatSports], fault: Fault) -> None:
    door, platform = phones
    platform.faults.arm(fault)
    tally = asyncio.run(platform.deliver(1))
    assert (door.unreadable, tally.refused) == (1, 1)


def test_data_for_another_application_show_it_in_the_watermark(
    phones: tuple[MiniProgramBackEnd, WeChatSports],
) -> None:
    door, platform = phones
    platform.faults.arm(Fault.WRONG_APPID)
    tally = asyncio.run(platform.deliver(1))
    assert tally.refused == 1
    assert [mark["appid"] for mark in door.watermarks].count("wx0000000000000000") == 1


def test_a_failing_session_door_is_survived_by_trying_again(
    phones: tuple[MiniProgramBackEnd, WeChatSports],
) -> None:
    _, platform = phones
    platform.faults.arm(Fault.SERVER_ERROR)
    platform.faults.arm(Fault.RATE_LIMITED)
    tally = asyncio.run(platform.deliver(1))
    assert (tally.refused, tally.failed) == (0, 0)


def test_a_code_is_good_once_and_for_the_right_application_only(
    phones: tuple[MiniProgramBackEnd, WeChatSports],
) -> None:
    door, platform = phones
    person = platform.site.reports.town.people[0]
    good = {
        "appid": SECRETS[WECHAT]["app_id"],
        "secret": SECRETS[WECHAT]["app_secret"],
        "js_code": platform.issue_code(person.accounts[WECHAT]),
        "grant_type": "authorization_code",
    }

    def ask(**changes: str) -> dict[str, Any]:
        answer = httpx.get(f"{door.wechat}/sns/jscode2session", params=good | changes, trust_env=False)
        return dict(answer.json())

    assert ask(appid="wx1")["errcode"] == 40013
    assert ask(secret="wrong")["errcode"] == 40125
    assert ask(js_code="made.up")["errcode"] == 40029
    session = ask()
    assert session["openid"] == person.accounts[WECHAT]
    assert len(base64.b64decode(session["session_key"])) == 16
    assert ask()["errcode"] == 40163


def test_the_phone_gives_a_code_to_its_owner_only(phones: tuple[MiniProgramBackEnd, WeChatSports]) -> None:
    door, platform = phones
    person = platform.site.reports.town.people[0]

    def login(password: str) -> httpx.Response:
        form = {"username": person.username, "password": password}
        return httpx.post(f"{door.wechat}/phone/login", data=form, trust_env=False)

    assert login("wrong").status_code == 401
    code = login(person.password).json()["code"]
    assert asyncio.run(door.session(code))["openid"] == person.accounts[WECHAT]
