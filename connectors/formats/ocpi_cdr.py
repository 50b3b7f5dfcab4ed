"""OCPI charge detail records: what a charging operator says of finished charges. I/O: network.

`GET {cdrs_url}?date_from&date_to&offset&limit` with our own token, for spans of `last_updated` (`date_from` included,
`date_to` excluded). Where the next page is, only the answer's `Link: <...>; rel="next"` says: it is followed if it
leads to the same origin and path, else reading stops, because an address from outside must not choose whom we call. If
`X-Total-Count` drops between two pages, a record has moved to a later span and the others have slid forward: the page
is asked for again with its offset lowered by as many, so that no record falls between two pages.

Ids: country, party and id together. Times: UTC, also where the Z is missing. Units: kWh and hours. Corrections: a
record never changes; a credit record with an id of its own names the one that it takes back, and tells its energy with
a positive sign: the mapping makes of it a cancelled version of that record. Energy that flows back into the grid is
told as negative. 2.3.0 writes costs in another shape, which is not read.

Source: OCPI 2.2.1-d2, transport (4), CDRs (10); 2.3.0 for the shape of costs.
"""

import base64
import json
import re
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qsl, urlencode, urljoin, urlsplit, urlunsplit

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
    Window,
)
from connectors.config import ConfigError, Fields
from connectors.formats.platform_answers import MAX_PAGE, digest_of, require_platform_success, split_page
from connectors.kind import Kind
from connectors.net.egress import Answer, Origin, SafeClient
from connectors.windowed import Part, Reach, Span, read_spans

_STREAM = "cdrs"
_LINK = re.compile(r'<(?P<url>[^<>]*)>(?P<parameters>(?:\s*;\s*[A-Za-z*-]{1,32}\s*=\s*(?:"[^"]*"|[^\s",;]+))*)')
_REL = re.compile(r';\s*rel\s*=\s*(?:"(?P<quoted>[^"]*)"|(?P<bare>[^\s",;]+))', re.IGNORECASE)
_COUNT = re.compile(r"[0-9]{1,9}")
_MAX_LINK = 8192
_MAX_STEPS_BACK = 3  # in one page; a total that goes on dropping is asked for later
_RETRIED = {3000: 60, 4002: 60, 4003: 60}  # server error, and a hub in between that got no answer
_STOPPED = (2004, 3001, 3002, 3003, 4001)  # token, our registration, version, endpoint, receiver: an operator's matter


@dataclass(frozen=True, slots=True, kw_only=True)
class OcpiConfig:
    """`token` is the one that the operator gave us; peers before 2.2 and many after want it as it is, not in base64."""

    cdrs_url: str
    token: str = field(repr=False)
    allow_loopback: bool = False
    encode_token: bool = True
    limit: int = 100
    span_days: int = 7
    first_days: int = 90


def parse_config(config: Mapping[str, object], secrets: Mapping[str, object]) -> OcpiConfig:
    with Fields(secrets, where="secrets") as given:
        token = given.text("token")
    if not (token.isascii() and token.isprintable()):
        raise ConfigError("secrets: field 'token' must be printable ASCII")
    with Fields(config, where="config") as fields:
        parsed = OcpiConfig(
            cdrs_url=fields.text("cdrs_url"),
            token=token,
            allow_loopback=fields.flag("allow_loopback", default=False),
            encode_token=fields.flag("encode_token", default=True),
            limit=fields.whole("limit", default=100, least=1, most=1000),
            span_days=fields.whole("span_days", default=7, least=1, most=31),
            first_days=fields.whole("first_days", default=90, least=1, most=3660),
        )
    if urlsplit(parsed.cdrs_url).query or urlsplit(parsed.cdrs_url).fragment:
        raise ConfigError("config: field 'cdrs_url' must have no query and no fragment")
    return parsed


