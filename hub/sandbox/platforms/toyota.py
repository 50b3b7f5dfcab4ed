"""toyota-green-drive: the connected car's trips, counted page by page. I/O: HTTP in."""

from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from fastapi import Request, Response
from fastapi.responses import JSONResponse

from hub.sandbox.platforms.by_time import ByTimeVoice
from hub.sandbox.platforms.faults import Fault
from hub.sandbox.platforms.profile_push import push_agreed, push_feed
from hub.sandbox.platforms.site import Front
from hub.sandbox.platforms.spec import Feed, Spec
from hub.sandbox.registers import TOYOTA
from hub.sandbox.telling.toyota_staff import STREAM as STAFF

LARGEST_PAGE = 50
_PATH = "/v1/trips"


class ToyotaTrips(ByTimeVoice):
    """Answers for the car of the token's account."""

    def __init__(self, front: Front, stream: str = "") -> None:
        super().__init__(front, stream)
        front.doors.add(_PATH)
        self.app.add_api_route(_PATH, self._trips, methods=["GET"], response_model=None)

    async def _trips(self, request: Request) -> Response:
        account = self.front.account_of(request.headers.get("authorization"))
        if account is None:
            return JSONResponse({"status": {"messages": [{"responseCode": "APIGW-403"}]}}, status_code=401)
        query = request.query_params
        try:
            since, until = _day(query["from"]), _day(query["to"]) + timedelta(days=1)
            limit, offset = min(int(query["limit"]), LARGEST_PAGE), int(query["offset"])
        except (KeyError, ValueError):
            return JSONResponse({"status": {"messages": [{"responseCode": "ONE-GLOBAL-40010"}]}}, status_code=400)
        if limit < 1 or offset < 0:
            return JSONResponse({"status": {"messages": [{"responseCode": "ONE-GLOBAL-40010"}]}}, status_code=400)
        rows = self.told(account, since, until - timedelta(seconds=1))
        page = rows[offset : offset + limit]
        following = offset + limit if len(rows) > offset + limit else None
        if self.faults.take(Fault.REPEATED_PAGE):
            following = offset
        pagination = {
            "currentPage": offset // limit + 1,
            "limit": limit,
            "nextOffset": following,
            "offset": offset,
            "pageCount": -(-len(rows) // limit),
            "previousOffset": max(offset - limit, 0) if offset else None,
            "totalCount": max(len(rows), 1) if following is not None else len(rows),
        }
        cut = self.faults.take(Fault.TRUNCATED_PAGE)
        page = self.note("" if cut else request.headers.get("x-request-id", "")[:128], page)
        trips = ",".join(row.body for row in page)
        data = (
            f'{{"payload":{{"_metadata":{{"pagination":{_text(pagination)},"sortedBy":[]}},"summary":[],'
            f'"trips":[{trips}]}},"status":{{"messages":[]}}}}'
        ).encode()
        return Response(data[: len(data) * 2 // 3] if cut else data, media_type="application/json")


def _text(document: dict[str, Any]) -> str:
    body = JSONResponse(document).body
    return bytes(body).decode()


def _day(text: str) -> datetime:
    return datetime.combine(date.fromisoformat(text), time(), UTC)


SPEC = Spec(
    id=TOYOTA,
    name_zh="丰田风云绿动（模拟）",
    name_en="Toyota Green Drive (simulated)",
    kind="enterprise",
    behaviours=("MOB-EV", "FOOD-CLEANPLATE", "FOOD-OWNCUP", "OFF-PAPERLESS", "MOB-BUS", "MOB-METRO"),
    agreed=push_agreed("toyota-staff", STAFF),
    feeds=(
        Feed(
            stream="trips",
            connector="connected_car",
            voice=ToyotaTrips,
            config=lambda place: {"trips_url": f"{place.origin}{_PATH}", "allow_loopback": True},
        ),
        push_feed(STAFF, role="operator", drops=["staffNo", "staffName", "department"], first=False),
    ),
)
