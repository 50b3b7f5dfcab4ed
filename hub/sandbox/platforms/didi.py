"""didi: an enterprise's list of ride orders, signed requests and a token. I/O: HTTP in.

The list is asked by the days on which an order was paid, refunded or attributed anew: in the town that is the day on which
its part was delivered.
"""

import hashlib
import hmac
import json
from collections.abc import Mapping
from datetime import datetime, time, timedelta
from typing import Any

from fastapi import Request, Response
from fastapi.responses import JSONResponse

from hub.sandbox.acts import BEIJING_TIME
from hub.sandbox.platforms.by_time import ByTimeVoice
from hub.sandbox.platforms.faults import Fault
from hub.sandbox.platforms.site import Front
from hub.sandbox.platforms.spec import Feed, Place, Spec
from hub.sandbox.registers import DIDI
from hub.sandbox.reports import Report

CLIENT_ID, COMPANY_ID = "tanlian-es", "1125900000000000"
_AUTHORIZE, _ORDERS = "/river/Auth/authorize", "/river/Order/get"
_LONGEST = timedelta(days=7)
_LARGEST_PAGE = 100
_CLOCK_S = 300


class Didi(ByTimeVoice):
    """The platform's side of `Auth/authorize` and `Order/get`. An order shows in its last edition only."""

    known_before = timedelta(seconds=1)  # days end at midnight: what is of this very moment belongs to the next one

    def __init__(self, front: Front, stream: str = "") -> None:
        super().__init__(front, stream)
        self._tokens = 0
        front.doors.add("/river/")
        self.app.add_api_route(_AUTHORIZE, self._authorize, methods=["POST"], response_model=None)
        self.app.add_api_route(_ORDERS, self._orders, methods=["GET"], response_model=None)

    def expire_tokens(self) -> None:
        """Let no token that was given so far be good any longer."""
        self._tokens += 1

    async def _authorize(self, request: Request) -> Response:
        try:
            told = {str(name): str(value) for name, value in json.loads(await request.body()).items()}
        except (ValueError, AttributeError):
            return _refused(400)
        errno = self._errno(told)
        if errno:
            return _refused(errno)
        secret = told.get("client_secret", "").encode()
        if not hmac.compare_digest(secret, self.site.secrets["es_client_secret"].encode()):
            return _refused(400)
        return JSONResponse({"access_token": self._token(), "expires_in": 7200, "token_type": "Bearer", "scope": ""})

    async def _orders(self, request: Request) -> Response:
        told = dict(request.query_params)
        errno = self._errno(told)
        if errno:
            return _refused(errno)
        if told.get("access_token") != self._token():
            return _refused(401)
        span = _span(told.get("start_date", ""), told.get("end_date", ""))
        offset, length = _whole(told.get("offset", "")), _whole(told.get("length", ""))
        if span is None or offset is None or not length or length > _LARGEST_PAGE or offset % length:
            return _refused(1001)
        rows = self.of_everybody(*span)
        shown = max(0, offset - length) if self.faults.take(Fault.REPEATED_PAGE) else offset
        taken = self.note(request.headers.get("x-request-id", ""), rows[shown : shown + length])
        total = offset + length + 1 if self.faults.take(Fault.CHANGING_CURSOR) else len(rows)
        data = f'{{"total":{total},"records":[{",".join(row.body for row in taken)}]}}'
        body = f'{{"errno":0,"errmsg":"SUCCESS","data":{data},"request_id":"sandbox"}}'.encode()
        if self.faults.take(Fault.TRUNCATED_PAGE):
            body = body[: len(body) * 2 // 3]
        return Response(body, media_type="application/json")

    def of_everybody(self, since: datetime, until: datetime) -> tuple[Report, ...]:
        rows = [row for account in sorted(self._rows) for row in self.told(account, since, until)]
        return tuple(sorted(rows, key=lambda row: (row.delivered_at, row.source_id)))

    def _errno(self, told: Mapping[str, str]) -> int:
        """What is wrong with a request as a whole; 0 for nothing."""
        if told.get("client_id") != CLIENT_ID:
            return 400
        now = self.site.clock().timestamp()
        if _whole(told.get("timestamp", "")) is None or abs(now - int(told["timestamp"])) > _CLOCK_S:
            return 408
        signed = sorted([*((n, v.strip()) for n, v in told.items() if n != "sign" and v), ("sign_key", self._sign_key)])
        text = "&".join(f"{name}={value}" for name, value in signed)
        expected = hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()
        return 0 if hmac.compare_digest(told.get("sign", "").encode(), expected.encode()) else 411

    @property
    def _sign_key(self) -> str:
        return self.site.secrets["es_sign_key"]

    def _token(self) -> str:
        return hmac.new(self._sign_key.encode(), f"token {self._tokens}".encode(), "sha256").hexdigest()


def _refused(errno: int) -> Response:
    return JSONResponse({"errno": errno, "errmsg": "refused", "data": None, "request_id": "sandbox"})


def _span(first: str, last: str) -> tuple[datetime, datetime] | None:
    """The time of some days of China, both included, if they are no more than seven."""
    try:
        days = [datetime.strptime(text, "%Y-%m-%d").date() for text in (first, last)]
    except ValueError:
        return None
    since, until = (datetime.combine(day, time(), BEIJING_TIME) for day in days)
    until += timedelta(days=1)
    return (since, until - timedelta(microseconds=1)) if since < until <= since + _LONGEST else None


def _whole(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 12 else None


def _config(place: Place) -> dict[str, Any]:
    return {
        "client_id": CLIENT_ID,
        "company_id": COMPANY_ID,
        "base_url": place.origin,
        "allow_loopback": True,
        "first_days": 3,
        "length": 50,
    }


SPEC = Spec(
    id=DIDI,
    name_zh="滴滴（模拟）",
    name_en="DiDi for enterprises (simulated)",
    kind="enterprise",
    behaviours=("MOB-CARPOOL",),
    agreed=lambda secret: {
        "es_client_secret": secret("didi/es-client").hex(),
        "es_sign_key": secret("didi/es-sign").hex()[:20],
    },
    feeds=(
        Feed(
            stream="orders",
            connector="didi_es",
            voice=Didi,
            config=_config,
            secrets=lambda agreed: {"client_secret": agreed["es_client_secret"], "sign_key": agreed["es_sign_key"]},
        ),
    ),
)
