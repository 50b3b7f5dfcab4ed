"""MDS 2.0 Provider trips: what a shared-mobility operator tells of its vehicles, hour by hour. I/O: network.

`GET {trips_url}?end_time=2026-10-05T07` answers with every trip that ended from 07:00 until before 08:00 UTC; there are
no pages. 202 means that the hour is not worked through yet and is to be asked for again; 404 that it lies ahead or that
the operator was not running then; 400 that we asked wrongly. The hours of a day are handed on together: most are empty.

A trip names a vehicle and never its rider: that is how the standard guards riders, and why these rows credit nobody.
They confirm what others report of the same trip. Vehicle, places and route are dropped: only that there was such a trip,
when, and how far, is of use.

Ids: `trip_id`. Times: milliseconds since 1970. Distance: metres. Corrections: the same id with other content.

Source: MDS 2.0 Provider API, trips (CC BY 4.0).
"""

import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from urllib.parse import urlencode, urlsplit

from connectors.answers import parse_retry_after
from connectors.base import (
    CheckResult,
    Connector,
    ConnectorError,
    Cursor,
    Description,
    LinkAccess,
    Page,
    RetryLater,
    SetAside,
    Stop,
    Transport,
    Unreadable,
    Window,
)
from connectors.config import ConfigError, Fields
from connectors.formats.platform_answers import digest_of, require_platform_success, split_page
from connectors.kind import Kind
from connectors.net.egress import Answer, Origin, SafeClient
from connectors.strict_json import Split
from connectors.windowed import Part, Reach, Span, read_spans

_STREAM = "trips"
_ACCEPT = "application/vnd.mds+json;version=2.0"
_HOUR = timedelta(hours=1)
_NOT_READY_S = 300
_PAGES_OF_A_SPAN = 10  # so many days in which nobody rode are no endless feed


@dataclass(frozen=True, slots=True, kw_only=True)
class MdsConfig:
    """`token` is the bearer token that the operator issued; its `provider_id` claim is the operator's affair."""

    trips_url: str
    token: str = field(repr=False)
    allow_loopback: bool = False
    first_days: int = 30
    since: datetime | None = None  # the hour in which the operator's interface opened
    reread_hours: int = 2
    rows: int = 50_000  # of one hour
    hours: int = 24  # handed on together


def parse_config(config: Mapping[str, object], secrets: Mapping[str, object]) -> MdsConfig:
    with Fields(secrets, where="secrets") as given:
        token = given.text("token")
    if not (token.isascii() and token.isprintable()):
        raise ConfigError("secrets: field 'token' must be printable ASCII")
    with Fields(config, where="config") as fields:
        since = fields.text("since", default="-")
        parsed = MdsConfig(
            trips_url=fields.text("trips_url"),
            token=token,
            allow_loopback=fields.flag("allow_loopback", default=False),
            first_days=fields.whole("first_days", default=30, least=1, most=366),
            since=None if since == "-" else _parse_since(since),
            reread_hours=fields.whole("reread_hours", default=2, least=1, most=72),
            rows=fields.whole("rows", default=50_000, least=1, most=200_000),
            hours=fields.whole("hours", default=24, least=1, most=24),
        )
    if urlsplit(parsed.trips_url).query or urlsplit(parsed.trips_url).fragment:
        raise ConfigError("config: field 'trips_url' must have no query and no fragment")
    return parsed


def _parse_since(text: str) -> datetime:
    try:
        return datetime.strptime(text, "%Y-%m-%dT%H").replace(tzinfo=UTC)
    except ValueError:
        raise ConfigError("config: field 'since' must be an hour of the form yyyy-MM-ddTHH, in UTC") from None


