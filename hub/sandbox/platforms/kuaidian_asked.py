"""kuaidian, for a hub that asks: `query_token` and a paged query of orders in the envelope of T/CEC 102. I/O: HTTP in.

`ASKED` is the feed of an operator that does not push: it stands in for `charge_orders` of kuaidian.py, not beside it.
`KuaidianAsked.statement` is the operator's list of a part, as `check_charge_orders` says it.
"""

import json
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from fastapi import Request, Response

from hub.sandbox.acts import BEIJING_TIME, CHARGING_OPERATOR
from hub.sandbox.platforms.by_time import ByTimeVoice
from hub.sandbox.platforms.faults import Fault
from hub.sandbox.platforms.site import Front
from hub.sandbox.platforms.spec import Feed, Place
from hub.sandbox.platforms.tcec_wire import BadReplyError, WireKeys, decrypt_data, encrypt_data, sign_parts
from hub.sandbox.reports import Report

BASE = "/evcs/v20161110"
HUB_OPERATOR = "MA5HUB001"
LARGEST_PAGE = 100
_OK, _SIGNATURE, _TOKEN, _ENVELOPE, _BUSINESS = 0, 4001, 4002, 4003, 4004
_TIME = "%Y-%m-%d %H:%M:%S"
_AGREED = ("operator_secret", "data_secret", "data_secret_iv", "sig_secret")


class _Refused(Exception):
    def __init__(self, ret: int) -> None:
        super().__init__(ret)
        self.ret = ret


