"""Electronic labels ordered through Kuaidi100: what a platform told the label service, told to the hub as well. Pure.

The form is that of `label/order`: `method` (`order`, `printOld`, `cancel`), `key`, `t` (milliseconds), `param` (a JSON
text with `kuaidicom`, `kuaidinum`, `orderId`) and `sign = MD5(param + t + key + secret)` in capitals, with a secret that
the platform shares with the hub and not with Kuaidi100; `method` it does not cover, TLS alone protects that. The label
itself is asked of Kuaidi100 by the platform: the hub only learns that one was used. It hands on `{"waybill":
"CODE:NUMBER", "number": "NUMBER", "method": ..., "param": ...}`, where `param` is as it was written and the first two
are how every reporter knows the parcel.

Ids: the waybill. Time: `printTime` of `param`, the hub's extension like `UserId`, Beijing time; `t` only says when the
message was signed. Corrections: a label is ordered, printed again, taken back; each outranks what was before it. A label
printed again under its number (`reorder` false gives the same result for 48 hours) is the same waybill; `reorder` true
with a new number is another one. The same method and param are the same delivery: both sides know it by the SHA-256 of
the two, a line each.

Source: kuaidi100-api demonstration code (form, sign); which names `method` has besides `cancel` is an assumption.
"""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from connectors.base import Connector, Delivery, Description, Inbound, Outcome, Reply, Transport, json_reply, problem
from connectors.config import ConfigError, Fields
from connectors.form_body import MalformedFormError, parse_form
from connectors.formats.wechat_waybill import waybill_row
from connectors.kind import Kind
from connectors.legacy_signing import is_signed, sign_texts
from connectors.strict_json import MalformedJsonError, parse_object

METHODS = ("order", "printOld", "cancel")
_MILLISECONDS = re.compile(r"[0-9]{12,14}")
_SIGN = re.compile(r"[0-9a-fA-F]{32}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Kuaidi100LabelConfig:
    """Attributes: `key`: the platform's authorisation code at Kuaidi100; `secrets`: shared with the hub."""

    key: str
    secrets: tuple[str, ...] = field(repr=False)
    tolerance_s: int = 300
    body_bytes: int = 128 * 1024


def parse_config(config: Mapping[str, object], secrets: Mapping[str, object]) -> Kuaidi100LabelConfig:
    """Read the settings; `sign_secrets` is one secret or several with blanks between, while they are changed."""
    with Fields(secrets, where="secrets") as given:
        keys = tuple(given.text("sign_secrets").split())
    if any(len(key) < 16 for key in keys):
        raise ConfigError("secrets: field 'sign_secrets' must hold secrets of 16 or more characters")
    with Fields(config, where="config") as fields:
        return Kuaidi100LabelConfig(
            key=fields.text("key"),
            secrets=keys,
            tolerance_s=fields.whole("tolerance_s", default=300, least=1, most=300),
            body_bytes=fields.whole("body_bytes", default=128 * 1024, least=1024, most=1024 * 1024),
        )


class Kuaidi100Label(Connector):
    """Receiver of one platform's labels."""

    def __init__(self, config: Kuaidi100LabelConfig) -> None:
        self._config = config

    def describe(self) -> Description:
        return Description(
            name="kuaidi100_label",
            title="Kuaidi100 electronic labels, with the hub's UserId and printTime (profile)",
            transport=Transport.PUSH,
            streams=("kuaidi100_labels",),
            role="operator",
            official=False,
            id_stability="stable",
            finality="revisable",
            correction_mode="version",
            lateness_class="day",
            drops=("param.recMan", "param.sendMan", "param.cargo", "param.remark", "param.reason", "param.partnerKey"),
        )

    def receive(self, request: Inbound, *, now: datetime) -> Delivery | Reply:
        if request.method != "POST":
            return problem(405, "method_not_allowed", "Labels are posted.", headers={"allow": "POST"})
        if len(request.body) > self._config.body_bytes:
            return problem(413, "message_too_large", "The message is larger than agreed.")
        try:
            form = parse_form(request.body)
        except MalformedFormError as malformed:
            return problem(400, malformed.reason, "The message is not a strict form.")
        if refusal := self._refuse(form, now):
            return refusal
        if form.get("method") not in METHODS:
            return problem(400, "method_unknown", f"method is none of {', '.join(METHODS)}.")
        written = form["param"].encode()
        try:
            param = parse_object(written)
        except MalformedJsonError as malformed:
            return problem(400, malformed.reason, "param is not a strict JSON object.")
        members = f'"method":"{form["method"]}","param":'.encode() + written
        rows, unreadable = waybill_row(param.get("kuaidicom"), param.get("kuaidinum"), members)
        digest = hashlib.sha256(f"{form['method']}\n".encode() + written).digest()
        return Delivery(
            delivery_id=f"kuaidi100-{digest.hex()[:40]}",
            stream="kuaidi100_labels",
            rows=rows,
            digest=digest,
            unreadable=unreadable,
        )

    def acknowledge(self, delivery: Delivery, outcome: Outcome) -> Reply:
        """Answer as Kuaidi100's own messages are answered; what was stored need not be sent again."""
        return json_reply(200, {"result": True, "returnCode": "200", "message": "成功"})

    def _refuse(self, form: Mapping[str, str], now: datetime) -> Reply | None:
        param, t, told = (form.get(name, "") for name in ("param", "t", "sign"))
        if not _MILLISECONDS.fullmatch(t):
            return problem(400, "signature_parts", "t is missing or not well formed.")
        texts = [param, t, self._config.key]
        fits = [is_signed(told, sign_texts("concat_md5", texts, secret)) for secret in self._config.secrets]
        if not _SIGN.fullmatch(told) or not any(fits) or form.get("key") != self._config.key:
            return problem(401, "signature_invalid", "The message is not signed with the agreed secret.")
        if abs(now.timestamp() - int(t) / 1000) > self._config.tolerance_s:
            return problem(401, "timestamp_stale", "The message is too old or from the future: sign it again.")
        return None


KIND = Kind(
    name="kuaidi100_label",
    transport=Transport.PUSH,
    profile=True,
    secrets=("sign_secrets",),
    build=lambda config, secrets: Kuaidi100Label(parse_config(config, secrets)),
)
