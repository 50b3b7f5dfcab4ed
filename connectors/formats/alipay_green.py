"""Alipay's green interfaces: one person's low-carbon trips, green actions or carbon days. I/O: network.

One connector reads one stream with the person's `auth_token`:

    behaviours      alipay.commerce.transport.carbonjustice.lowcarbonbehavior.query: trips by bus, metro and shared car
    green_actions   alipay.social.opengreen.energy.query: acts that partners told the Ant Forest, up to three months
    carbon_days     alipay.social.antforest.carbonday.query: the forest's "green energy" of the last 30 days

Rows are handed on as Alipay wrote them. A trip has no id: the mapping joins one from whose it is, when it was paid and
what kind it is. One ask names one scene; the scenes of a span follow each other as its pages. Distances are metres and
only the metro has them; times are Beijing time without a zone. Nothing is ever taken back, but the same id may come
with another distance. Carbon days are information: green energy is points of the forest and never a reduction, so no
mapping reads them. Their values are texts and stay texts.

Alipay publishes that `energy_info` is a text and not what is in it. It is read here as a JSON object with the list
`green_actions` in the words in which partners send acts (`biz_no`, `action_time`, `second_scene`, `biz_value`: recycling
1000 g is 1000): to be agreed with Alipay before a hub goes live with this stream.

Source: alipay-sdk-python-all and alipay-sdk-net-all (field comments of the three methods), opendocs.alipay.com.
"""

import hashlib
import json
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from urllib.parse import urlencode

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
    Scope,
    SetAside,
    Transport,
    Window,
)
from connectors.config import ConfigError, Fields
from connectors.formats.alipay_wire import (
    AlipayKeys,
    Node,
    open_answer,
    parse_private_key,
    parse_public_key,
    sign,
    signing_text,
    write_local,
)
from connectors.kind import Kind
from connectors.net.egress import EgressLimits, Origin, SafeClient
from connectors.strict_json import MalformedJsonError, Split, parse_text, raw_members, split_records
from connectors.windowed import Part, Reach, Span, read_spans

SCENES = ("CARBON_JUSTICE_BUS", "CARBON_JUSTICE_METRO", "CARBON_JUSTICE_HITCHHIKING")
METHODS: Mapping[str, str] = {
    "behaviours": "alipay.commerce.transport.carbonjustice.lowcarbonbehavior.query",
    "green_actions": "alipay.social.opengreen.energy.query",
    "carbon_days": "alipay.social.antforest.carbonday.query",
}
# Three months are at least 89 days. A carbon day names no window: one ask always tells the last 30 days.
_LONGEST: Mapping[str, timedelta] = {
    "behaviours": timedelta(days=7),
    "green_actions": timedelta(days=89),
    "carbon_days": timedelta(days=3660),
}
_MOST_ROWS = 5000
_NONE = Split(rest={}, rows=(), unreadable=())


@dataclass(frozen=True, slots=True, kw_only=True)
class AlipayGreenConfig:
    """`city_code` or `city_name` is asked for with every trip; `source` and `pid` name us to Alipay."""

    app_id: str
    keys: AlipayKeys = field(repr=False)
    stream: str
    gateway_url: str = "https://openapi.alipay.com/gateway.do"
    allow_loopback: bool = False
    city_code: str | None = None
    city_name: str | None = None
    scenes: tuple[str, ...] = SCENES
    second_scenes: tuple[str, ...] = ()
    carbon_types: tuple[str, ...] = ()
    pid: str | None = None
    source: str | None = None


def parse_config(config: Mapping[str, object], secrets: Mapping[str, object]) -> AlipayGreenConfig:
    with Fields(secrets, where="secrets") as given:
        ours = parse_private_key(given.text("app_private_key"), where="secrets: field 'app_private_key'")
    with Fields(config, where="config") as fields:
        theirs = parse_public_key(fields.text("alipay_public_key"), where="config: field 'alipay_public_key'")
        parsed = AlipayGreenConfig(
            app_id=fields.text("app_id"),
            keys=AlipayKeys(ours=ours, theirs=theirs),
            stream=fields.text("stream", default="behaviours"),
            gateway_url=fields.text("gateway_url", default="https://openapi.alipay.com/gateway.do"),
            allow_loopback=fields.flag("allow_loopback", default=False),
            city_code=_text_or_none(fields, "city_code"),
            city_name=_text_or_none(fields, "city_name"),
            scenes=fields.texts("scenes", default=SCENES),
            second_scenes=fields.texts("second_scenes", default=()),
            carbon_types=fields.texts("carbon_types", default=()),
            pid=_text_or_none(fields, "pid"),
            source=_text_or_none(fields, "source"),
        )
    _require_asked_for(parsed)
    return parsed