class KuaidianAsked(ByTimeVoice):
    """The operator's side of being asked. An order shows in its last edition only, once its part was delivered."""

    def __init__(self, front: Front, stream: str = "") -> None:
        super().__init__(front, stream)
        self._keys = WireKeys(**{name: self.site.secrets[name] for name in _AGREED[1:]})
        self._tokens = 0
        front.doors.add(BASE)
        for name, answer in (("query_token", self._query_token), ("query_charge_orders", self._query_orders)):
            self.app.add_api_route(f"{BASE}/{name}", answer, methods=["POST"], response_model=None)

    def expire_tokens(self) -> None:
        """Let no token that was given so far be good any longer."""
        self._tokens += 1

    async def _query_token(self, request: Request) -> Response:
        try:
            asked, _ = self._open(await request.body())
        except _Refused as refused:
            return self._reply(refused.ret)
        granted = asked == {"operatorid": HUB_OPERATOR, "operatorsecret": self.site.secrets["operator_secret"]}
        told = {
            "OperatorID": CHARGING_OPERATOR,
            "SuccStat": 0 if granted else 1,
            "AccessToken": self._token() if granted else "",
            "TokenAvailableTime": 7200 if granted else 0,
            "FailReason": 0 if granted else 2,
        }
        return self._reply(_OK, json.dumps(told).encode())

    async def _query_orders(self, request: Request) -> Response:
        try:
            asked, request_id = self._open(await request.body())
            if request.headers.get("authorization") != f"Bearer {self._token()}":
                raise _Refused(_TOKEN)
            since, until = (_parse_time(asked.get(name)) for name in ("starttime", "endtime"))
            page, size = (_whole(asked.get(name)) for name in ("pageno", "pagesize"))
        except _Refused as refused:
            return self._reply(refused.ret)
        rows = self.of_everybody(since, until)
        size = min(size, LARGEST_PAGE)
        count = -(-len(rows) // size)
        shown = 1 if page > 1 and self.faults.take(Fault.REPEATED_PAGE) else page
        taken = self.note(request_id, rows[(shown - 1) * size : shown * size])
        if self.faults.take(Fault.CHANGING_CURSOR):
            count = page + 1
        numbers = f'"PageNo":{page},"PageCount":{count},"ItemSize":{len(taken)}'
        text = f'{{{numbers},"ChargeOrders":[{",".join(row.body for row in taken)}]}}'
        return self._reply(_OK, text.encode(), faulty=True)

    def of_everybody(self, since: datetime, until: datetime) -> tuple[Report, ...]:
        rows = [row for account in sorted(self._rows) for row in self.told(account, since, until)]
        return tuple(sorted(rows, key=lambda row: (row.delivered_at, row.source_id)))

    def statement(self, part: int) -> dict[str, Any]:
        """Return the operator's list of a part, as `check_charge_orders` says it: each order as it stands."""
        rows = {row.source_id: row for row in self.rows(part) if row.trouble is None}
        orders = [{name.lower(): value for name, value in json.loads(row.body).items()} for row in rows.values()]
        lines = [
            {"StartChargeSeq": one["startchargeseq"], "TotalPower": one["totalpower"], "TotalMoney": one["totalmoney"]}
            for one in orders
        ]
        return {
            "CheckOrderSeq": f"{CHARGING_OPERATOR}{part:018d}",
            "StartTime": self.site.reports.town.starts_at.astimezone(BEIJING_TIME).strftime(_TIME),
            "EndTime": (self.site.reports.town.ends_at - timedelta(seconds=1)).astimezone(BEIJING_TIME).strftime(_TIME),
            "OrderCount": len(lines),
            "TotalOrderPower": float(sum(Decimal(str(line["TotalPower"])) for line in lines)),
            "TotalOrderMoney": float(sum(Decimal(str(line["TotalMoney"])) for line in lines)),
            "ChargeOrders": lines,
        }

    def _token(self) -> str:
        return sign_parts(self._keys, "token", str(self._tokens)).lower()

    def _open(self, body: bytes) -> tuple[dict[str, Any], str]:
        """Verify and decrypt a request; returns its data and the name by which both sides know it."""
        try:
            told = {name.lower(): value for name, value in json.loads(body).items()}
            parts = [str(told[name]) for name in ("operatorid", "data", "timestamp", "seq")]
            signature = str(told["sig"])
        except (ValueError, KeyError, AttributeError) as error:
            raise _Refused(_ENVELOPE) from error
        if signature.upper() != sign_parts(self._keys, *parts):
            raise _Refused(_SIGNATURE)
        try:
            data = json.loads(decrypt_data(self._keys, parts[1]))
        except (BadReplyError, ValueError) as error:
            raise _Refused(_BUSINESS) from error
        return {name.lower(): value for name, value in data.items()}, f"{parts[0]}-{parts[2]}-{parts[3]}"

    def _reply(self, ret: int, text: bytes = b"", *, faulty: bool = False) -> Response:
        data = encrypt_data(self._keys, text) if text else ""
        signature = sign_parts(self._keys, str(ret), "", data)
        if faulty and self.faults.take(Fault.WRONG_SIGNATURE):
            signature = signature[::-1]
        if faulty and self.faults.take(Fault.TAMPERED):
            data = data[:-8] + "AAAAAAA="
        body = json.dumps({"Ret": ret, "Msg": "", "Data": data, "Sig": signature}).encode()
        if faulty and self.faults.take(Fault.TRUNCATED_PAGE):
            body = body[: len(body) * 2 // 3]
        return Response(body, media_type="application/json; charset=utf-8")


def _parse_time(text: object) -> datetime:
    try:
        return datetime.strptime(str(text), _TIME).replace(tzinfo=BEIJING_TIME)
    except ValueError as error:
        raise _Refused(_BUSINESS) from error


def _whole(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise _Refused(_BUSINESS)
    return value


def _config(place: Place) -> dict[str, Any]:
    return {
        "base_url": f"{place.origin}{BASE}",
        "operator_id": HUB_OPERATOR,
        "interface": "query_charge_orders",
        "span_hours": 24 * 7,
        "allow_loopback": True,
    }


ASKED = Feed(
    stream="charge_orders",
    connector="tcec102_pull",
    voice=KuaidianAsked,
    config=_config,
    secrets=lambda agreed: {name: agreed[name] for name in _AGREED},
)
