"""Ride orders of DiDi for enterprises: what an enterprise's people have ridden. I/O: network.

`POST {base}/river/Auth/authorize` with the client's credentials gives a token, `GET {base}/river/Order/get` lists the
orders of at most seven days, by `offset` and `length`; an offset must be a multiple of the length, and there are
ceil(total / length) pages. Every request is signed: `sign_key` is put among the parameters, the pairs are sorted and
joined, and the digest (MD5, or SHA-256 where it was agreed) is sent while the key is not.

An order stands in the list by the day on which it was paid, refunded or attributed to another cost centre, so the same
order comes again with other content: the later telling replaces the earlier, and seven days are read again each time.
`start_date` and `end_date` are days of China, both included.

A ride by itself avoids no emission: whether the car was shared (`is_carpool`) is what the list tells, and whether it
was electric it does not tell. Phones, names and places are dropped.

Ids: `order_id`. Times: `yyyy-MM-dd HH:mm:ss` in China. Distance: kilometres, as text. Money: yuan, as text.

Source: opendocs.xiaojukeji.com, version2024/13211; didi/ddes-openapi-sdk-go, service/order/v1.
"""

import json
import re
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

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
from connectors.formats.platform_answers import (
    digest_of,
    parse_reply,
    require_platform_success,
    require_whole,
    split_page,
)
from connectors.kind import Kind
from connectors.legacy_signing import sign_pairs
from connectors.net.egress import Answer, Origin, SafeClient
from connectors.strict_json import MalformedJsonError, raw_member
from connectors.windowed import Part, Reach, Span, read_spans

_STREAM = "orders"
_BASE_URL = "https://api.es.xiaojukeji.com"
_ZONE = ZoneInfo("Asia/Shanghai")
_LONGEST = timedelta(days=6)  # a span of six days touches seven dates, both ends included
_SIGN_METHODS = {"md5": "sorted_key_inside_md5", "sha256": "sorted_key_inside_sha256"}
_TOKEN = re.compile(r"[\x21-\x7e]{1,2048}")
_OFFSET = re.compile(r"[0-9]{1,9}")
# Of opendocs.xiaojukeji.com/version2024/10947; 401 and 429 are an assumption, in the same style as their neighbours.
_TOKEN_REFUSED = frozenset({401, 410})  # 410: the token is another client's
_BUSY = frozenset({429, 500, 502, 503, 504})
_STOPPED = frozenset({400, 402, 403, 406, 412, 10002})  # client, administrator's phone, rights, list of addresses
_MOST_PAGES = 10_000
_MOST_ROWS = 1000  # of a page of at most 100: a platform may stutter


@dataclass(frozen=True, slots=True, kw_only=True)
class DidiConfig:
    """`sign_key` signs every request; `phone` is the enterprise's administrator, where the contract asks for one."""

    client_id: str
    company_id: str
    client_secret: str = field(repr=False)
    sign_key: str = field(repr=False)
    phone: str | None = field(default=None, repr=False)
    base_url: str = _BASE_URL
    allow_loopback: bool = False
    sign_method: str = "md5"
    length: int = 100
    first_days: int = 90


def parse_config(config: Mapping[str, object], secrets: Mapping[str, object]) -> DidiConfig:
    with Fields(secrets, where="secrets") as given:
        client_secret, sign_key = given.text("client_secret"), given.text("sign_key")
    with Fields(config, where="config") as fields:
        phone = fields.text("phone", default="-")
        parsed = DidiConfig(
            client_id=fields.text("client_id"),
            company_id=fields.text("company_id"),
            client_secret=client_secret,
            sign_key=sign_key,
            phone=None if phone == "-" else phone,
            base_url=fields.text("base_url", default=_BASE_URL).rstrip("/"),
            allow_loopback=fields.flag("allow_loopback", default=False),
            sign_method=fields.text("sign_method", default="md5"),
            length=fields.whole("length", default=100, least=1, most=100),
            first_days=fields.whole("first_days", default=90, least=1, most=366),
        )
    if parsed.sign_method not in _SIGN_METHODS:
        raise ConfigError(f"config: field 'sign_method' must be one of {', '.join(_SIGN_METHODS)}")
    if "?" in parsed.base_url or "#" in parsed.base_url:
        raise ConfigError("config: field 'base_url' must have no query and no fragment")
    return parsed


