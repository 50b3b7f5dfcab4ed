"""kuaidian: a charging operator that sends each order to the hub as T/CEC 102 says. I/O: network."""

import asyncio
import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from hub.sandbox.acts import BEIJING_TIME, CHARGING_OPERATOR
from hub.sandbox.platforms.courier import Courier
from hub.sandbox.platforms.faults import Fault
from hub.sandbox.platforms.kuaidian_ocpi import CDRS, agreed_token
from hub.sandbox.platforms.site import Front, Tally, Voice
from hub.sandbox.platforms.spec import Feed, Spec
from hub.sandbox.platforms.tcec_wire import BadReplyError, WireKeys, encrypt_data, open_reply, request_envelope
from hub.sandbox.registers import KUAIDIAN
from hub.sandbox.reports import Report

VERSION_PATH = "evcs/v20161110"
_OK, _BUSY, _SIGNATURE, _TOKEN = 0, -1, 4001, 4002
_TRIES = 3


class _NoTokenError(Exception):
    """The hub does not give us a token."""


class Kuaidian(Voice):
    """The operator's side of `query_token` and `notification_charge_order_info`, and its sign-in."""

    def __init__(self, front: Front, stream: str = "") -> None:
        super().__init__(front, stream)
        self._keys = WireKeys(
            data_secret=self.site.secrets["data_secret"],
            data_secret_iv=self.site.secrets["data_secret_iv"],
            sig_secret=self.site.secrets["sig_secret"],
        )
        self._token: tuple[str, datetime] | None = None
        self._seq = 0

    async def deliver(self, part: int) -> Tally:
        tally = Tally()
        async with Courier() as courier:
            for row in self.rows(part):
                for _ in range(2 if self.faults.take(Fault.DUPLICATES) else 1):
                    await self._send(courier, part, row, tally)
        return tally

    async def _send(self, courier: Courier, part: int, row: Report, tally: Tally) -> None:
        tally.deliveries += 1
        try:
            delivery_id, ret, reply = await self._notify(courier, row)
        except (BadReplyError, _NoTokenError):
            tally.failed += 1
            return
        if ret != _OK:
            tally.refused += 1
            return
        self.book.note(delivery_id, part, (row,))  # answered, even if the order itself is disputed
        tally.rows += 1
        if reply.get("confirmresult") == 0:
            tally.taken += 1
        else:
            tally.refused += 1

    async def _notify(self, courier: Courier, row: Report) -> tuple[str, int, Mapping[str, Any]]:
        """Send one order: a token that is no longer good is fetched again, a busy hub is asked again."""
        delivery_id, ret, reply = "", _BUSY, dict[str, Any]()
        for attempt in range(_TRIES):
            token = await self._fetch_token(courier)
            delivery_id, ret, reply = await self._call(
                courier, "notification_charge_order_info", row.body.encode(), token=token, faulty=True
            )
            if ret == _TOKEN:
                self._token = None
            elif ret == _BUSY:
                await asyncio.sleep(0.2 * (attempt + 1))
            else:
                break
        return delivery_id, ret, reply

    async def _fetch_token(self, courier: Courier) -> str:
        now = self.site.clock()
        if self._token is not None and now < self._token[1]:
            return self._token[0]
        asked = {"OperatorID": CHARGING_OPERATOR, "OperatorSecret": self.site.secrets["operator_secret"]}
        _, ret, reply = await self._call(courier, "query_token", json.dumps(asked).encode(), token=None, faulty=False)
        if ret != _OK or reply.get("succstat") != 0:
            raise _NoTokenError
        lives = timedelta(seconds=int(reply["tokenavailabletime"]) * 9 // 10)
        self._token = (str(reply["accesstoken"]), now + lives)
        return self._token[0]

    async def _call(
        self, courier: Courier, interface: str, text: bytes, *, token: str | None, faulty: bool
    ) -> tuple[str, int, dict[str, Any]]:
        envelope = self._envelope(text, faulty=faulty)
        headers = {"content-type": "application/json; charset=utf-8"}
        if token is not None:
            headers["authorization"] = f"Bearer {token}"
        url = f"{self.site.hub_url}/in/{self.site.platform}/{VERSION_PATH}/{interface}"
        answer = await courier.post(url, json.dumps(envelope).encode(), headers)
        if answer is None or not answer.is_success:
            raise BadReplyError("the hub has not answered in the standard's way")
        ret, reply = open_reply(self._keys, answer.content)
        return f"{CHARGING_OPERATOR}-{envelope['TimeStamp']}-{envelope['Seq']}", ret, dict(reply)

    def _envelope(self, text: bytes, *, faulty: bool) -> dict[str, str]:
        keys, data = self._keys, encrypt_data(self._keys, text)
        if faulty and self.faults.take(Fault.TAMPERED):
            data = data[:-8]  # cut inside a cipher block and signed as it is: only decrypting it shows
        if faulty and self.faults.take(Fault.WRONG_SIGNATURE):
            keys = replace(keys, sig_secret=keys.sig_secret[::-1])
        self._seq = self._seq % 9999 + 1
        stamp = f"{self.site.clock().astimezone(BEIJING_TIME):%Y%m%d%H%M%S}"
        return request_envelope(keys, CHARGING_OPERATOR, data, stamp, f"{self._seq:04d}")


_AGREED = ("operator_secret", "data_secret", "data_secret_iv", "sig_secret")

SPEC = Spec(
    id=KUAIDIAN,
    name_zh="快电（模拟）",
    name_en="Kuaidian charging (simulated)",
    kind="enterprise",
    behaviours=("MOB-EVCHARGE",),
    # `token_key` is the hub's alone; the simulator never reads it.
    agreed=lambda secret: (
        {name: secret(f"kuaidian/{name}").hex()[:16] for name in _AGREED}
        | {"token_key": secret("kuaidian/token").hex()}
        | agreed_token(secret)
    ),
    feeds=(
        Feed(
            stream="charge_orders",
            connector="tcec102",
            voice=Kuaidian,
            config=lambda place: {"operator_id": CHARGING_OPERATOR},
            secrets=lambda agreed: {name: agreed[name] for name in (*_AGREED, "token_key")},
        ),
        CDRS,
    ),
)
