"""Trips of a connected car, as Toyota's connected services tell them. I/O: network.

`GET /v1/trips?from&to&route=false&summary=true&limit&offset` with the person's token answers
`{"payload": {"_metadata": {"pagination": {...}}, "trips": [...]}}`. Pages are counted by offset; `nextOffset` says where
to go on, and reading ends where it is null or no trip is left (`totalCount`).

Ids: a UUID for each trip. Times: `summary.startTs` and `endTs`, with offset. Units: metres, seconds, millilitres of
fuel; `hdc.evDistance` is how far of it the car drove on electricity. A trip may be told again with other figures until
the car has sent everything: same id, other content. Start at 0/0 means that no place is known; places are not read.

Routes are not even asked for; places, scores and driving behaviours are dropped. The vehicle's number (VIN) is in no
row. Some countries' services want to be told the vehicle in a header: then the link's account is sent in it
(`account_header`), so an account must be a name that the service gave and not the VIN itself wherever there is a choice.

Source: pytoyoda 4d7cb14 (2026-04), `/v1/trips`; the interface for China is not public.
"""

import re
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from urllib.parse import urlencode, urlsplit

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
    Transport,
    Window,
)
from connectors.config import ConfigError, Fields
from connectors.formats.platform_answers import digest_of, require_whole, split_page
from connectors.kind import Kind
from connectors.net.egress import Answer, Origin, SafeClient
from connectors.strict_json import MalformedJsonError, Split, raw_members
from connectors.windowed import Part, Reach, Span, read_spans

STREAM = "trips"
_MOST_TRIPS = 10**7
_MOST_ROWS = 5000
_HEADER = re.compile(r"[a-z0-9-]{1,64}")
_RESERVED = frozenset({"authorization", "host", "accept", "x-request-id", "dpop", "content-length", "connection"})
_ACCOUNT = re.compile(r"[!-~]{1,128}")
_OFFSET = re.compile(r"[0-9]{1,8}")


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectedCarConfig:
    """`trips_url` is the whole address, without a query."""

    trips_url: str
    allow_loopback: bool = False
    account_header: str | None = None
    limit: int = 50
    span_days: int = 30
    first_days: int = 90


def parse_config(config: Mapping[str, object], secrets: Mapping[str, object]) -> ConnectedCarConfig:
    """Read the settings. There are no secrets: the token of each link is given to each run."""
    with Fields(secrets, where="secrets"):
        pass
    with Fields(config, where="config") as fields:
        header = fields.text("account_header", default="-").lower()
        parsed = ConnectedCarConfig(
            trips_url=fields.text("trips_url"),
            allow_loopback=fields.flag("allow_loopback", default=False),
            account_header=None if header == "-" else header,
            limit=fields.whole("limit", default=50, least=1, most=1000),
            span_days=fields.whole("span_days", default=30, least=1, most=366),
            first_days=fields.whole("first_days", default=90, least=1, most=3660),
        )
    if urlsplit(parsed.trips_url).query or urlsplit(parsed.trips_url).fragment:
        raise ConfigError("config: field 'trips_url' must have no query and no fragment")
    if parsed.account_header is not None and (
        not _HEADER.fullmatch(parsed.account_header) or parsed.account_header in _RESERVED
    ):
        raise ConfigError("config: field 'account_header' must be the name of a header that is not ours already")
    return parsed