class DidiEs(Connector):
    """Fetcher of the orders of one enterprise."""

    def __init__(
        self,
        config: DidiConfig,
        *,
        client: SafeClient | None = None,
        new_id: Callable[[], str] = lambda: uuid.uuid4().hex,
    ) -> None:
        self._config = config
        self._new_id = new_id
        origin = Origin.parse(config.base_url, allow_loopback=config.allow_loopback)
        self._client = client or SafeClient([origin])
        self._scheme = _SIGN_METHODS[config.sign_method]
        self._token: str | None = None

    def describe(self) -> Description:
        return Description(
            name="didi_es",
            title="DiDi for enterprises, ride orders",
            transport=Transport.PULL,
            streams=(_STREAM,),
            role="operator",
            official=True,
            id_stability="stable",
            finality="revisable",
            correction_mode="replace",
            lateness_class="weeks",
            windowed=True,
            reread=timedelta(days=7),
            drops=(
                "call_phone", "passenger_phone", "passenger_name", "call_employee_number", "start_name", "end_name",
                "actual_start_name", "actual_end_name", "actual_start_address", "actual_end_address", "actual_flat",
                "actual_flng", "actual_tlat", "actual_tlng", "stopover_points", "remark", "extra_info", "callback_info",
            ),
        )  # fmt: skip

    def check(self) -> CheckResult:
        """Ask with a token that is none: orders of an enterprise must not be open to everybody."""
        try:
            answer = self._client.fetch(f"{self._config.base_url}/river/Order/get?access_token=none")
            errno = require_whole(parse_reply(answer.body), "errno") if answer.status == 200 else 0
        except ConnectorError as error:
            return CheckResult(ok=False, findings=(error.reason,))
        if errno or answer.status in (401, 403):
            return CheckResult(ok=True)
        found = "open_without_token" if answer.status == 200 else f"answered_{answer.status}"
        return CheckResult(ok=False, findings=(found,))

    def fetch(
        self, access: LinkAccess | None, cursor: Cursor | None, *, now: datetime, window: Window | None = None
    ) -> Iterator[Page]:
        """Yield pages span by span. Raises RetryLater, SetAside and Stop as every fetcher does."""

        def ask(span: Span, *, request_id: str) -> Part:
            return self._ask(span, request_id=request_id, now=now)

        return read_spans(
            ask,
            reach=Reach(
                longest=_LONGEST, overlap=self.describe().overlap, first=timedelta(days=self._config.first_days)
            ),
            stream=_STREAM,
            cursor=cursor,
            now=now,
            window=window,
            new_id=self._new_id,
        )

    def _ask(self, span: Span, *, request_id: str, now: datetime) -> Part:
        length = self._config.length
        offset = _offset(span.page, length)
        last = (span.end - timedelta(microseconds=1)).astimezone(_ZONE)
        asked = {
            "start_date": span.start.astimezone(_ZONE).strftime("%Y-%m-%d"),
            "end_date": last.strftime("%Y-%m-%d"),
            "offset": str(offset),
            "length": str(length),
        }
        body, data = self._read(asked, request_id, now)
        split = split_page(data, "records", most_rows=_MOST_ROWS)
        total = require_whole(split.rest, "total")
        following = offset + length
        return Part(
            rows=split.rows,
            digest=digest_of(body),
            following=str(following) if following < total else None,
            unreadable=split.unreadable,
        )

    def _read(self, asked: Mapping[str, str], request_id: str, now: datetime) -> tuple[bytes, bytes]:
        """Read one list, with a new token once if ours is refused. Returns the answer and its `data` as written."""
        for renewed in (False, True):
            token = self._token or self._authorise(now)
            answer = self._order_list(token, asked, request_id, now)
            if answer.status != 401:
                require_platform_success(answer, now)
                errno = require_whole(parse_reply(answer.body), "errno")
                if errno not in _TOKEN_REFUSED:
                    _require_success(errno)
                    return answer.body, _data(answer.body)
            self._token = None
            if renewed:
                break
        raise Stop("credentials_refused")

    def _order_list(self, token: str, asked: Mapping[str, str], request_id: str, now: datetime) -> Answer:
        pairs = {
            "client_id": self._config.client_id,
            "access_token": token,
            "timestamp": str(int(now.timestamp())),
            "company_id": self._config.company_id,
            **asked,
        }
        pairs["sign"] = sign_pairs(self._scheme, pairs, self._config.sign_key)
        # The format has no number for a request; a header that it does not know lets both sides name the page.
        headers = {"accept": "application/json", "x-request-id": request_id}
        return self._client.fetch(f"{self._config.base_url}/river/Order/get?{urlencode(pairs)}", headers=headers)

    def _authorise(self, now: datetime) -> str:
        config = self._config
        pairs = {
            "client_id": config.client_id,
            "client_secret": config.client_secret,
            "grant_type": "client_credentials",
            "timestamp": str(int(now.timestamp())),
            **({} if config.phone is None else {"phone": config.phone}),
        }
        pairs["sign"] = sign_pairs(self._scheme, pairs, config.sign_key)
        answer = self._client.fetch(
            f"{config.base_url}/river/Auth/authorize",
            method="POST",
            headers={"content-type": "application/json"},
            content=json.dumps(pairs, separators=(",", ":")).encode(),
        )
        require_platform_success(answer, now)
        reply = parse_reply(answer.body)
        _require_success(require_whole({"errno": 0, **reply}, "errno"))
        token = reply.get("access_token")
        if not isinstance(token, str) or not _TOKEN.fullmatch(token):
            raise SetAside("token_unreadable")
        self._token = token
        return token


def _offset(page: str | None, length: int) -> int:
    """Where to go on; the length may have been configured anew since, and an offset must be a multiple of it."""
    if page is None:
        return 0
    if not _OFFSET.fullmatch(page) or int(page) > length * _MOST_PAGES:
        raise Stop("cursor_of_another_connector")
    return int(page) - int(page) % length


def _require_success(errno: int) -> None:
    if errno == 0:
        return
    if errno in _BUSY:
        raise RetryLater("platform_busy", after_s=60)
    if errno in _STOPPED or errno in _TOKEN_REFUSED:
        raise Stop("credentials_refused")
    raise SetAside("platform_error")


def _data(body: bytes) -> bytes:
    try:
        return raw_member(body, "data")
    except MalformedJsonError:
        raise SetAside("page_no_data") from None


KIND = Kind(
    name="didi_es",
    transport=Transport.PULL,
    profile=False,
    secrets=("client_secret", "sign_key"),
    build=lambda config, secrets: DidiEs(parse_config(config, secrets)),
)
