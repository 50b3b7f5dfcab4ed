"""baidu-maps: the list of guided trips, and Yingyan's distance of each track, for requests signed with AK and SN. I/O: HTTP in.

The list is asked by when a track was closed: in the town that is some time before its part was delivered, because what is
younger than ten minutes is not asked for.
"""

import hashlib
import hmac
import json
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote_plus

from fastapi import Request, Response

from hub.sandbox.platforms.by_time import ByTimeVoice
from hub.sandbox.platforms.faults import Fault
from hub.sandbox.platforms.site import Front
from hub.sandbox.platforms.spec import Feed, Place, Spec
from hub.sandbox.registers import BAIDU

TRIPS_PATH, DISTANCE_PATH = "/guided/trips", "/api/v3/track/getdistance"
SERVICE_ID = "233333"
_LONGEST_S, _LONGEST_LIST_S = 86_400, 7 * 86_400
_OK, _PARAMETERS, _NO_AK, _BAD_SN, _NO_ENTITY = 0, 2, 5, 211, 3003


class BaiduMaps(ByTimeVoice):
    """The platform's side of both questions. A trip shows once, with the distance that is known by now."""

    known_before = timedelta(minutes=20)

    def __init__(self, front: Front, stream: str = "") -> None:
        super().__init__(front, stream)
        for path, answer in ((TRIPS_PATH, self._trips), (DISTANCE_PATH, self._distance)):
            front.doors.add(path)
            self.app.add_api_route(path, answer, methods=["GET"], response_model=None)

    async def _trips(self, request: Request) -> Response:
        """List an entity's trips to whoever has its owner's token; the signature only says which application asks."""
        query, status = self._open(request)
        account = self.front.account_of(request.headers.get("authorization"))
        if not status and (account is None or account != query["entity_name"]):
            return Response(b'{"status":240,"message":"refused"}', status_code=401, media_type="application/json")
        index, size = _whole(query.get("page_index", "")), _whole(query.get("page_size", ""))
        if status or not index or not size:
            return _status(status or _PARAMETERS)
        rows = self.told(query["entity_name"], *_span(query))
        first = size * (index - 1)
        shown = max(0, first - size) if self.faults.take(Fault.REPEATED_PAGE) else first
        taken = self.note(request.headers.get("x-request-id", ""), rows[shown : shown + size])
        trips = [json.loads(row.body) for row in taken]
        for trip in trips:
            del trip["entity_name"], trip["distance"]
        total = first + size + 1 if self.faults.take(Fault.CHANGING_CURSOR) else len(rows)
        body = json.dumps(
            {"status": _OK, "message": "成功", "total": total, "trips": trips}, ensure_ascii=False
        ).encode()
        if self.faults.take(Fault.TRUNCATED_PAGE):
            body = body[: len(body) * 2 // 3]
        return Response(body, media_type="application/json")

    async def _distance(self, request: Request) -> Response:
        query, status = self._open(request)
        options = dict(pair.partition("=")[::2] for pair in query.get("process_option", "").split(","))
        if status:
            return _status(status)
        since, until = _span(query)
        asked = (int(since.timestamp()), int(until.timestamp()), options.get("transport_mode"))
        everything = self.told(query["entity_name"], *(datetime(year, 1, 1, tzinfo=UTC) for year in (2000, 9999)))
        for trip in (json.loads(row.body) for row in everything):
            if (trip["start_time"], trip["end_time"], trip["transport_mode"]) == asked:
                return _status(_OK, distance=trip["distance"])
        return _status(_OK, distance=0)

    def _open(self, request: Request) -> tuple[dict[str, str], int]:
        """Check who asks, and for what; returns the question and Baidu's status number, 0 for a good one."""
        query = dict(request.query_params)
        target = f"{request.url.path}?{request.scope['query_string'].decode()}"
        signed, _, sn = target.rpartition("&sn=")
        expected = hashlib.md5(quote_plus(signed + self.site.secrets["sk"]).encode(), usedforsecurity=False).hexdigest()
        if query.get("ak") != self.site.secrets["ak"] or query.get("service_id") != SERVICE_ID:
            return query, _NO_AK
        if not hmac.compare_digest(sn.encode(), expected.encode()):
            return query, _BAD_SN
        start, end = _whole(query.get("start_time", "")), _whole(query.get("end_time", ""))
        longest = _LONGEST_S if request.url.path == DISTANCE_PATH else _LONGEST_LIST_S
        if start is None or end is None or not 0 <= end - start <= longest:
            return query, _PARAMETERS
        return query, _OK if query.get("entity_name") in self._rows else _NO_ENTITY


def _status(status: int, **told: Any) -> Response:
    document = {"status": status, "message": "成功" if status == _OK else "refused", **told}
    return Response(json.dumps(document, ensure_ascii=False).encode(), media_type="application/json")


def _span(query: dict[str, str]) -> tuple[datetime, datetime]:
    since, until = (datetime.fromtimestamp(int(query[name]), UTC) for name in ("start_time", "end_time"))
    return since, until


def _whole(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 12 else None


def _config(place: Place) -> dict[str, Any]:
    return {
        "trips_url": f"{place.origin}{TRIPS_PATH}",
        "base_url": place.origin,
        "service_id": SERVICE_ID,
        "allow_loopback": True,
        "first_days": 2,
    }


SPEC = Spec(
    id=BAIDU,
    name_zh="百度地图（模拟）",
    name_en="Baidu Maps (simulated)",
    kind="enterprise",
    behaviours=("MOB-WALK", "MOB-BIKE"),
    agreed=lambda secret: {"ak": secret("baidu/ak").hex()[:32], "sk": secret("baidu/sk").hex()[:32]},
    feeds=(
        Feed(
            stream="tracks",
            connector="baidu_track",
            voice=BaiduMaps,
            config=_config,
            secrets=lambda agreed: {"ak": agreed["ak"], "sk": agreed["sk"]},
        ),
    ),
)
