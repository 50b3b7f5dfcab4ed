"""WeRun: a person's daily steps, decrypted on the device's behalf. I/O: network (one call to WeChat for each delivery).

The mini-program posts `{code, encryptedData, iv}` and, if it has them, `rawData` and `signature`. The hub exchanges the
code for the openid and the session key, opens the data, and forgets the key with the call. Today's steps still grow, so
only days that are over in Asia/Shanghai become rows; a later lower value of a day is a correction. Whether a number of
steps is sane is for clearing to say.

Source: WeChat mini-program documentation, `wx.getWeRunData` and `auth.code2Session`.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

from connectors.base import (
    Connector,
    Delivery,
    Description,
    Inbound,
    Outcome,
    Reply,
    RetryLater,
    SetAside,
    Stop,
    Transport,
    Unreadable,
    outcome_reply,
    problem,
)
from connectors.config import Fields
from connectors.formats.wechat_data import (
    WeChatDataError,
    open_data,
    parse_session_key,
    require_watermark,
    verify_raw_data,
)
from connectors.kind import Kind
from connectors.net.egress import EgressLimits, Origin, SafeClient
from connectors.strict_json import MalformedJsonError, parse_object

ZONE = ZoneInfo("Asia/Shanghai")
_STREAM = "steps"
_MAX_ENTRIES = 62  # WeChat tells 31 days
_FIRST_MS = 100_000_000_000  # as seconds this is the year 5138: nobody's step count
_BUSY_CODES = (-1, 45011)  # system busy; called too often
_REGISTRATION_CODES = (40013, 40125, 40243, 41002, 41004)  # our appid or secret is wrong, missing or frozen
_TITLES = {
    "undecryptable": "The data cannot be decrypted with this session.",
    "raw_data_signature": "rawData does not belong to this session.",
    "watermark_missing": "The data has no watermark.",
    "watermark_appid": "The data was made for another app.",
    "watermark_stale": "The data is too old: ask WeChat for it again.",
    "no_steps": "The data holds no list of steps.",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class WeRunConfig:
    appid: str
    app_secret: str = field(repr=False)
    base_url: str = "https://api.weixin.qq.com"
    allow_loopback: bool = False
    max_age_s: int = 300
    body_bytes: int = 128 * 1024


def parse_config(config: Mapping[str, object], secrets: Mapping[str, object]) -> WeRunConfig:
    with Fields(secrets, where="secrets") as given:
        app_secret = given.text("app_secret")
    with Fields(config, where="config") as fields:
        return WeRunConfig(
            appid=fields.text("appid"),
            app_secret=app_secret,
            base_url=fields.text("base_url", default="https://api.weixin.qq.com").rstrip("/"),
            allow_loopback=fields.flag("allow_loopback", default=False),
            max_age_s=fields.whole("max_age_s", default=300, least=1, most=3600),
            body_bytes=fields.whole("body_bytes", default=128 * 1024, least=1024, most=1024 * 1024),
        )


class WeRun(Connector):
    """Receiver of encrypted step lists."""

    def __init__(self, config: WeRunConfig, *, client: SafeClient | None = None) -> None:
        self._config = config
        origin = Origin.parse(config.base_url, allow_loopback=config.allow_loopback)
        self._client = client or SafeClient([origin], limits=EgressLimits(total_s=10.0, body_bytes=64 * 1024))

    def describe(self) -> Description:
        return Description(
            name="werun",
            title="WeRun steps (wx.getWeRunData)",
            transport=Transport.DEVICE,
            streams=(_STREAM,),
            role="self_report",
            official=True,
            id_stability="derived",
            finality="revisable",
            correction_mode="replace",
            lateness_class="weeks",
            drops=("unionid", "session_key", "rawData"),
        )

    def receive(self, request: Inbound, *, now: datetime) -> Delivery | Reply:
        """Exchange, decrypt, check, list closed days.

        Raises:
            Stop: WeChat refuses our appid or secret, or its address may not be called.
        """
        if request.method != "POST":
            return problem(405, "method_not_allowed", "Messages are posted.", headers={"allow": "POST"})
        if len(request.body) > self._config.body_bytes:
            return problem(413, "message_too_large", "The message is larger than agreed.")
        sent = _parse_sent(request.body)
        if sent is None:
            return problem(400, "message_malformed", "The message needs the texts code, encryptedData and iv.")
        try:
            openid, entries = self._open(sent, now)
        except RetryLater as later:
            headers = {"retry-after": str(later.after_s)}
            return problem(503, "wechat_unavailable", "WeChat does not answer now: try again.", headers=headers)
        except SetAside:
            return problem(502, "wechat_answer", "WeChat gave an answer that cannot be used.")
        except _CodeRefusedError:
            return problem(401, "code_refused", "WeChat refuses the code: sign in again.")
        except WeChatDataError as error:
            return problem(400, error.reason, _TITLES[error.reason])
        rows, unreadable = _closed_days(openid, entries, now)
        sealed = f"{openid}\x1f{sent['iv']}\x1f{sent['encryptedData']}".encode()
        return Delivery(
            delivery_id="werun-" + hashlib.sha256(sealed).hexdigest(),  # the code differs each time the data is sent
            stream=_STREAM,
            rows=rows,
            digest=hashlib.sha256(sealed).digest(),
            unreadable=unreadable,
        )

    def acknowledge(self, delivery: Delivery, outcome: Outcome) -> Reply:
        return outcome_reply(delivery, outcome)

    def fetch_account(self, code: str) -> str | None:
        """Ask WeChat whose sign-in code this is; None if it refuses the code.

        Raises:
            RetryLater, SetAside, Stop: as for any call to the platform.
        """
        if not 0 < len(code) <= 256:
            return None
        try:
            openid, _session_key = self._fetch_session(code)
        except _CodeRefusedError:
            return None
        return openid

    def _open(self, sent: Mapping[str, str], now: datetime) -> tuple[str, list[Any]]:
        openid, session_key = self._fetch_session(sent["code"])
        key = _parse_platform_key(session_key)
        if "rawData" in sent and not verify_raw_data(sent["rawData"], sent["signature"], session_key=session_key):
            raise WeChatDataError("raw_data_signature")
        document = open_data(sent["encryptedData"], sent["iv"], session_key=key)
        require_watermark(document, appid=self._config.appid, now=now, max_age_s=self._config.max_age_s)
        entries = document.get("stepInfoList")
        if not isinstance(entries, list) or len(entries) > _MAX_ENTRIES:
            raise WeChatDataError("no_steps")
        return openid, entries

    def _fetch_session(self, code: str) -> tuple[str, str]:
        query = {
            "appid": self._config.appid,
            "secret": self._config.app_secret,
            "js_code": code,
            "grant_type": "authorization_code",
        }
        answer = self._client.fetch(f"{self._config.base_url}/sns/jscode2session?{urlencode(query)}")
        if answer.status == 429 or answer.status >= 500:
            raise RetryLater("wechat_busy", after_s=30)
        try:
            session = parse_object(answer.body)
        except MalformedJsonError:
            raise SetAside("wechat_answer") from None
        _require_no_error(session.get("errcode", 0))
        openid, session_key = session.get("openid"), session.get("session_key")
        if not (isinstance(openid, str) and 0 < len(openid) <= 64 and openid.isascii() and openid.isprintable()):
            raise SetAside("wechat_answer")
        if not isinstance(session_key, str):
            raise SetAside("wechat_answer")
        return openid, session_key


class _CodeRefusedError(ValueError):
    """The code is used up, expired or false: the device must sign in again."""


def _require_no_error(code: object) -> None:
    if code == 0:
        return
    if code in _BUSY_CODES:
        raise RetryLater("wechat_busy", after_s=30)
    if code in _REGISTRATION_CODES:
        raise Stop("wechat_registration")
    raise _CodeRefusedError


def _parse_platform_key(session_key: str) -> bytes:
    try:
        return parse_session_key(session_key)
    except WeChatDataError:
        raise SetAside("wechat_answer") from None  # WeChat's fault, not the device's


def _parse_sent(body: bytes) -> dict[str, str] | None:
    try:
        document = parse_object(body)
    except MalformedJsonError:
        return None
    names = ["code", "encryptedData", "iv"]
    if "rawData" in document or "signature" in document:
        names += ["rawData", "signature"]
    sent = {name: document.get(name) for name in names}
    if not all(isinstance(value, str) and value for value in sent.values()):
        return None
    return {name: str(value) for name, value in sent.items()}


def _closed_days(openid: str, entries: list[Any], now: datetime) -> tuple[tuple[bytes, ...], tuple[Unreadable, ...]]:
    rows: list[bytes] = []
    unreadable: list[Unreadable] = []
    dates: set[str] = set()
    today = now.astimezone(ZONE).date()
    for position, entry in enumerate(entries):
        fault = next(_faults(entry, now), None)
        if fault is not None:
            unreadable.append(Unreadable(position=position, reason=fault[0], detail=fault[1]))
            continue
        date = datetime.fromtimestamp(entry["timestamp"], ZONE).date()
        if date >= today:
            continue  # still growing: it comes again when it is over
        if date.isoformat() in dates:
            detail = "The list tells this day a second time."
            unreadable.append(Unreadable(position=position, reason="repeated_day", detail=detail))
            continue
        dates.add(date.isoformat())
        row = {
            "openid": openid,
            "date": date.isoformat(),
            "timestamp": entry["timestamp"],
            "step": entry["step"],
        }
        rows.append(json.dumps(row, separators=(",", ":")).encode())
    return tuple(rows), tuple(unreadable)


def _faults(entry: Any, now: datetime) -> Iterator[tuple[str, str]]:
    if not isinstance(entry, dict):
        yield "not_an_object", "The entry is not a JSON object."
        return
    timestamp, step = entry.get("timestamp"), entry.get("step")
    if not isinstance(timestamp, int) or isinstance(timestamp, bool) or timestamp <= 0:
        yield "timestamp", "The timestamp is not a positive whole number."
    elif timestamp >= _FIRST_MS:
        yield "timestamp_in_milliseconds", "The timestamp is in milliseconds; the format says seconds."
    elif timestamp > (now + timedelta(days=1)).timestamp():
        yield "time_ahead", "The day lies in the future."
    if not isinstance(step, int) or isinstance(step, bool) or step < 0:
        yield "step", "The number of steps is not a whole number of zero or more."


KIND = Kind(
    name="werun",
    transport=Transport.DEVICE,
    profile=False,
    secrets=("app_secret",),
    build=lambda config, secrets: WeRun(parse_config(config, secrets)),
)
