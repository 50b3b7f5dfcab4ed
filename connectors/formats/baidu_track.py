"""Baidu Yingyan v3 track distances: how far a person was guided on foot or by bike. I/O: network.

`GET /api/v3/track/getdistance` answers with the metres that an entity's track has between two moments. It knows no trips,
and a distance of a whole day would be no trip either: it could not be held against the ride that the bicycle's operator
reports, and asking for the same track once as `riding` and once as `walking` would tell the same metres twice. So the
platform lists the trips on which it guided the person (`trips_url`, a form of the hub's own: begin, end and
`transport_mode` of each), and the official interface tells the distance of each.

`GET {trips_url}?ak&service_id&entity_name&start_time&end_time&page_index&page_size&sn` answers with the trips whose
tracks were closed in the span: `{"status": 0, "message": "...", "total": n, "trips": [{"trip_id", "transport_mode",
"start_time", "end_time"}]}`. Only a ride or a walk is asked about further; other trips are handed on without a distance.
The row is made here from both answers, the distance as it was written. The entity is the link's account, a name that
means nothing elsewhere; places are never asked for.

Both requests carry `ak` and, last, `sn`: the MD5 over path, query in this very order, and secret key; the list is asked
for with the link's token as well. Ids: entity and
trip. Times: seconds since 1970. Corrections: points that arrive late lengthen a track, so two days are read again.

Source: lbsyun.baidu.com, Yingyan Web API v3, track/getdistance, and AK/SN.
"""

import json
import re
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

from connectors.answers import require_success
from connectors.base import (
    CheckResult,
    Connector,
    ConnectorError,
    Cursor,
    Description,
    LinkAccess,
    Page,
    Reauthorise,
    RetryLater,
    Scope,
    SetAside,
    Stop,
    Transport,
    Unreadable,
    Window,
)
from connectors.config import ConfigError, Fields
from connectors.formats.platform_answers import (
    digest_of,
    parse_reply,
    require_platform_success,
    require_whole,
    split_page,
)
from connectors.kind import Kind
from connectors.legacy_signing import quote_query, sign_texts
from connectors.net.addresses import is_callable
from connectors.net.egress import Origin, SafeClient
from connectors.strict_json import parse_object, raw_member
from connectors.windowed import Part, Reach, Span, read_spans

_STREAM = "tracks"
_BASE_URL = "https://yingyan.baidu.com"
_DISTANCE_PATH = "/api/v3/track/getdistance"
_ASKED_MODES = ("riding", "walking")
_LONGEST = timedelta(hours=24)  # what getdistance answers for at most
_LONGEST_LIST = timedelta(days=7)
_MOST_ROWS = 1000  # of a page of at most 100: a platform may stutter
_SETTLE = timedelta(minutes=10)  # phones hand their points in every few minutes
_KEY = re.compile(r"[A-Za-z0-9]{1,64}")
_ENTITY = re.compile(r"[A-Za-z0-9_-]{1,128}")  # nothing that means something in a query
_TRIP_ID = re.compile(r"[!-~]{1,64}")
_MODE = re.compile(r"[a-z_]{1,32}")
_PAGE = re.compile(r"[1-9][0-9]{0,4}")
_NO_ENTITY = 3003
_RETRIED = {1: 60, 302: 3600, 401: 5, 402: 5}  # server error, quota of the day, too many at once
_STOPPED = (3, 4, 5)  # rights, quota, ak unknown; so are 101 and 102 and all of 2xx and 301
_Pairs = Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class BaiduConfig:
    """`ak` names the application, `sk` signs for it."""

    trips_url: str
    service_id: str
    ak: str = field(repr=False)
    sk: str = field(repr=False)
    base_url: str = _BASE_URL
    allow_loopback: bool = False
    page_size: int = 20
    first_days: int = 30


def parse_config(config: Mapping[str, object], secrets: Mapping[str, object]) -> BaiduConfig:
    with Fields(secrets, where="secrets") as given:
        ak, sk = given.text("ak"), given.text("sk")
    if not _KEY.fullmatch(ak):
        raise ConfigError("secrets: field 'ak' must be letters and digits")
    with Fields(config, where="config") as fields:
        parsed = BaiduConfig(
            trips_url=fields.text("trips_url"),
            service_id=fields.text("service_id"),
            ak=ak,
            sk=sk,
            base_url=fields.text("base_url", default=_BASE_URL),
            allow_loopback=fields.flag("allow_loopback", default=False),
            page_size=fields.whole("page_size", default=20, least=1, most=100),
            first_days=fields.whole("first_days", default=30, least=1, most=366),
        )
    if not _KEY.fullmatch(parsed.service_id):
        raise ConfigError("config: field 'service_id' must be letters and digits")
    for name, url in (("trips_url", parsed.trips_url), ("base_url", parsed.base_url)):
        if urlsplit(url).query or urlsplit(url).fragment:
            raise ConfigError(f"config: field {name!r} must have no query and no fragment")
    if urlsplit(parsed.base_url).path.strip("/"):
        raise ConfigError("config: field 'base_url' must have no path")
    return parsed