class OcpiCdr(Connector):
    """Fetcher of everybody's charges at one operator."""

    def __init__(
        self,
        config: OcpiConfig,
        *,
        client: SafeClient | None = None,
        new_id: Callable[[], str] = lambda: uuid.uuid4().hex,
    ) -> None:
        self._config = config
        self._new_id = new_id
        self._origin = Origin.parse(config.cdrs_url, allow_loopback=config.allow_loopback)
        self._client = client or SafeClient([self._origin])
        told = base64.b64encode(config.token.encode()).decode() if config.encode_token else config.token
        self._authorisation = f"Token {told}"

    def describe(self) -> Description:
        return Description(
            name="ocpi_cdr",
            title="OCPI 2.2.1 charge detail records",
            transport=Transport.PULL,
            streams=(_STREAM,),
            role="meter",
            official=True,
            id_stability="stable",
            finality="revisable",
            correction_mode="version",
            lateness_class="day",
            windowed=True,
            reread=timedelta(hours=1),
            drops=("cdr_token.uid", "cdr_location", "meter_id", "signed_data", "authorization_reference", "remark"),
        )

    def check(self) -> CheckResult:
        """Ask without a token: an operator that answers with records is open to everybody."""
        try:
            answer = self._client.fetch(f"{self._config.cdrs_url}?limit=1", headers={"accept": "application/json"})
        except ConnectorError as error:
            return CheckResult(ok=False, findings=(error.reason,))
        if answer.status in (401, 403):
            return CheckResult(ok=True)
        found = "open_without_token" if answer.status < 300 else f"answered_{answer.status}"
        return CheckResult(ok=False, findings=(found,))

    def fetch(
        self, access: LinkAccess | None, cursor: Cursor | None, *, now: datetime, window: Window | None = None
    ) -> Iterator[Page]:
        """Yield pages span by span. Raises RetryLater, SetAside and Stop as every fetcher does."""
        config = self._config

        def ask(span: Span, *, request_id: str) -> Part:
            return self._ask(span, request_id=request_id, now=now)

        return read_spans(
            ask,
            reach=Reach(
                longest=timedelta(days=config.span_days),
                overlap=self.describe().overlap,
                first=timedelta(days=config.first_days),
            ),
            stream=_STREAM,
            cursor=cursor,
            now=now,
            window=window,
            new_id=self._new_id,
        )

    def _ask(self, span: Span, *, request_id: str, now: datetime) -> Part:
        url, known = self._place(span)
        for _ in range(_MAX_STEPS_BACK):
            headers = {
                "accept": "application/json",
                "authorization": self._authorisation,
                "x-request-id": request_id,
                "x-correlation-id": request_id,
            }
            answer = self._client.fetch(url, headers=headers)
            require_platform_success(answer, now)
            total = _total(answer)
            if known is None or total is None or total >= known:
                return self._part(answer, total, url)
            url, known = self._step_back(span, url, known - total), total
        raise RetryLater("total_unsteady", after_s=60)

    def _part(self, answer: Answer, total: int | None, asked: str) -> Part:
        split = split_page(answer.body, "data", most_rows=5000)
        _require_status(split.rest.get("status_code"))
        following = find_next(answer.headers.get("link"))
        if following is not None:
            following = self._require_same_place(_joined(asked, following))
        return Part(
            rows=split.rows,
            digest=digest_of(answer.body),
            following=None if following is None else json.dumps([following, total]),
            unreadable=split.unreadable,
        )

    def _place(self, span: Span) -> tuple[str, int | None]:
        """The address of the page, and the total that the page before it told."""
        if span.page is None:
            query = {
                "date_from": _written(span.start),
                "date_to": _written(span.end),
                "offset": "0",
                "limit": str(self._config.limit),
            }
            return f"{self._config.cdrs_url}?{urlencode(query)}", None
        try:
            url, known = json.loads(span.page)
        except (ValueError, TypeError):
            raise Stop("cursor_of_another_connector") from None
        if not isinstance(url, str) or not (known is None or isinstance(known, int)):
            raise Stop("cursor_of_another_connector")
        return self._require_same_place(url), known

    def _step_back(self, span: Span, url: str, lost: int) -> str:
        """Ask again with the offset lowered by what was lost; without an offset, from the beginning of the span."""
        parts = urlsplit(url)
        query = parse_qsl(parts.query, keep_blank_values=True)
        offset = dict(query).get("offset", "")
        if not _COUNT.fullmatch(offset):
            return self._place(Span(start=span.start, end=span.end))[0]
        lowered = str(max(0, int(offset) - lost))
        query = [(name, lowered if name == "offset" else value) for name, value in query]
        return urlunsplit(parts._replace(query=urlencode(query)))

    def _require_same_place(self, url: str) -> str:
        if len(url) > MAX_PAGE or not (url.isascii() and url.isprintable()) or " " in url:
            raise Stop("next_page_unreadable")
        try:
            origin = Origin.parse(url, allow_loopback=self._config.allow_loopback)
            path = urlsplit(url).path
        except (Stop, ValueError):
            raise Stop("next_page_elsewhere") from None
        if origin != self._origin or path != urlsplit(self._config.cdrs_url).path:
            raise Stop("next_page_elsewhere")
        return url


def find_next(header: str | None) -> str | None:
    """Find the target of the first link whose relation is `next` (RFC 8288).

    Example:
        >>> find_next('<https://e.cn/cdrs?offset=0>; rel="first", <https://e.cn/cdrs?offset=9>; rel="next"')
        'https://e.cn/cdrs?offset=9'
    """
    if header is None:
        return None
    if len(header) > _MAX_LINK:
        raise SetAside("link_too_long")
    for link in _LINK.finditer(header):
        relation = _REL.search(link["parameters"])
        if relation is not None and "next" in (relation["quoted"] or relation["bare"] or "").lower().split():
            return link["url"]
    return None


def _joined(asked: str, target: str) -> str:
    try:
        return urljoin(asked, target)
    except ValueError:
        raise Stop("next_page_unreadable") from None


def _total(answer: Answer) -> int | None:
    text = answer.headers.get("x-total-count")
    if text is None:
        return None
    if not _COUNT.fullmatch(text.strip()):
        raise SetAside("page_total_count")
    return int(text)


def _require_status(status: object) -> None:
    """Let only 1000 pass: the envelope says by itself whether the request was understood."""
    if not isinstance(status, int) or isinstance(status, bool) or not 1000 <= status <= 4999:
        raise SetAside("page_status_code")
    if status == 1000:
        return
    if status in _RETRIED:
        raise RetryLater(f"ocpi_{status}", after_s=_RETRIED[status])
    if status in _STOPPED:
        raise Stop(f"ocpi_{status}")
    raise SetAside(f"ocpi_{status}")


def _written(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


KIND = Kind(
    name="ocpi_cdr",
    transport=Transport.PULL,
    profile=False,
    secrets=("token",),
    build=lambda config, secrets: OcpiCdr(parse_config(config, secrets)),
)
