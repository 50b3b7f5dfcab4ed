"""citic-carbon's card accounts over NextGenPSD2: pages of one account, and the consent under which they are read. I/O: HTTP in.

The bank names a consent like the account it was given for. A terminated consent ends with the token it was used with: who
links the account again has a new one.
"""

import hashlib
import json
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from urllib.parse import urlencode

from fastapi import Request, Response
from fastapi.responses import JSONResponse

from hub.sandbox.acts import BEIJING_TIME
from hub.sandbox.platforms.by_time import ByTimeVoice
from hub.sandbox.platforms.faults import Fault
from hub.sandbox.platforms.site import Front
from hub.sandbox.platforms.spec import Feed
from hub.sandbox.reports import Report
from hub.sandbox.telling.citic_card import STREAM

LARGEST_PAGE = 40
_BASE = "/psd2"


class CiticCards(ByTimeVoice):
    """The bank's side of `GET /v1/card-accounts/{id}/transactions`."""

    keeps_editions = True  # a payment and what takes it back are two transactions

    def __init__(self, front: Front, stream: str = "") -> None:
        super().__init__(front, stream)
        self._ended: set[str] = set()
        front.doors.add(f"{_BASE}/v1/")
        listed = f"{_BASE}/v1/card-accounts"
        self.app.add_api_route(listed, self._accounts, methods=["GET"], response_model=None)
        self.app.add_api_route(
            f"{listed}/{{name}}/transactions", self._transactions, methods=["GET"], response_model=None
        )
        self.app.add_api_route(
            f"{_BASE}/v1/consents/{{name}}", self._terminate, methods=["DELETE"], response_model=None
        )

    async def _accounts(self, request: Request) -> Response:
        return _refused(401, "TOKEN_UNKNOWN") if self._account(request) is None else _refused(403, "CONSENT_INVALID")

    async def _transactions(self, request: Request, name: str) -> Response:
        account = self._account(request)
        if account is None:
            return _refused(401, "TOKEN_UNKNOWN")
        if request.headers.get("consent-id") != account or _name_of(request) in self._ended:
            return _refused(401, "CONSENT_EXPIRED")
        if name != account:
            return _refused(404, "RESOURCE_UNKNOWN")
        query = request.query_params
        try:
            since, until = _day(query["dateFrom"]), _day(query["dateTo"]) + timedelta(days=1)
            index = int(query.get("pageIndex", "0"))
        except (KeyError, ValueError):
            return _refused(400, "FORMAT_ERROR")
        if query.get("bookingStatus") != "both" or index < 0:
            return _refused(400, "PARAMETER_NOT_SUPPORTED")
        rows = self.told(account, since, until - timedelta(seconds=1))
        page = rows[index * LARGEST_PAGE : (index + 1) * LARGEST_PAGE]
        following = index + 1 if len(rows) > (index + 1) * LARGEST_PAGE else None
        if self.faults.take(Fault.REPEATED_PAGE):
            following = index
        asked = {name: query[name] for name in ("dateFrom", "dateTo", "bookingStatus")}
        path = None if following is None else f"{request.url.path}?{urlencode(asked | {'pageIndex': following})}"
        return self._answer(request, page, path)

    def _answer(self, request: Request, rows: tuple[Report, ...], following: str | None) -> Response:
        cut = self.faults.take(Fault.TRUNCATED_PAGE)
        rows = self.note("" if cut else request.headers.get("x-request-id", "")[:128], rows)
        lists: dict[str, list[Any]] = {"booked": [], "pending": []}
        for row in rows:
            told = json.loads(row.body)
            lists[told["status"]].append(told["transaction"])
        links: dict[str, Any] = {"cardAccount": {"href": request.url.path.rpartition("/")[0]}}
        if following is not None:
            links["next"] = {"href": following}
        document = {"cardAccount": {"currency": "CNY"}, "cardTransactions": {**lists, "_links": links}}
        data = json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()
        headers = {"X-Request-ID": request.headers.get("x-request-id", ""), "Cache-Control": "no-store"}
        return Response(data[: len(data) * 2 // 3] if cut else data, media_type="application/json", headers=headers)

    async def _terminate(self, request: Request, name: str) -> Response:
        account = self._account(request)
        if account is None or name != account:
            return _refused(401 if account is None else 403, "CONSENT_UNKNOWN")
        self._ended.add(_name_of(request))
        return Response(status_code=204)

    def _account(self, request: Request) -> str | None:
        return self.front.account_of(request.headers.get("authorization"))


def card_feed() -> Feed:
    """Return the feed, for the bank's list of feeds."""
    return Feed(
        stream=STREAM,
        connector="psd2_card",
        voice=CiticCards,
        config=lambda place: {
            "base_url": f"{place.origin}{_BASE}",
            "allow_loopback": True,
            "consent_from": "account",
        },
    )


def _name_of(request: Request) -> str:
    return hashlib.sha256(request.headers.get("authorization", "").encode()).hexdigest()


def _day(text: str) -> datetime:
    return datetime.combine(date.fromisoformat(text), time(), BEIJING_TIME).astimezone(UTC)


def _refused(status: int, code: str) -> Response:
    return JSONResponse({"tppMessages": [{"category": "ERROR", "code": code}]}, status_code=status)