def sign_query(path: str, pairs: _Pairs, sk: str) -> str:
    """Write path and query as Baidu wants them, `sn` last.

    Example:
        >>> sign_query("/geocoder/v2/", [("address", "百度大厦"), ("output", "json"), ("ak", "yourak")], "yoursk")[-36:]
        '&sn=7de5a22212ffaa9e326444c75a58f9a0'
    """
    query = quote_query(f"{path}?{'&'.join(f'{name}={value}' for name, value in pairs)}")
    return f"{query}&sn={sign_texts('quoted_md5', [query], sk)}"


class BaiduTrack(Connector):
    """Fetcher of the guided trips of one linked account at a time."""

    def __init__(
        self,
        config: BaiduConfig,
        *,
        client: SafeClient | None = None,
        new_id: Callable[[], str] = lambda: uuid.uuid4().hex,
    ) -> None:
        self._config = config
        self._new_id = new_id
        origins = [
            Origin.parse(url, allow_loopback=config.allow_loopback) for url in (config.base_url, config.trips_url)
        ]
        for origin in origins:  # one of the two may not be called for days: what it is must be found out now
            if _is_address(origin.host) and not is_callable(origin.host, allow_loopback=origin.allow_loopback):
                raise Stop("target_refused")
        self._client = client or SafeClient(origins)
        self._base = config.base_url.rstrip("/")
        listed = urlsplit(config.trips_url)
        self._trips_base, self._trips_path = f"{listed.scheme}://{listed.netloc}", listed.path

    def describe(self) -> Description:
        return Description(
            name="baidu_track",
            title="Baidu Yingyan v3 track distances of listed trips (profile)",
            transport=Transport.PULL,
            streams=(_STREAM,),
            role="navigation",
            official=False,
            id_stability="stable",
            finality="revisable",
            correction_mode="replace",
            lateness_class="day",
            windowed=True,
            scope=Scope.LINK,
        )

    def check(self) -> CheckResult:
        """Ask without a key: a service that answers is open to everybody."""
        try:
            answer = self._client.fetch(f"{self._base}{_DISTANCE_PATH}")
            status = require_whole(parse_reply(answer.body), "status") if answer.status == 200 else 0
        except ConnectorError as error:
            return CheckResult(ok=False, findings=(error.reason,))
        if status or answer.status in (401, 403):
            return CheckResult(ok=True)
        found = "open_without_token" if answer.status == 200 else f"answered_{answer.status}"
        return CheckResult(ok=False, findings=(found,))

    def fetch(
        self, access: LinkAccess | None, cursor: Cursor | None, *, now: datetime, window: Window | None = None
    ) -> Iterator[Page]:
        """Yield pages span by span. Raises RetryLater, SetAside and Stop as every fetcher does."""
        if access is None:
            raise Reauthorise("no_link")
        if not _ENTITY.fullmatch(access.account):
            raise SetAside("account_cannot_be_asked_for")
        entity = access.account

        def ask(span: Span, *, request_id: str) -> Part:
            return self._ask(access, span, request_id=request_id, now=now)

        return read_spans(
            ask,
            reach=Reach(
                longest=_LONGEST_LIST,
                overlap=self.describe().overlap,
                first=timedelta(days=self._config.first_days),
                settle=_SETTLE,
            ),
            stream=_STREAM,
            cursor=cursor,
            now=now,
            window=window,
            account=entity,
            new_id=self._new_id,
        )

    def _ask(self, access: LinkAccess, span: Span, *, request_id: str, now: datetime) -> Part:
        index, entity = int(_page(span.page)), access.account
        pairs = [
            *self._who(entity),
            ("start_time", str(int(span.start.timestamp()))),
            ("end_time", str(int(span.end.timestamp()))),
            ("page_index", str(index)),
            ("page_size", str(self._config.page_size)),
        ]
        body = self._list(access, pairs, request_id, now)
        if _require_status(body) == _NO_ENTITY:  # nobody was guided yet
            return Part(rows=(), digest=digest_of(body), following=None)
        split = split_page(body, "trips", most_rows=_MOST_ROWS)
        total = require_whole(split.rest, "total")
        broken = {row.position: row for row in split.unreadable}
        rows: list[bytes] = []
        trips = iter(split.rows)
        for position in range(len(split.rows) + len(split.unreadable)):
            if position in broken:
                continue
            row = self._measure(entity, next(trips), position, now)
            if isinstance(row, Unreadable):
                broken[position] = row
            else:
                rows.append(row)
        return Part(
            rows=tuple(rows),
            digest=digest_of(b"\x1e".join([body, *rows])),
            following=str(index + 1) if index * self._config.page_size < total else None,
            unreadable=tuple(broken[position] for position in sorted(broken)),
        )

    def _measure(self, entity: str, trip: bytes, position: int, now: datetime) -> bytes | Unreadable:
        """Make the row of one listed trip, with its distance where it is a ride or a walk."""
        told = parse_object(trip)
        fault = next(_faults(told), None)
        if fault is not None:
            return Unreadable(position=position, reason=fault[0], detail=fault[1])
        distance = "null"
        if told["transport_mode"] in _ASKED_MODES:
            body = self._fetch(self._base, _DISTANCE_PATH, self._distance_query(entity, told), now)
            if _require_status(body) == _NO_ENTITY:
                return Unreadable(position=position, reason="no_track", detail="The trip has no track.")
            value = parse_reply(body).get("distance")
            if not isinstance(value, int | float) or isinstance(value, bool):
                return Unreadable(position=position, reason="no_distance", detail="The answer has no distance.")
            distance = raw_member(body, "distance").decode()
        members = {"trip_id": json.dumps(told["trip_id"]), "entity_name": json.dumps(entity)}
        members |= {"transport_mode": json.dumps(told["transport_mode"])}
        members |= {name: str(told[name]) for name in ("start_time", "end_time")} | {"distance": distance}
        return ("{" + ",".join(f'"{name}":{text}' for name, text in members.items()) + "}").encode()

    def _distance_query(self, entity: str, trip: Mapping[str, Any]) -> _Pairs:
        return [
            *self._who(entity),
            ("start_time", str(trip["start_time"])),
            ("end_time", str(trip["end_time"])),
            ("is_processed", "1"),
            ("process_option", f"denoise_grade=1,need_mapmatch=0,transport_mode={trip['transport_mode']}"),
            ("supplement_mode", "no_supplement"),  # what the phone did not see is not made up
        ]

    def _who(self, entity: str) -> _Pairs:
        return [("ak", self._config.ak), ("service_id", self._config.service_id), ("entity_name", entity)]

    def _list(self, access: LinkAccess, pairs: _Pairs, request_id: str, now: datetime) -> bytes:
        """Ask for the trips with the link's token too: AK and SN only say which application asks, not for whom."""
        url = f"{self._trips_base}{sign_query(self._trips_path, pairs, self._config.sk)}"
        authorisation = (
            access.prove(method="GET", url=self._config.trips_url)
            if access.prove is not None
            else {"authorization": f"Bearer {access.access_token}"}
        )
        headers = {"accept": "application/json", "x-request-id": request_id, **authorisation}
        answer = self._client.fetch(url, headers=headers)
        if access.hear is not None and access.hear(
            url=self._config.trips_url, status=answer.status, headers=answer.headers
        ):
            return self._list(replace(access, hear=None), pairs, request_id, now)
        require_success(answer, now)
        return answer.body

    def _fetch(self, base: str, path: str, pairs: _Pairs, now: datetime) -> bytes:
        answer = self._client.fetch(f"{base}{sign_query(path, pairs, self._config.sk)}")
        require_platform_success(answer, now)
        return answer.body


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def _page(page: str | None) -> str:
    if page is None:
        return "1"
    if not _PAGE.fullmatch(page):
        raise Stop("cursor_of_another_connector")
    return page


