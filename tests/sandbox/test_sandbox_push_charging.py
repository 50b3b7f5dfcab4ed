"""The sandbox pushes charge orders by T/CEC 102 to a small counterpart that opens every envelope."""

import asyncio
import base64
import hmac
import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.padding import PKCS7
from fastapi import FastAPI, Request
from tests_support.sandbox_doors import SECRETS, open_aes

from hub.sandbox.people import KUAIDIAN
from hub.sandbox.platforms.faults import Fault
from hub.sandbox.platforms.kuaidian import Kuaidian
from hub.sandbox.platforms.site import Front, Site
from hub.sandbox.reports import Reports

MakeSite = Callable[..., Site]
Serve = Callable[..., str]


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
            text = open_aes(
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
    return door, Kuaidian(Front(make_site(KUAIDIAN, hub_url=serve(door.app))))


def test_every_order_arrives_sealed_and_with_one_token(
    charging: tuple[ChargingDoor, Kuaidian], reports: Reports
) -> None:
    door, platform = charging
    tally = asyncio.run(platform.deliver(1))
    rows = reports.told_by(KUAIDIAN, 1, "")
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
    rows = reports.told_by(KUAIDIAN, 1, "")
    assert door.orders == [row.body for row in rows]
    assert tally.taken == len(rows)
    assert 4002 in door.rets
    assert door.token_queries == -(-len(rows) // 5)


def test_a_token_is_renewed_before_it_expires(serve: Serve, make_site: MakeSite, reports: Reports) -> None:
    door, times = ChargingDoor(), [datetime(2026, 11, 20, tzinfo=UTC)]
    site = replace(make_site(KUAIDIAN, hub_url=serve(door.app)), clock=lambda: times[0])
    platform = Kuaidian(Front(site))
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
    assert tally.taken == len(reports.told_by(KUAIDIAN, 1, ""))


@pytest.mark.parametrize(("fault", "ret"), [(Fault.WRONG_SIGNATURE, 4001), (Fault.TAMPERED, 4004)])
def test_a_spoilt_envelope_is_really_spoilt(
    charging: tuple[ChargingDoor, Kuaidian], reports: Reports, fault: Fault, ret: int
) -> None:
    door, platform = charging
    platform.faults.arm(fault)
    tally = asyncio.run(platform.deliver(1))
    assert door.rets.count(ret) == tally.refused == 1
    assert len(door.orders) == len(reports.told_by(KUAIDIAN, 1, "")) - 1


def test_a_disputed_order_is_counted_as_refused_and_still_in_the_statement(
    charging: tuple[ChargingDoor, Kuaidian], reports: Reports
) -> None:
    door, platform = charging
    door.dispute = True
    tally = asyncio.run(platform.deliver(1))
    assert (tally.taken, tally.refused) == (0, len(reports.told_by(KUAIDIAN, 1, "")))
    assert len(platform.book.statement()["deliveries"]) == len(door.ids)
