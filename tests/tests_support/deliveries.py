"""Deliveries of the Beijing and Kuaidian formats, built by hand, for tests of the pipeline."""

import json
from hashlib import sha256
from typing import Any

from connectors.base import Delivery
from hub.context import Hub
from hub.db import reading, writing
from hub.participants import Platform, add_participant, open_platform, parse_document

BEIJING = {
    "id": "beijing-green-life", "name_zh": "北京", "name_en": "Beijing", "kind": "city", "connector": "signed_push",
    "connector_config": {"stream": "acts", "role": "aggregator", "drops": ["mobile", "nickname"]},
    "secrets": {"webhook_secrets": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"}, "stream": "acts",
    "mapping": "beijing-green-life.acts.v1",
    "behaviours": ["MOB-BIKE", "MOB-METRO", "MOB-BUS", "FOOD-NOTABLEWARE", "FOOD-CLEANPLATE", "USE-EWAYBILL"],
}  # fmt: skip
KUAIDIAN = {
    "id": "kuaidian", "name_zh": "快电", "name_en": "Kuaidian", "kind": "enterprise", "connector": "tcec102",
    "connector_config": {"operator_id": "123456789"},
    "secrets": {
        "operator_secret": "1234567890abcdef", "data_secret": "1234567890abcdef", "data_secret_iv": "1234567890abcdef",
        "sig_secret": "1234567890abcdef", "token_key": "00" * 32,
    },
    "stream": "charge_orders", "mapping": "kuaidian.charge_orders.v1", "behaviours": ["MOB-EVCHARGE"],
}  # fmt: skip


def join(hub: Hub, document: dict[str, Any]) -> Platform:
    """Onboard a platform."""
    parsed = parse_document(json.dumps(document))
    with writing(hub.engine) as session:
        add_participant(session, hub.ring, parsed, hub.clock())
    with reading(hub.engine) as session:
        return open_platform(session, hub.ring, parsed.id)


def act(number: str, account: str = "bj-1", **changes: Any) -> dict[str, Any]:
    """A two-kilometre bike ride on 18 November, as Beijing tells it."""
    return {
        "tradeNo": f"BJ{number}", "ver": 1, "memberId": account, "mobile": "138****0001", "nickname": "Li",
        "scene": "BIKE", "beginTime": "2026-11-18T08:12:03+08:00", "endTime": "2026-11-18T08:24:03+08:00",
        "distance": 2000, "orderNo": f"ORD{number}", "payNo": None, "carbonReduction": "500.00", "status": "FINISHED",
        "updateTime": "2026-11-18T09:00:00+08:00", "cityCode": "110000",
    } | changes  # fmt: skip


def charge(number: str, account: str = "kd-1", **changes: Any) -> dict[str, Any]:
    """A charge of 20 kWh on 18 November, as T/CEC 102 tells it."""
    return {
        "StartChargeSeq": f"123456789{number:0>18}", "ConnectorID": "1", "StartTime": "2026-11-18 10:00:00",
        "EndTime": "2026-11-18 11:00:00", "TotalPower": 20.0, "TotalElecMoney": 20.0, "TotalSeviceMoney": 5.0,
        "TotalMoney": 25.0, "StopReason": 2, "SumPeriod": 0, "ChargeDetails": [], "UserId": account,
    } | changes  # fmt: skip


def delivery(name: str, *rows: dict[str, Any] | bytes, stream: str = "acts") -> Delivery:
    """One message with these rows."""
    documents = tuple(row if isinstance(row, bytes) else json.dumps(row).encode() for row in rows)
    return Delivery(delivery_id=name, stream=stream, rows=documents, digest=sha256(b"".join(documents)).digest())
