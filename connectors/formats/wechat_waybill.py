"""Electronic waybills of WeChat Logistics: a mini-program's logistics messages, told to the hub as well. Pure.

The server of a mini-program orders labels with WeChat Logistics and posts each order's record to the hub as a JSON
object: `order_id`, `openid`, `delivery_id` (the courier), `waybill_id`, `order_status` (0 good, 1 cancelled). The label
itself is asked of WeChat and not of the hub. The hub hands on `{"waybill": "CODE:NUMBER", "number": "NUMBER", "order":
...}`, where `order` is the record as it was written; the other two are how every reporter knows the parcel.

Messages carry WeChat's proof in their address, `signature = sha1(sorted token, timestamp, nonce)`, and the address is
proved once with `echostr`. That proof does not cover the body, and an address stands in many a log: each message must
carry a signature as Standard Webhooks say as well, whose `webhook-id` names it.

Ids: the waybill. Time: `create_time`, the hub's extension, seconds since 1970. Corrections: `order_status` is the
version, since a cancelled waybill is never used again.

Source: WeChat mini-program documentation, express `order/add` and `order/get`, and message push.
"""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from connectors.base import Connector, Delivery, Description, Inbound, Outcome, Reply, Transport, Unreadable, problem
from connectors.config import ConfigError, Fields
from connectors.formats.waybill_number import normalise_waybill
from connectors.kind import Kind
from connectors.legacy_signing import is_signed, sign_texts
from connectors.strict_json import MalformedJsonError, parse_object
from connectors.webhook_signature import WebhookKeys, parse_keys, refuse_unsigned

_TIMESTAMP = re.compile(r"[0-9]{1,12}")
_NONCE = re.compile(r"[0-9A-Za-z_-]{1,64}")
_ECHO = re.compile(r"[!-~]{1,256}")
_TEXT = {"content-type": "text/plain; charset=utf-8"}


@dataclass(frozen=True, slots=True, kw_only=True)
class WeChatWaybillConfig:
    tokens: tuple[str, ...] = field(repr=False)
    keys: WebhookKeys = field(repr=False)
    tolerance_s: int = 300
    body_bytes: int = 64 * 1024


def parse_config(config: Mapping[str, object], secrets: Mapping[str, object]) -> WeChatWaybillConfig:
    """Read the settings; `push_tokens` is one token or several with blanks between, while they are changed."""
    with Fields(secrets, where="secrets") as given:
        tokens = tuple(given.text("push_tokens").split())
        keys = parse_keys(given.text("webhook_secrets"))
    if any(not 16 <= len(token) <= 64 for token in tokens):
        raise ConfigError("secrets: field 'push_tokens' must hold tokens of 16 to 64 characters")
    with Fields(config, where="config") as fields:
        return WeChatWaybillConfig(
            tokens=tokens,
            keys=keys,
            tolerance_s=fields.whole("tolerance_s", default=300, least=1, most=300),
            body_bytes=fields.whole("body_bytes", default=64 * 1024, least=1024, most=1024 * 1024),
        )


class WeChatWaybill(Connector):
    """Receiver of one mini-program's waybills."""

    def __init__(self, config: WeChatWaybillConfig) -> None:
        self._config = config

    def describe(self) -> Description:
        return Description(
            name="wechat_waybill",
            title="WeChat Logistics waybills, with the hub's create_time (profile)",
            transport=Transport.PUSH,
            streams=("wechat_waybills",),
            role="operator",
            official=False,
            id_stability="stable",
            finality="revisable",
            correction_mode="version",
            lateness_class="day",
            drops=("order.sender", "order.receiver", "order.cargo", "order.waybill_data", "order.print_html"),
        )

    def receive(self, request: Inbound, *, now: datetime) -> Delivery | Reply:
        if request.method not in ("GET", "POST"):
            return problem(405, "method_not_allowed", "Messages are posted.", headers={"allow": "GET, POST"})
        if len(request.body) > self._config.body_bytes:
            return problem(413, "message_too_large", "The message is larger than agreed.")
        if refusal := self._refuse(request.query, now):
            return refusal
        if request.method == "GET":
            return _answer_echo(request.query.get("echostr", ""))
        if refusal := refuse_unsigned(self._config.keys, request, now=now, tolerance_s=self._config.tolerance_s):
            return refusal
        try:
            order = parse_object(request.body)
        except MalformedJsonError as malformed:
            return problem(400, malformed.reason, "The message is not a strict JSON object.")
        rows, unreadable = waybill_row(order.get("delivery_id"), order.get("waybill_id"), b'"order":' + request.body)
        return Delivery(
            delivery_id=request.headers["webhook-id"],
            stream="wechat_waybills",
            rows=rows,
            digest=hashlib.sha256(request.body).digest(),
            unreadable=unreadable,
        )

    def acknowledge(self, delivery: Delivery, outcome: Outcome) -> Reply:
        """Answer as WeChat is answered: anything else would make the platform send again what was already stored."""
        return Reply(status=200, headers=_TEXT, body=b"success")

    def _refuse(self, query: Mapping[str, str], now: datetime) -> Reply | None:
        told, timestamp, nonce = (query.get(name, "") for name in ("signature", "timestamp", "nonce"))
        if not _TIMESTAMP.fullmatch(timestamp) or not _NONCE.fullmatch(nonce):
            return problem(400, "signature_parts", "timestamp or nonce is missing or not well formed.")
        fits = [
            is_signed(told, sign_texts("sorted_texts_sha1", [timestamp, nonce], token)) for token in self._config.tokens
        ]
        if not any(fits):
            return problem(401, "signature_invalid", "The signature does not fit.")
        if abs(now.timestamp() - int(timestamp)) > self._config.tolerance_s:
            return problem(401, "timestamp_stale", "The message is too old or from the future: sign it again.")
        return None


def waybill_row(courier: object, number: object, members: bytes) -> tuple[tuple[bytes, ...], tuple[Unreadable, ...]]:
    """Make the row of one waybill: how it is known, and the platform's members as they were written."""
    waybill = normalise_waybill(courier, number)
    if waybill is None:
        detail = "The courier's code or the waybill's number is missing or not well formed."
        return (), (Unreadable(position=0, reason="waybill_number", detail=detail),)
    head = f'{{"waybill":"{waybill}","number":"{waybill.partition(":")[2]}",'
    return (head.encode() + members + b"}",), ()


def _answer_echo(echo: str) -> Reply:
    if not _ECHO.fullmatch(echo):
        return problem(400, "echostr", "echostr is missing or not well formed.")
    return Reply(status=200, headers=_TEXT, body=echo.encode())


KIND = Kind(
    name="wechat_waybill",
    transport=Transport.PUSH,
    profile=True,
    secrets=("push_tokens", "webhook_secrets"),
    build=lambda config, secrets: WeChatWaybill(parse_config(config, secrets)),
)