class ConnectedCar(Connector):
    """Fetcher of one car's trips at a time."""

    def __init__(
        self,
        config: ConnectedCarConfig,
        *,
        client: SafeClient | None = None,
        new_id: Callable[[], str] = lambda: str(uuid.uuid4()),
    ) -> None:
        self._config, self._new_id = config, new_id
        origin = Origin.parse(config.trips_url, allow_loopback=config.allow_loopback)
        self._client = client or SafeClient([origin])

    def describe(self) -> Description:
        return Description(
            name="connected_car",
            title="Connected-car trips (Toyota connected services)",
            transport=Transport.PULL,
            streams=(STREAM,),
            role="meter",
            official=True,
            id_stability="stable",
            finality="revisable",
            correction_mode="replace",
            lateness_class="day",
            windowed=True,
            drops=(
                "vin",
                "route",
                "scores",
                "behaviours",
                "summary.startLat",
                "summary.startLon",
                "summary.endLat",
                "summary.endLon",
            ),
            scope=Scope.LINK,
        )

    def check(self) -> CheckResult:
        """Ask without a token: a service that answers with trips is open to everybody."""
        headers = {"accept": "application/json", "x-request-id": self._new_id()}
        try:
            answer = self._client.fetch(self._config.trips_url, headers=headers)
        except ConnectorError as error:
            return CheckResult(ok=False, findings=(error.reason,))
        if answer.status in (401, 403):
            return CheckResult(ok=True)
        found = "open_without_token" if answer.status < 300 else f"answered_{answer.status}"
        return CheckResult(ok=False, findings=(found,))

    def fetch(
        self, access: LinkAccess | None, cursor: Cursor | None, *, now: datetime, window: Window | None = None
    ) -> Iterator[Page]:
        """Yield the car's trips from the cursor to now.

        Raises:
            RetryLater: 429, 5xx, not reached, cut off. What was yielded stands.
            SetAside: wrong shape, a loop, too much.
            Reauthorise: the token is refused, or was never given.
            Stop: the address is wrong or unsafe.
        """
        if access is None:
            raise Reauthorise("no_token")
        if self._config.account_header is not None and not _ACCOUNT.fullmatch(access.account):
            raise SetAside("account_unfit")

        def ask(span: Span, *, request_id: str) -> Part:
            offset = _offset(span.page)
            answer = self._call(access, self._url(span, offset), request_id=request_id)
            require_success(answer, now)
            split, following = read_trips(answer.body, offset=offset)
            return Part(
                rows=split.rows,
                digest=digest_of(answer.body),
                following=None if following is None else str(following),
                unreadable=split.unreadable,
            )

        reach = Reach(
            longest=timedelta(days=self._config.span_days),
            overlap=self.describe().overlap,
            first=timedelta(days=self._config.first_days),
        )
        yield from read_spans(
            ask,
            reach=reach,
            stream=STREAM,
            cursor=cursor,
            now=now,
            window=window,
            account=access.account,
            new_id=self._new_id,
        )

    def _url(self, span: Span, offset: int) -> str:
        """Days are named, both included; they are asked for in UTC, a day of margin belongs to the overlap."""
        query = {
            "from": span.start.astimezone(UTC).date().isoformat(),
            "to": span.end.astimezone(UTC).date().isoformat(),
            "route": "false",
            "summary": "true",
            "limit": str(self._config.limit),
            "offset": str(offset),
        }
        return f"{self._config.trips_url}?{urlencode(query)}"

    def _call(self, access: LinkAccess, url: str, *, request_id: str) -> Answer:
        """Ask; once more if the service only wants its nonce in the proof (RFC 9449 9)."""
        bare = self._config.trips_url
        named = {} if self._config.account_header is None else {self._config.account_header: access.account}

        def once() -> Answer:
            authorisation = (
                access.prove(method="GET", url=bare)
                if access.prove is not None
                else {"authorization": f"Bearer {access.access_token}"}
            )
            headers = {"accept": "application/json", "x-request-id": request_id, **named, **authorisation}
            return self._client.fetch(url, headers=headers)

        answer = once()
        if access.hear is not None and access.hear(url=bare, status=answer.status, headers=answer.headers):
            answer = once()
        return answer


def _offset(page: str | None) -> int:
    if page is None:
        return 0
    if not _OFFSET.fullmatch(page):
        raise SetAside("page_next_offset")
    return int(page)


def read_trips(body: bytes, *, offset: int) -> tuple[Split, int | None]:
    """Take an answer apart into its trips and the offset of the next page.

    Raises:
        RetryLater: no JSON at all: cut on the way.
        SetAside: JSON of another shape, far more trips than asked for, or a page that leads backwards.
    """
    try:
        payload = raw_members(body).get("payload")
    except MalformedJsonError as malformed:
        if malformed.reason in ("not_json", "not_utf8"):
            raise RetryLater("page_unreadable", after_s=30) from None
        raise SetAside(f"page_{malformed.reason}") from None
    if payload is None or not payload.startswith(b"{"):
        raise SetAside("page_no_payload")
    split = split_page(payload, "trips", most_rows=_MOST_ROWS)
    metadata = split.rest.get("_metadata")
    pagination = metadata.get("pagination") if isinstance(metadata, dict) else None
    if not isinstance(pagination, dict):
        raise SetAside("page_no_pagination")
    total = require_whole(pagination, "totalCount", most=_MOST_TRIPS)
    if pagination.get("nextOffset") is None:
        return split, None
    following = require_whole(pagination, "nextOffset", most=_MOST_TRIPS)
    if following >= total:
        return split, None
    if following <= offset:
        raise SetAside("page_leads_backwards")
    return split, following


KIND = Kind(
    name="connected_car",
    transport=Transport.PULL,
    profile=False,
    secrets=(),
    build=lambda config, secrets: ConnectedCar(parse_config(config, secrets)),
)