def _require_status(body: bytes) -> int:
    """Let 0 pass, and an entity that is not there; everything else ends by what to do about it."""
    status = require_whole(parse_reply(body), "status")
    if status in (0, _NO_ENTITY):
        return status
    if status in _RETRIED:
        raise RetryLater(f"baidu_{status}", after_s=_RETRIED[status])
    if status in _STOPPED or status in (101, 102, 301) or 200 <= status < 300:
        raise Stop("credentials_refused")
    raise SetAside("baidu_refuses" if status != 2 else "baidu_2")


def _faults(trip: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield what is wrong with a listed trip, the most telling first."""
    trip_id, mode = trip.get("trip_id"), trip.get("transport_mode")
    if not isinstance(trip_id, str) or not _TRIP_ID.fullmatch(trip_id):
        yield "trip_id", "The trip has no id, or one that is not well formed."
    if not isinstance(mode, str) or not _MODE.fullmatch(mode):
        yield "transport_mode", "The trip's transport_mode is missing or not well formed."
    start, end = _seconds(trip.get("start_time")), _seconds(trip.get("end_time"))
    if start is None or end is None:
        yield "trip_time", "A time of the trip is not in seconds since 1970."
    elif not 0 < end - start <= _LONGEST.total_seconds():
        yield "trip_length", "The trip ends before it starts, or lasts longer than a day."


def _seconds(moment: object) -> int | None:
    if not isinstance(moment, int) or isinstance(moment, bool):
        return None
    return moment if 0 < moment < 2**33 else None


KIND = Kind(
    name="baidu_track",
    transport=Transport.PULL,
    profile=True,
    secrets=("ak", "sk"),
    build=lambda config, secrets: BaiduTrack(parse_config(config, secrets)),
)