def _text_or_none(fields: Fields, name: str) -> str | None:
    text = fields.text(name, default="-")
    return None if text == "-" else text


def _require_asked_for(config: AlipayGreenConfig) -> None:
    """Refuse settings with which the stream's question could not be asked."""
    if config.stream not in METHODS:
        raise ConfigError(f"config: field 'stream' must be one of {', '.join(METHODS)}")
    if "?" in config.gateway_url or "#" in config.gateway_url:
        raise ConfigError("config: field 'gateway_url' must have no query and no fragment")
    if config.stream == "behaviours":
        if (config.city_code is None) == (config.city_name is None):
            raise ConfigError("config: exactly one of the fields 'city_code' and 'city_name' must be there")
        if not config.scenes or not set(config.scenes) <= set(SCENES) or len(set(config.scenes)) < len(config.scenes):
            raise ConfigError(f"config: field 'scenes' must be some of {', '.join(SCENES)}")
    if config.stream == "green_actions" and not config.second_scenes:
        raise ConfigError("config: field 'second_scenes' must name the green actions to ask for")
    if config.stream == "carbon_days" and not config.carbon_types:
        raise ConfigError("config: field 'carbon_types' must name the carbon types to ask for")


class AlipayGreen(Connector):
    """Fetcher of one person's stream at a time."""

    def __init__(
        self,
        config: AlipayGreenConfig,
        *,
        client: SafeClient | None = None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._config, self._clock = config, clock
        origin = Origin.parse(config.gateway_url, allow_loopback=config.allow_loopback)
        self._client = client or SafeClient([origin], limits=EgressLimits())

    def describe(self) -> Description:
        stream = self._config.stream
        has_id = stream == "green_actions"
        return Description(
            name="alipay_green",
            title="Alipay green interfaces (" + METHODS[stream] + ")",
            transport=Transport.PULL,
            streams=(stream,),
            role="aggregator",
            official=True,
            id_stability="stable" if has_id else "derived",
            finality="revisable",
            correction_mode="replace",
            lateness_class="day",
            windowed=True,
            drops=("nick_name", "avatar", "mobile"),
            scope=Scope.LINK,
        )

    def check(self) -> CheckResult:
        """Ask without a person's token: the gateway must refuse, in an answer that proves it is Alipay's."""
        now = self._clock()
        span = Span(start=now - timedelta(days=1), end=now)
        try:
            self._ask("", span, request_id=uuid.uuid4().hex, now=now)
        except Reauthorise:
            return CheckResult(ok=True)
        except ConnectorError as error:
            return CheckResult(ok=False, findings=(error.reason,))
        return CheckResult(ok=False, findings=("open_without_token",))

    def fetch(
        self, access: LinkAccess | None, cursor: Cursor | None, *, now: datetime, window: Window | None = None
    ) -> Iterator[Page]:
        """Yield the stream's pages from the cursor to now.

        Raises:
            RetryLater: the gateway is busy, limits us, or was not reached. What was yielded stands.
            SetAside: a signature does not hold, the answer has another shape, or the business refused.
            Reauthorise: the person's token is refused, or was never given.
            Stop: the address or the app's registration is wrong.
        """
        if access is None:
            raise Reauthorise("no_token")
        token = access.access_token

        def ask(span: Span, *, request_id: str) -> Part:
            node, digest = self._ask(token, span, request_id=request_id, now=now)
            return self._part(node, span, digest)

        days = timedelta(days=30 if self._config.stream == "carbon_days" else 90)
        reach = Reach(longest=_LONGEST[self._config.stream], overlap=self.describe().overlap, first=days)
        yield from read_spans(
            ask,
            reach=reach,
            stream=self._config.stream,
            cursor=cursor,
            now=now,
            window=window,
            account=access.account,
        )

    def _ask(self, token: str, span: Span, *, request_id: str, now: datetime) -> tuple[Node, bytes]:
        config, method = self._config, METHODS[self._config.stream]
        fields = {
            "app_id": config.app_id,
            "method": method,
            "format": "JSON",
            "charset": "utf-8",
            "sign_type": "RSA2",
            "timestamp": write_local(now),
            "version": "1.0",
            "auth_token": token,
            "biz_content": json.dumps(_question(config, span), ensure_ascii=False, separators=(",", ":")),
        }
        fields = {name: value for name, value in fields.items() if value}
        fields["sign"] = sign(signing_text(fields), config.keys.ours)
        headers = {
            "content-type": "application/x-www-form-urlencoded;charset=utf-8",
            "accept": "application/json",
            "x-request-id": request_id,  # the gateway has no field for it: for whoever compares notes with us
        }
        content = urlencode(fields).encode()
        answer = self._client.fetch(config.gateway_url, method="POST", headers=headers, content=content)
        require_success(answer, now)
        node = open_answer(answer.body, method=method, key=config.keys.theirs)
        return node, hashlib.sha256(answer.body).digest()

    def _part(self, node: Node, span: Span, digest: bytes) -> Part:
        split = _READERS[self._config.stream](node)
        if len(split.rows) + len(split.unreadable) > _MOST_ROWS:
            raise SetAside("page_too_many_records")
        following = _following(self._config, span) if self._config.stream == "behaviours" else None
        return Part(rows=split.rows, digest=digest, following=following, unreadable=split.unreadable)


def _question(config: AlipayGreenConfig, span: Span) -> dict[str, object]:
    times: dict[str, object] = {"start_time": write_local(span.start), "end_time": write_local(span.end)}
    named = {"source": config.source} if config.source is not None else {}
    if config.stream == "carbon_days":
        return {"carbon_type": list(config.carbon_types)}  # without a day: the last 30 days
    if config.stream == "green_actions":
        actions = [{"second_scene": scene} for scene in config.second_scenes]
        return {**times, "green_actions": actions, **({"pid": config.pid} if config.pid else {}), **named}
    city = {"city_code": config.city_code} if config.city_code is not None else {"city_name": config.city_name}
    return {**city, "scene": _scene(config, span), **times, **named}


def _scene(config: AlipayGreenConfig, span: Span) -> str:
    """The page of a span is its scene: one ask names one. A page of an older setting begins again at the first."""
    return span.page if span.page in config.scenes else config.scenes[0]


def _following(config: AlipayGreenConfig, span: Span) -> str | None:
    at = config.scenes.index(_scene(config, span)) + 1
    return config.scenes[at] if at < len(config.scenes) else None


def _rows(text: bytes, key: str) -> Split:
    """Take the rows out of an object; Alipay leaves an empty list away."""
    try:
        if raw_members(text).get(key, b"null") == b"null":
            return _NONE
        return split_records(text, key)
    except MalformedJsonError as malformed:
        raise SetAside(f"answer_{malformed.reason}") from None


def _read_green_actions(node: Node) -> Split:
    if node.members.get("success") not in (b"true", b'"true"'):
        raise SetAside("query_unsuccessful")  # one scene failed: a part of the acts is no answer
    written = node.members.get("energy_info", b"null")
    if written in (b"null", b'""'):
        return _NONE
    text = parse_text(written)
    if text is None:
        raise SetAside("answer_energy_info")
    return _rows(text.encode(), "green_actions")


_READERS: Mapping[str, Callable[[Node], Split]] = {
    "behaviours": lambda node: _rows(node.text, "carbon_justice_model_list"),
    "green_actions": _read_green_actions,
    "carbon_days": lambda node: _rows(node.text, "day_trans_list"),
}


KIND = Kind(
    name="alipay_green",
    transport=Transport.PULL,
    profile=False,
    secrets=("app_private_key",),
    build=lambda config, secrets: AlipayGreen(parse_config(config, secrets)),
)
