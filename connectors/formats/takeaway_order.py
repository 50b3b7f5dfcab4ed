"""Takeaway orders in Meituan's form: a platform pushes each order whenever its status changes. Pure.

The form holds `developerId`, `ePoiId` (the shop), `order` (a JSON text) and `sign`. One message is one order; it goes
on as the text that the form holds, so that its nested `detail` is still the JSON text that the platform wrote.
`dinnersNumber` says how many sets of utensils are wanted: 0 nothing chosen, 1 to 10, -10 more than ten, 99 none.

Ids: `orderId`. Times: seconds since 1970. Corrections: the whole order again with a later `utime`, its version; an
order that was cancelled or wholly refunded has status 9 (1 submitted, 2 pushed, 4 confirmed, 6 delivered, 8 done).
A part refund changes nothing here. The same order with the same `utime` is the same delivery. Every order that was read
is answered `{"data":"ok"}`, whatever the hub makes of it, because the platform sends again until it reads that.

The order names its recipient but not the account at the platform: the hub's extension field `UserId` does. How `sign` is
made is an assumption: 40 hexadecimal digits are seen in real messages, and the rule is the one that the same house
publishes for its delivery service (SHA-1 over the key and the sorted names and values).

Source: Meituan order push, field comments of public implementations; sign rule see `connectors/legacy_signing.py`.
"""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from connectors.base import Connector, Delivery, Description, Inbound, Outcome, Reply, Transport, json_reply, problem
from connectors.config import ConfigError, Fields
from connectors.form_body import MalformedFormError, parse_form
from connectors.kind import Kind
from connectors.legacy_signing import is_signed, sign_pairs
from connectors.strict_json import MalformedJsonError, parse_object

_SIGN = re.compile(r"[0-9a-fA-F]{40}")
_ORDER_ID = re.compile(r"[0-9A-Za-z_-]{1,64}")
_MAX_UTIME = 253_402_300_799  # the last second of the year 9999
_PERSONAL = (
    "recipientName",
    "recipientPhone",
    "backupRecipientPhone",
    "recipientAddress",
    "recipientAddressDesensitization",
    "latitude",
    "longitude",
    "caution",
    "invoiceTitle",
    "taxpayerId",
    "shipperPhone",
    "detail",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class TakeawayOrderConfig:
    """Attributes: `shops`: the `ePoiId`s that may be reported; none named means all of the developer's."""

    developer_id: str
    sign_keys: tuple[str, ...] = field(repr=False)
    shops: tuple[str, ...] = ()
    body_bytes: int = 256 * 1024


def parse_config(config: Mapping[str, object], secrets: Mapping[str, object]) -> TakeawayOrderConfig:
    """Read the settings; `sign_keys` is one key or several with blanks between, while they are changed."""
    with Fields(secrets, where="secrets") as given:
        keys = tuple(given.text("sign_keys").split())
    if any(len(key) < 16 for key in keys):
        raise ConfigError("secrets: field 'sign_keys' must hold keys of 16 or more characters")
    with Fields(config, where="config") as fields:
        return TakeawayOrderConfig(
            developer_id=fields.text("developer_id"),
            sign_keys=keys,
            shops=fields.texts("shops", default=()),
            body_bytes=fields.whole("body_bytes", default=256 * 1024, least=1024, most=1024 * 1024),
        )


class TakeawayOrder(Connector):
    """Receiver of the orders of one developer id."""

    def __init__(self, config: TakeawayOrderConfig) -> None:
        self._config = config

    def describe(self) -> Description:
        return Description(
            name="takeaway_order",
            title="takeaway orders in Meituan's form, with the hub's UserId (profile)",
            transport=Transport.PUSH,
            streams=("orders",),
            role="operator",
            official=False,
            id_stability="stable",
            finality="revisable",
            correction_mode="version",
            lateness_class="day",
            drops=_PERSONAL,
        )

    def receive(self, request: Inbound, *, now: datetime) -> Delivery | Reply:
        if request.method != "POST":
            return problem(405, "method_not_allowed", "Orders are posted.", headers={"allow": "POST"})
        if len(request.body) > self._config.body_bytes:
            return problem(413, "message_too_large", "The message is larger than agreed.")
        try:
            form = parse_form(request.body)
        except MalformedFormError as malformed:
            return problem(400, malformed.reason, "The message is not a strict form.")
        if not self._is_signed(form):
            return problem(401, "signature_invalid", "The message is not signed with the agreed key.")
        if form.get("developerId") != self._config.developer_id:
            return problem(403, "developer_unknown", "developerId is not the one agreed.")
        if self._config.shops and form.get("ePoiId") not in self._config.shops:
            return problem(403, "shop_unknown", "ePoiId is none of the shops agreed.")
        row = form.get("order", "").encode()
        try:
            order_id, utime = _read_order(row)
        except MalformedJsonError as malformed:
            return problem(400, malformed.reason, "order is not a strict JSON object with an orderId and a utime.")
        # Not over the whole form: the platform may write the same order again with its fields in another order.
        return Delivery(
            delivery_id=f"{order_id}-{utime}", stream="orders", rows=(row,), digest=hashlib.sha256(row).digest()
        )

    def acknowledge(self, delivery: Delivery, outcome: Outcome) -> Reply:
        return json_reply(200, {"data": "ok"})

    def _is_signed(self, form: Mapping[str, str]) -> bool:
        told = form.get("sign", "")
        fits = [is_signed(told, sign_pairs("sorted_bare_sha1", form, key)) for key in self._config.sign_keys]
        return bool(_SIGN.fullmatch(told)) and any(fits)


def _read_order(row: bytes) -> tuple[str, int]:
    order = parse_object(row)
    order_id, utime = order.get("orderId"), order.get("utime")
    if isinstance(order_id, bool) or not isinstance(order_id, int | str) or not _ORDER_ID.fullmatch(f"{order_id}"):
        raise MalformedJsonError("order_id")
    if isinstance(utime, bool) or not isinstance(utime, int) or not 0 < utime <= _MAX_UTIME:
        raise MalformedJsonError("utime")
    return str(order_id), utime


KIND = Kind(
    name="takeaway_order",
    transport=Transport.PUSH,
    profile=True,
    secrets=("sign_keys",),
    build=lambda config, secrets: TakeawayOrder(parse_config(config, secrets)),
)
