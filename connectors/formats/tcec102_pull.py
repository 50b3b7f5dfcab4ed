"""T/CEC 102 charge orders, asked for: for charging operators that are asked instead of sending. I/O: network.

Token, envelope and codes are the standard's. The standard has no interface for past orders; operators that offer one use
its envelope and the paging of its `query_stations_info` (`PageNo`, `PageSize`, answered with `PageNo`, `PageCount`). The
interface's name is agreed with the operator; this is therefore a profile.

Orders are asked for by spans of time and handed on as the decrypted bytes of each element of `ChargeOrders` (in either
spelling). Ids: `StartChargeSeq`. Times: Beijing time. Corrections: the same order with other content. The token is got
with our own credentials, kept for one run, and got once more when it is refused (`Ret` 4002); after that an operator of
the hub must look. `Ret` -1 and 500 are asked again later; 4001 means that the keys differ; 4003 and 4004 that the peer
does not understand us, which no retry heals. Each request is known on both sides by its TimeStamp and Seq.

Source: T/CEC 102.4-2016 (envelope, token, codes); see `tcec_envelope.py`.
"""

import hashlib
import json
import re
import secrets
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

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
    Window,
)
from connectors.config import ConfigError, Fields
from connectors.formats.tcec_envelope import (
    ZONE,
    EnvelopeError,
    EnvelopeKeys,
    OpenedReply,
    Ret,
    find_member,
    open_reply,
    require_text,
    seal_envelope,
)
from connectors.formats.tcec_statement import ORDERS
from connectors.kind import Kind
from connectors.net.egress import Answer, Origin, SafeClient
from connectors.strict_json import MalformedJsonError, Split, parse_object, split_records
from connectors.windowed import Part, Reach, Span, read_spans

_STREAM = "charge_orders"
_INTERFACE = re.compile(r"[A-Za-z_]{1,64}")
_ACCESS_TOKEN = re.compile(r"[\x21-\x7e]{1,2048}")
_PAGE = re.compile(r"[1-9][0-9]{0,5}")
_TIME = "%Y-%m-%d %H:%M:%S"
_MAX_PAGES = 100_000
_BUSY_S = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class TCec102PullConfig:
    """Attributes: `operator_id`: our own organisation code, under which the peer knows the hub."""

    base_url: str  # ends in /evcs/v{version}
    operator_id: str
    operator_secret: str = field(repr=False)
    keys: EnvelopeKeys = field(repr=False)
    interface: str = "query_charge_orders"
    page_size: int = 50
    span_hours: int = 24
    first_days: int = 90
    camel_case: bool = False
    allow_loopback: bool = False


def parse_config(config: Mapping[str, object], secrets: Mapping[str, object]) -> TCec102PullConfig:
    with Fields(secrets, where="secrets") as given:
        keys = EnvelopeKeys(
            data_secret=given.key("data_secret", size_bytes=16),
            data_secret_iv=given.key("data_secret_iv", size_bytes=16),
            sig_secret=given.key("sig_secret", size_bytes=16),
        )
        operator_secret = given.text("operator_secret")
    with Fields(config, where="config") as fields:
        interface = fields.text("interface", default="query_charge_orders")
        if not _INTERFACE.fullmatch(interface):
            raise ConfigError("config: field 'interface' must be a name of letters and underscores")
        return TCec102PullConfig(
            base_url=fields.text("base_url").rstrip("/"),
            operator_id=fields.key("operator_id", size_bytes=9).decode(),
            operator_secret=operator_secret,
            keys=keys,
            interface=interface,
            page_size=fields.whole("page_size", default=50, least=1, most=100),
            span_hours=fields.whole("span_hours", default=24, least=1, most=24 * 31),
            first_days=fields.whole("first_days", default=90, least=1, most=3660),
            camel_case=fields.flag("camel_case", default=False),
            allow_loopback=fields.flag("allow_loopback", default=False),
        )