class MdsTrips(Connector):
    """Fetcher of the trips of one operator's vehicles."""

    def __init__(
        self,
        config: MdsConfig,
        *,
        client: SafeClient | None = None,
        new_id: Callable[[], str] = lambda: uuid.uuid4().hex,
    ) -> None:
        self._config = config
        self._new_id = new_id
        origin = Origin.parse(config.trips_url, allow_loopback=config.allow_loopback)
        self._client = client or SafeClient([origin])

    def describe(self) -> Description:
        return Description(
            name="mds_trips",
            title="MDS 2.0 Provider trips",
            transport=Transport.PULL,
            streams=(_STREAM,),
            role="operator",
            official=True,
            id_stability="stable",
            finality="revisable",
            correction_mode="replace",
            lateness_class="day",
            windowed=True,
            reread=timedelta(hours=self._config.reread_hours),
            drops=("device_id", "start_location", "end_location", "route", "journey_id"),
            corroborates=True,
        )

    def check(self) -> CheckResult:
        """Ask without a token: trips of identified vehicles must not be open to everybody."""
        try:
            answer = self._client.fetch(f"{self._config.trips_url}?end_time=2020-01-01T00", headers={"accept": _ACCEPT})
        except ConnectorError as error:
            return CheckResult(ok=False, findings=(error.reason,))
        if answer.status in (401, 403):
            return CheckResult(ok=True)
        found = "open_without_token" if answer.status < 300 else f"answered_{answer.status}"
        return CheckResult(ok=False, findings=(found,))

    def fetch(
        self, access: LinkAccess | None, cursor: Cursor | None, *, now: datetime, window: Window | None = None
    ) -> Iterator[Page]:
        """Yield the closed hours, some to a page. Raises RetryLater, SetAside and Stop as every fetcher does."""

        met: list[ConnectorError] = []

        def ask(span: Span, *, request_id: str) -> Part:
            if met:  # what came before it is handed on by now
                raise met[0]
            return self._ask(span, met, request_id=request_id, now=now)

        window = self._bounded(window, now)
        return read_spans(
            ask,
            reach=Reach(
                longest=_HOUR * self._config.hours * _PAGES_OF_A_SPAN,
                overlap=self.describe().overlap,
                first=timedelta(days=self._config.first_days),
                grid=_HOUR,
            ),
            stream=_STREAM,
            cursor=cursor,
            now=now,
            window=window,
            new_id=self._new_id,
        )

    def _bounded(self, window: Window | None, now: datetime) -> Window | None:
        """Nothing is asked for from before the interface opened."""
        opened = self._config.since
        if opened is None:
            return window
        since = window.since if window is not None and window.since is not None else opened
        return Window(since=min(max(since, opened), now - _HOUR), until=window.until if window is not None else None)

    def _ask(self, span: Span, met: list[ConnectorError], *, request_id: str, now: datetime) -> Part:
        """Ask hour by hour. What was told before an hour that cannot be told now is handed on, and why goes to `met`."""
        hour = _hour(span)
        last = min(span.end, hour + _HOUR * self._config.hours)
        digests: list[bytes] = []
        rows: list[bytes] = []
        unreadable: list[Unreadable] = []
        while hour < last and len(rows) < self._config.rows:
            try:
                answer, split = self._ask_hour(hour, request_id=request_id, now=now)
            except ConnectorError as error:
                if not digests:
                    raise
                met.append(error)
                break
            position = len(rows) + len(unreadable)
            unreadable += [replace(bad, position=position + bad.position) for bad in split.unreadable]
            rows += split.rows
            digests.append(digest_of(answer.body))
            hour += _HOUR
        return Part(
            rows=tuple(rows),
            digest=digest_of(b"".join(digests)),
            following=hour.isoformat() if hour < span.end else None,
            unreadable=tuple(unreadable),
        )

    def _ask_hour(self, hour: datetime, *, request_id: str, now: datetime) -> tuple[Answer, Split]:
        query = urlencode({"end_time": hour.astimezone(UTC).strftime("%Y-%m-%dT%H")})
        headers = {
            "accept": _ACCEPT,
            "authorization": f"Bearer {self._config.token}",
            "x-request-id": request_id,
        }
        answer = self._client.fetch(f"{self._config.trips_url}?{query}", headers=headers)
        if self._has_none(answer, hour, now):
            return answer, Split(rest={}, rows=(), unreadable=())
        require_platform_success(answer, now)
        split = split_page(answer.body, "trips", most_rows=self._config.rows)
        version = split.rest.get("version")
        if not isinstance(version, str) or not version.startswith("2."):
            raise SetAside("page_version")
        return answer, split

    def _has_none(self, answer: Answer, hour: datetime, now: datetime) -> bool:
        """Tell whether the operator was not running in this hour.

        Raises:
            RetryLater: the hour is not worked through yet, or lies ahead on the operator's clock: an hour that has just
                ended must not be taken for one without trips.
            SetAside: the interface was open by then, so that something else is not there.
            Stop: the operator does not speak this version.
        """
        if answer.status == 202:
            after_s = parse_retry_after(answer.headers.get("retry-after"), now=now, default=_NOT_READY_S)
            raise RetryLater("hour_not_processed", after_s=after_s)
        if answer.status == 406:
            raise Stop("version_not_offered")
        if answer.status != 404:
            return False
        if now - hour < 2 * _HOUR:
            raise RetryLater("hour_ahead", after_s=_NOT_READY_S)
        if self._config.since is not None and hour >= self._config.since:
            raise SetAside("answered_404")
        return True


def _hour(span: Span) -> datetime:
    """The hour to go on with."""
    if span.page is None:
        return span.start
    try:
        hour = datetime.fromisoformat(span.page)
    except ValueError:
        raise Stop("cursor_of_another_connector") from None
    if hour.tzinfo is None or not span.start <= hour < span.end or (hour - span.start) % _HOUR:
        raise Stop("cursor_of_another_connector")
    return hour


KIND = Kind(
    name="mds_trips",
    transport=Transport.PULL,
    profile=False,
    secrets=("token",),
    build=lambda config, secrets: MdsTrips(parse_config(config, secrets)),
)
