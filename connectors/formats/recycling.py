"""Recycling records of weighing machines: the public form `recycleRecordSave`, inside the hub's signature. Pure.

A machine's platform posts a list of records: who dropped what, when, at which machine, how many kilograms, and how far
the record has come (`status` 1 dropped, 2 collected, 3 sorted, 4 settled; `violationStatus` 1: what was dropped was not
what was told). The form itself knows only the header `sendBy`, a merchant's number that anybody could write: here it
must be the agreed one and the message must carry a signature as Standard Webhooks say.

Ids: machine, date and account together, since the form has no number of its own. Time: Beijing time. Corrections: the
same record with a later status, its version; only a settled record is an act, and a violation takes it back for good.
Answers are in the form's own words, `{success, error, result}`, with the status that a machine's platform can act on.

Source: public interface document "投放记录" (easydoc 50212908).
"""

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from connectors.base import Connector, Delivery, Description, Inbound, Outcome, Reply, Transport, json_reply
from connectors.config import Fields
from connectors.kind import Kind
from connectors.strict_json import MalformedJsonError, Split, split_records
from connectors.webhook_signature import MAX_TOLERANCE_S, WebhookKeys, parse_keys, refuse_unsigned

_INTERFACE = "/recycleRecordSave"
_REFUSED = {400: "请求头缺失或格式错误", 401: "签名无效或已过期"}


@dataclass(frozen=True, slots=True, kw_only=True)
class RecyclingConfig:
    send_by: str
    keys: WebhookKeys = field(repr=False)
    tolerance_s: int = MAX_TOLERANCE_S
    body_bytes: int = 1024 * 1024
    rows: int = 2000


def parse_config(config: Mapping[str, object], secrets: Mapping[str, object]) -> RecyclingConfig:
    with Fields(secrets, where="secrets") as given:
        keys = parse_keys(given.text("webhook_secrets"))
    with Fields(config, where="config") as fields:
        return RecyclingConfig(
            send_by=fields.text("send_by"),
            keys=keys,
            tolerance_s=fields.whole("tolerance_s", default=MAX_TOLERANCE_S, least=1, most=MAX_TOLERANCE_S),
            body_bytes=fields.whole("body_bytes", default=1024 * 1024, least=1024, most=16 * 1024 * 1024),
            rows=fields.whole("rows", default=2000, least=1, most=50_000),
        )


class Recycling(Connector):
    """Receiver of one merchant's recycling records."""

    def __init__(self, config: RecyclingConfig) -> None:
        self._config = config

    def describe(self) -> Description:
        return Description(
            name="recycling",
            title="recycling records, recycleRecordSave in the hub's signature (profile)",
            transport=Transport.PUSH,
            streams=("recycling",),
            role="operator",
            official=False,
            id_stability="derived",
            finality="revisable",
            correction_mode="version",
            lateness_class="weeks",  # collected, sorted and settled days after it was dropped
            drops=("wastePhoto", "barcode"),
        )

    def receive(self, request: Inbound, *, now: datetime) -> Delivery | Reply:
        if not request.path.rstrip("/").endswith(_INTERFACE):
            return _failure(404, "没有此接口")
        if request.method != "POST":
            return _failure(405, "仅支持 POST")
        if len(request.body) > self._config.body_bytes:
            return _failure(413, "报文过大")
        if refusal := refuse_unsigned(self._config.keys, request, now=now, tolerance_s=self._config.tolerance_s):
            return _failure(refusal.status, _REFUSED[refusal.status])
        told = request.headers.get("sendby", "").encode("utf-8", "replace")
        if not hmac.compare_digest(told, self._config.send_by.encode()):
            return _failure(403, "商户号不符")
        try:
            split = split_list(request.body)
        except MalformedJsonError:
            return _failure(400, "报文不是合法的 JSON 列表")
        if len(split.rows) + len(split.unreadable) > self._config.rows:
            return _failure(413, "记录过多")
        return Delivery(
            delivery_id=request.headers["webhook-id"],
            stream="recycling",
            rows=split.rows,
            digest=hashlib.sha256(request.body).digest(),
            unreadable=split.unreadable,
        )

    def acknowledge(self, delivery: Delivery, outcome: Outcome) -> Reply:
        """Tell how many records were taken or known already; the others will not become better by being sent again."""
        return json_reply(
            200,
            {
                "success": True,
                "error": None,
                "result": {
                    "accepted": outcome.accepted,
                    "replayed": outcome.replayed,
                    "refused": outcome.refused,
                    "quarantined": outcome.quarantined,
                    "unreadable": len(delivery.unreadable),
                },
            },
        )


def split_list(body: bytes) -> Split:
    """Take a message that must be exactly one JSON list apart into its elements as they were written.

    Raises:
        MalformedJsonError: it is not that.
    """
    if not body.lstrip(b" \t\r\n").startswith(b"["):
        raise MalformedJsonError("not_a_list")
    split = split_records(b'{"records":' + body + b"}", "records")
    if split.rest:  # the body closed its list and went on with members of its own
        raise MalformedJsonError("not_json")
    return split


def _failure(status: int, sentence: str) -> Reply:
    return json_reply(status, {"success": False, "error": sentence, "result": None})


KIND = Kind(
    name="recycling",
    transport=Transport.PUSH,
    profile=True,
    secrets=("webhook_secrets",),
    build=lambda config, secrets: Recycling(parse_config(config, secrets)),
)
