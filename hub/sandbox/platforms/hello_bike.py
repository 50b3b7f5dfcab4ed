"""hello-bike: trips of bicycles by the hour, as MDS 2.0 says. I/O: HTTP in.

Until the first part is delivered no hour is worked through; then every hour that is over is. The operator was not running
before its interface opened; after the month nobody rides.
"""

import hmac
from collections import defaultdict
from datetime import UTC, datetime, timedelta

from fastapi import Request, Response
from fastapi.responses import JSONResponse

from hub.sandbox.platforms.by_time import ByTimeVoice
from hub.sandbox.platforms.faults import Fault
from hub.sandbox.platforms.site import Front
from hub.sandbox.platforms.spec import Feed, Spec
from hub.sandbox.registers import HELLO_BIKE
from hub.sandbox.reports import Report
from hub.sandbox.telling.hello_bike import OPEN_DAYS, ended_at, opens_at
from hub.sandbox.town import DAYS, FIRST_DAY

TRIPS_PATH = "/mds/trips"
_MEDIA_TYPE = "application/vnd.mds+json;version=2.0"
_HOUR = timedelta(hours=1)


class HelloBike(ByTimeVoice):
    """The operator's side of `GET /trips`."""

    names_people = False

    def __init__(self, front: Front, stream: str = "") -> None:
        super().__init__(front, stream)
        self._hours: dict[datetime, list[Report]] = defaultdict(list)
        for row in self.site.reports.told_by(self.site.platform, stream=stream):
            ended = ended_at(row.body)
            self._hours[ended - (ended - datetime(1970, 1, 1, tzinfo=UTC)) % _HOUR].append(row)
        self._noted: dict[str, tuple[Report, ...]] = {}
        front.doors.add(TRIPS_PATH)
        self.app.add_api_route(TRIPS_PATH, self._trips, methods=["GET"], response_model=None)

    async def _trips(self, request: Request) -> Response:
        wanted = f"Bearer {self.site.secrets['mds_token']}"
        if not hmac.compare_digest(request.headers.get("authorization", "").encode(), wanted.encode()):
            return JSONResponse({"error": "unauthorized"}, status_code=401)
        if "version=2.0" not in request.headers.get("accept", ""):
            return JSONResponse({"supported_versions": ["2.0"]}, status_code=406)
        hour = _hour(request.query_params.get("end_time", ""))
        if hour is None:
            return JSONResponse({"error": "bad_param", "error_description": "end_time"}, status_code=400)
        if not self.delivered_part:
            return JSONResponse({}, status_code=202)
        if hour < opens_at(self.site.reports.town) or hour + _HOUR > self.site.clock():
            return JSONResponse({"error": "not_operating"}, status_code=404)
        rows = tuple(row for row in self._hours.get(hour, ()) if row.part in self.known_from)
        return self._answer(request.headers.get("x-request-id", ""), rows)

    def _answer(self, request_id: str, rows: tuple[Report, ...]) -> Response:
        # One reading asks for many hours under one name.
        rows = self.note("", rows)
        self._noted[request_id] = (*self._noted.get(request_id, ()), *rows)
        if request_id:
            self.book.note(request_id, self.delivered_part, self._noted[request_id])
        body = f'{{"version":"2.0.0","trips":[{",".join(row.body for row in rows)}]}}'.encode()
        if self.faults.take(Fault.TRUNCATED_PAGE):
            body = body[: len(body) * 2 // 3]
        return Response(body, media_type=_MEDIA_TYPE)


def _hour(text: str) -> datetime | None:
    try:
        return datetime.strptime(text, "%Y-%m-%dT%H").replace(tzinfo=UTC)
    except ValueError:
        return None


SPEC = Spec(
    id=HELLO_BIKE,
    name_zh="哈啰单车（模拟）",
    name_en="Hello Bike (simulated)",
    kind="data_source",
    behaviours=("MOB-BIKE",),
    agreed=lambda secret: {"mds_token": secret("hello-bike/mds").hex()},
    signs_in=False,
    feeds=(
        Feed(
            stream="trips",
            connector="mds_trips",
            voice=HelloBike,
            config=lambda place: {
                "trips_url": f"{place.origin}{TRIPS_PATH}",
                "allow_loopback": True,
                # Four in the afternoon of the day before in UTC: the interface opens at midnight in Beijing.
                "since": f"{FIRST_DAY + timedelta(days=DAYS - OPEN_DAYS - 1):%Y-%m-%d}T16",
            },
            secrets=lambda agreed: {"token": agreed["mds_token"]},
        ),
    ),
)