class TCec102Pull(Connector):
    """Fetcher of all charge orders of one operator."""

    def __init__(self, config: TCec102PullConfig, *, client: SafeClient | None = None) -> None:
        self._config = config
        origin = Origin.parse(config.base_url, allow_loopback=config.allow_loopback)
        self._client = client or SafeClient([origin])

    def describe(self) -> Description:
        return Description(
            name="tcec102_pull",
            title="T/CEC 102 charge orders, asked for by time (profile)",
            transport=Transport.PULL,
            streams=(_STREAM,),
            role="meter",
            official=False,
            id_stability="stable",
            finality="revisable",
            correction_mode="replace",
            lateness_class="day",
            windowed=True,
            drops=("UserPhone", "PlateNum", "VIN"),
            scope=Scope.PLATFORM,
        )

    def check(self) -> CheckResult:
        """Ask without a token: a peer that answers with orders is open to everybody."""
        body = json.dumps({"OperatorID": self._config.operator_id}).encode()
        url = f"{self._config.base_url}/{self._config.interface}"
        try:
            answer = self._client.fetch(url, method="POST", headers={"content-type": "application/json"}, content=body)
        except ConnectorError as error:
            return CheckResult(ok=False, findings=(error.reason,))
        refused = answer.status in (401, 403) or _ret_of(answer) not in (None, Ret.OK)
        return CheckResult(ok=True) if refused else CheckResult(ok=False, findings=("open_without_token",))

    def fetch(
        self, access: LinkAccess | None, cursor: Cursor | None, *, now: datetime, window: Window | None = None
    ) -> Iterator[Page]:
        """Yield pages from the cursor to now, or to the window's end.

        Raises:
            RetryLater: not reached, cut off, or the peer is busy. What was yielded stands.
            SetAside: a reply of another shape, or one that turns in a circle.
            Stop: our credentials or keys are refused, or the address is wrong or unsafe.
        """
        config = self._config
        session = _Session(config, self._client, now)
        reach = Reach(
            longest=timedelta(hours=config.span_hours),
            overlap=self.describe().overlap,
            first=timedelta(days=config.first_days),
            grid=timedelta(seconds=1),  # the standard's times have no fractions
        )
        return read_spans(
            session.ask,
            reach=reach,
            stream=_STREAM,
            cursor=cursor,
            now=now,
            window=window,
            new_id=session.next_id,
        )


class _Session:
    """One run: its token, and the numbers of its requests."""

    def __init__(self, config: TCec102PullConfig, client: SafeClient, now: datetime) -> None:
        self._config, self._client, self._now = config, client, now
        # The standard's name of a message is a second and four digits. Two runs of one second that both began at one would
        # give two messages one name; where they meet all the same, the second is refused and asked for again.
        self._seq = secrets.randbelow(9999)
        self._token: str | None = None
        self._span: datetime | None = None
        self._pages: set[bytes] = set()

    def next_id(self) -> str:
        return f"{self._config.operator_id}-{self._now.astimezone(ZONE):%Y%m%d%H%M%S}-{self._next_seq():04d}"

    def ask(self, span: Span, *, request_id: str) -> Part:
        """Ask for one page; once more if the token is no longer good."""
        page = span.page or "1"
        if not _PAGE.fullmatch(page):
            raise Stop("cursor_of_another_connector")
        asked = {
            "StartTime": span.start.astimezone(ZONE).strftime(_TIME),
            "EndTime": span.end.astimezone(ZONE).strftime(_TIME),
            "PageNo": int(page),
            "PageSize": self._config.page_size,
        }
        seq = int(request_id.rpartition("-")[2])
        self._token = self._token or self._fetch_token()
        reply, digest = self._call(self._config.interface, asked, seq=seq, token=self._token)
        if reply.ret == Ret.TOKEN:
            self._token = self._fetch_token()
            reply, digest = self._call(self._config.interface, asked, seq=seq, token=self._token)
        _require_ok(reply)
        split = _split_page(reply.text)
        self._require_another_page(span, split)
        return Part(
            rows=split.rows,
            digest=digest,
            following=_following(split, int(page)),
            unreadable=split.unreadable,
        )

    def _require_another_page(self, span: Span, split: Split) -> None:
        """Refuse a page that the span has brought before: an order has one number, so another page is missing for it."""
        if span.start != self._span:
            self._span, self._pages = span.start, set()
        if split.rows:
            told = hashlib.sha256(b"\x1e".join(split.rows)).digest()
            if told in self._pages:
                raise SetAside("repeated_page")
            self._pages.add(told)

    def _next_seq(self) -> int:
        self._seq = self._seq % 9999 + 1
        return self._seq

    def _fetch_token(self) -> str:
        asked = {"OperatorID": self._config.operator_id, "OperatorSecret": self._config.operator_secret}
        reply, _ = self._call("query_token", asked, seq=self._next_seq(), token=None)
        if reply.ret == Ret.TOKEN:
            raise Stop("credentials_refused")
        _require_ok(reply)
        try:
            told = parse_object(reply.text)
            granted = find_member(told, "SuccStat")
            token = require_text(told, "AccessToken") if granted == 0 else ""
        except (MalformedJsonError, KeyError):
            raise SetAside("token_reply") from None
        if isinstance(granted, bool) or granted != 0:
            raise Stop("credentials_refused")
        if not _ACCESS_TOKEN.fullmatch(token):
            raise SetAside("token_reply")
        return token

    def _call(
        self, interface: str, data: Mapping[str, Any], *, seq: int, token: str | None
    ) -> tuple[OpenedReply, bytes]:
        config = self._config
        named = {name[0].lower() + name[1:]: value for name, value in data.items()} if config.camel_case else data
        body = seal_envelope(
            config.keys,
            operator_id=config.operator_id,
            text=json.dumps(named, ensure_ascii=False, separators=(",", ":")).encode(),
            sent_at=self._now,
            seq=seq,
            camel_case=config.camel_case,
        )
        headers = {"content-type": "application/json; charset=utf-8"}
        if token is not None:
            headers["authorization"] = f"Bearer {token}"
        answer = self._client.fetch(f"{config.base_url}/{interface}", method="POST", headers=headers, content=body)
        if answer.status == 401:  # some peers say it in HTTP's words
            return OpenedReply(ret=int(Ret.TOKEN), message="", text=b""), b""
        try:
            require_success(answer, self._now)
        except Reauthorise:
            raise Stop("credentials_refused") from None
        return _open(config.keys, answer), hashlib.sha256(answer.body).digest()


