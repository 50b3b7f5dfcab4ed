"""The sandbox's phones upload their steps to a small counterpart that opens every list."""

import asyncio
import base64
import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from fastapi import FastAPI, Request, Response
from tests_support.sandbox_doors import SECRETS, open_aes

from hub.sandbox.people import WECHAT
from hub.sandbox.platforms.faults import Fault
from hub.sandbox.platforms.site import Front, Site
from hub.sandbox.platforms.wechat import WeChatSports
from hub.sandbox.reports import Reports

MakeSite = Callable[..., Site]
Serve = Callable[..., str]


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
        async with httpx.AsyncClient(trust_env=False, timeout=60) as client:
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
            text = open_aes(
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
    platform = WeChatSports(Front(make_site(WECHAT, hub_url=serve(door.app))))
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
        answer = httpx.get(f"{door.wechat}/sns/jscode2session", params=good | changes, trust_env=False, timeout=60)
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
        return httpx.post(f"{door.wechat}/phone/login", data=form, trust_env=False, timeout=60)

    assert login("wrong").status_code == 401
    code = login(person.password).json()["code"]
    assert asyncio.run(door.session(code))["openid"] == person.accounts[WECHAT]
