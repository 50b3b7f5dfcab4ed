"""kuaidian, for partners that speak OCPI: charge detail records, paged by link. I/O: HTTP in.

`CDRS` is the second feed of the platform in kuaidian.py. The list is asked by when a record was last updated; the town's
records became known to it with their part.
"""

import base64
import hmac
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from urllib.parse import urlencode

from fastapi import Request, Response
from fastapi.responses import JSONResponse

from hub.sandbox.platforms.by_time import ByTimeVoice
from hub.sandbox.platforms.faults import Fault
from hub.sandbox.platforms.site import Front
from hub.sandbox.platforms.spec import Feed
from hub.sandbox.reports import Report
from hub.sandbox.telling.kuaidian_cdrs import STREAM

CDRS_PATH = "/ocpi/2.2.1/cdrs"
LARGEST_PAGE = 50
_OK, _BAD_PARAMETERS = 1000, 2001


class KuaidianCdrs(ByTimeVoice):
    """The operator's side of `GET /cdrs`. A record and the credit that takes it back are two rows, and both stay."""

    keeps_editions = True
    known_before = timedelta(seconds=1)  # a list up to now leaves out what is of this very moment

    def __init__(self, front: Front, stream: str = STREAM) -> None:
        super().__init__(front, stream)
        front.doors.add(CDRS_PATH)
        self.app.add_api_route(CDRS_PATH, self._cdrs, methods=["GET"], response_model=None)

    async def _cdrs(self, request: Request) -> Response:
        wanted = "Token " + base64.b64encode(self.site.secrets["ocpi_token"].encode()).decode()
        if not hmac.compare_digest(request.headers.get("authorization", "").encode(), wanted.encode()):
            return JSONResponse({"status_code": 2004, "timestamp": _stamp(self.site.clock())}, status_code=401)
        query = request.query_params
        since, until = _moment(query.get("date_from")), _moment(query.get("date_to"))
        offset, limit = _whole(query.get("offset", "0")), _whole(query.get("limit", str(LARGEST_PAGE)))
        if since is None or until is None or offset is None or not limit:
            return self._envelope((), _BAD_PARAMETERS, {})
        # `date_from` is included, `date_to` is not.
        rows, size = self.of_everybody(since, until - timedelta(milliseconds=1)), min(limit, LARGEST_PAGE)
        shown = max(0, offset - size) if self.faults.take(Fault.REPEATED_PAGE) else offset
        taken = self.note(request.headers.get("x-request-id", ""), rows[shown : shown + size])
        headers = {"X-Total-Count": str(len(rows)), "X-Limit": str(size)}
        if offset + size < len(rows) or self.faults.take(Fault.CHANGING_CURSOR):
            following = {"date_from": query["date_from"], "date_to": query["date_to"], "offset": str(offset + size)}
            address = f"{self.site.origin}{CDRS_PATH}?{urlencode(following | {'limit': str(size)})}"
            headers["Link"] = f'<{address}>; rel="next"'
        return self._envelope(taken, _OK, headers)

    def of_everybody(self, since: datetime, until: datetime) -> tuple[Report, ...]:
        rows = [row for account in sorted(self._rows) for row in self.told(account, since, until)]
        return tuple(sorted(rows, key=lambda row: (row.delivered_at, row.source_id, row.version)))

    def _envelope(self, rows: tuple[Report, ...], status: int, headers: dict[str, str]) -> Response:
        told = f'"status_code":{status},"status_message":"","timestamp":"{_stamp(self.site.clock())}"'
        body = f'{{"data":[{",".join(row.body for row in rows)}],{told}}}'.encode()
        if self.faults.take(Fault.TRUNCATED_PAGE):
            body = body[: len(body) * 2 // 3]
        return Response(body, media_type="application/json", headers=headers)


def _stamp(instant: datetime) -> str:
    return f"{instant.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"


def _moment(text: str | None) -> datetime | None:
    try:
        moment = datetime.fromisoformat(text or "")
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _whole(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 10 else None


CDRS = Feed(
    stream=STREAM,
    connector="ocpi_cdr",
    voice=KuaidianCdrs,
    config=lambda place: {"cdrs_url": f"{place.origin}{CDRS_PATH}", "allow_loopback": True, "first_days": 3},
    secrets=lambda agreed: {"token": agreed["ocpi_token"]},
)


def agreed_token(secret: Callable[[str], bytes]) -> dict[str, str]:
    """Return what the operator has agreed with the hub for this interface."""
    return {"ocpi_token": secret("kuaidian/ocpi").hex()}