def _open(keys: EnvelopeKeys, answer: Answer) -> OpenedReply:
    try:
        parse_object(answer.body)
    except MalformedJsonError as malformed:
        if malformed.reason in ("not_json", "not_utf8"):
            raise RetryLater("reply_unreadable", after_s=30) from None
        raise SetAside(f"reply_{malformed.reason}") from None
    try:
        return open_reply(keys, answer.body)
    except EnvelopeError as error:
        reason = {Ret.SIGNATURE: "reply_signature", Ret.BUSINESS: "reply_undecryptable"}.get(error.ret, "reply_parts")
        raise SetAside(reason) from None


_RECOVERIES: Mapping[int, Callable[[], ConnectorError]] = {
    Ret.BUSY: lambda: RetryLater("peer_busy", after_s=_BUSY_S),
    Ret.SYSTEM: lambda: RetryLater("peer_failed", after_s=_BUSY_S),
    Ret.SIGNATURE: lambda: Stop("signature_refused"),
    Ret.TOKEN: lambda: Stop("credentials_refused"),
    Ret.ENVELOPE: lambda: SetAside("envelope_refused"),
    Ret.BUSINESS: lambda: SetAside("request_refused"),
}


def _require_ok(reply: OpenedReply) -> None:
    if reply.ret != Ret.OK:
        raise _RECOVERIES.get(reply.ret, lambda: SetAside("peer_unknown_ret"))()


def _split_page(text: bytes) -> Split:
    for name in ORDERS:
        try:
            split = split_records(text, name)
        except MalformedJsonError as malformed:
            if malformed.reason == "no_records":
                continue
            raise SetAside(f"page_{malformed.reason}") from None
        if any(other in split.rest for other in ORDERS):
            raise SetAside("page_two_spellings")
        return split
    raise SetAside("page_no_records")


def _following(split: Split, page: int) -> str | None:
    try:
        told, count = (find_member(split.rest, name) for name in ("PageNo", "PageCount"))
    except KeyError:
        raise SetAside("page_numbers") from None
    if isinstance(told, bool) or isinstance(count, bool) or not isinstance(told, int) or not isinstance(count, int):
        raise SetAside("page_numbers")
    if told != page or not 0 <= count <= _MAX_PAGES:
        raise SetAside("page_numbers")
    return str(page + 1) if page < count else None


def _ret_of(answer: Answer) -> int | None:
    try:
        ret = find_member(parse_object(answer.body), "Ret")
    except (MalformedJsonError, KeyError):
        return None
    return ret if isinstance(ret, int) and not isinstance(ret, bool) else None


KIND = Kind(
    name="tcec102_pull",
    transport=Transport.PULL,
    profile=True,
    secrets=("operator_secret", "data_secret", "data_secret_iv", "sig_secret"),
    build=lambda config, secrets: TCec102Pull(parse_config(config, secrets)),
)
