"""What the tests of mappings share: a clock, a key, and one good document of every platform."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import polars as pl
import pytest

from mappings import Mapping, Translation, load_mapping, parse_mapping, translate

NOW = datetime(2026, 11, 21, 2, 0, tzinfo=UTC)
KEY = b"a key for tests, 32 bytes long.."

GOOD: dict[str, dict[str, Any]] = {
    "beijing-green-life.acts.v1": {
        "tradeNo": "BJ202610050001", "ver": 1, "memberId": "bj-000123", "mobile": "138****0001", "nickname": "小明",
        "scene": "BIKE", "beginTime": "2026-10-05T08:12:03+08:00", "endTime": "2026-10-05T08:31:40+08:00",
        "distance": 3120, "orderNo": "MB7788990011", "payNo": "PAY-55", "carbonReduction": "780.00",
        "status": "FINISHED", "updateTime": "2026-10-06T01:00:00+08:00", "cityCode": "110000",
    },
    "citic-carbon.acts.v1": {
        "cardTransactionId": "C9001", "version": 1, "accountId": "citic-000123", "maskedPan": "6217****0001",
        "type": "BIKE_PAY", "transactionTime": "2026-10-05 08:31:10", "amount": "3.00",
        "merchantOrderNo": "MB7788990011", "payNo": "PAY-55", "carbonG": None, "status": "BOOKED",
        "updatedAt": "2026-10-06T01:00:00Z",
    },
    "kuaidian.charge_orders.v1": {
        "StartChargeSeq": "123456789665000001176708522", "ConnectorID": "1", "StartTime": "2019-04-18 11:29:29",
        "EndTime": "2019-04-18 11:39:30", "TotalPower": 6.5, "TotalElecMoney": 6.5, "TotalSeviceMoney": 6.5,
        "TotalMoney": 13.0, "StopReason": 2, "SumPeriod": 0, "ChargeDetails": [], "UserId": "kd-000123",
    },
    "wechat-sports.steps.v1": {
        "openid": "oGZUI0egBJY1zhBYw2KhdUfwVJJE", "date": "2026-10-05", "timestamp": 1791129600, "step": 8123,
    },
    "shenzhen-transit.trips.v1": {
        "kind": "bus",
        "tap": {
            "deal_date": "2018-09-01 05:39:10", "close_date": "2018-09-01 00:00:00", "card_no": "CFBAJECDH",
            "deal_value": "800", "deal_type": "巴士", "company_name": "金华南巴士", "car_no": "粤BU2313",
            "station": "332(观澜)", "conn_mark": "0", "deal_money": "595", "equ_no": "223005202",
        },
    },
    "kuaidian.cdrs.v1": {
        "country_code": "CN", "party_id": "KDN", "id": "12345", "start_date_time": "2026-10-05T21:39:09Z",
        "end_date_time": "2026-10-05T23:37:32Z", "session_id": "123456789665000001176708522",
        "cdr_token": {"uid": "012345678", "type": "RFID", "contract_id": "kd-000123"}, "auth_method": "WHITELIST",
        "total_cost": {"excl_vat": 4.0, "incl_vat": 4.4}, "total_energy": 15.342, "total_time": 1.973,
        "credit": False, "credit_reference_id": None, "last_updated": "2026-10-05T23:37:33Z",
    },
    "hello-bike.trips.v1": {
        "provider_id": "p", "device_id": "d", "trip_id": "MB7788990011", "start_time": 1791158400000,
        "end_time": 1791159000000, "start_location": {"lat": 39.9, "lng": 116.4}, "distance": 3120, "duration": 600,
    },
    "didi.orders.v1": {
        "order_id": "1125922289295589", "call_phone": "13800000001", "passenger_name": "张三",
        "member_id": "1125900001", "is_carpool": "1", "status": "2", "begin_charge_time": "2026-10-05 08:00:00",
        "finish_time": "2026-10-05 08:30:00", "normal_distance": "12.30", "total_price": "25.50",
    },
    "baidu-maps.tracks.v1": {
        "trip_id": "NW0001", "entity_name": "bd-000123", "transport_mode": "riding", "start_time": 1791158400,
        "end_time": 1791159000, "distance": 3120.50,
    },
    "takeaway.orders.v1": {
        "orderId": 5301890193521352344, "UserId": "mt-000123", "ctime": 1791158400, "utime": 1791161700, "status": 8,
        "dinnersNumber": 99, "cityId": 140100, "caution": "环保单，顾客不需要附带餐具", "recipientName": "张三",
        "recipientPhone": "18400000000_0000", "recipientAddress": "某村", "latitude": 36.2, "longitude": 81.7,
        "detail": "[]", "originalPrice": 3.9,
    },
    "ewaybill.wechat_waybills.v1": {
        "waybill": "SF:123456789", "number": "123456789",
        "order": {
            "order_id": "01234567890123456789", "openid": "oABC123456", "delivery_id": "SF", "order_status": 0,
            "waybill_id": "123456789", "create_time": 1791161640, "region": 110100, "receiver": {"name": "张三"},
        },
    },
    "ewaybill.kuaidi100_labels.v1": {
        "waybill": "SF:123456789", "number": "123456789", "method": "order",
        "param": {
            "kuaidicom": "shunfeng", "kuaidinum": "123456789", "orderId": "B-1", "UserId": "kd100-7",
            "printTime": "2026-10-05 08:54:30", "region": 110100, "recMan": {"name": "张三"}, "cargo": "书",
        },
    },
    "zhenhai-green-passbook.recycling.v1": {
        "inputUserId": "zh-000123", "machineCode": "ZH0007", "recycleDate": "2026-10-05 07:40:12",
        "weighWeight": "1.250", "resourceName": "旧衣物", "actualMoney": "0.00", "status": 4, "violationStatus": 0,
        "reckonPoints": 12, "wastePhoto": "https://example.invalid/1.jpg",
    },
}  # fmt: skip

# A format that needs what the five of the hub do not: a zone with summer time, a link's account, seconds since 1970,
# role and precision by word, several regions, a join as key, statuses that are not final.
ODD = b"""
mapping = "odd-platform.acts.v3"
about = "a format for tests"
sources = ["made up"]
keep = ["id", "state", "act", "who", "exact", "from", "to", "seen", "amount", "g", "city", "bill", "period"]

[[quarantine]]
reason = "not_final"
when = { not = { path = "state", in = ["settled", "returned"] } }

[fields]
source_id = { path = "id" }
version = { path = "seen" }
account = { link = true }
cancelled = { path = "state", reversed = ["returned"], normal = ["settled", "open"] }
behaviour = { path = "act", enum = { bill = "FIN-BILLPAY", rental = "MOB-BIKE" } }
role = { path = "who", enum = { us = "operator", them = "aggregator" } }
precision = { path = "exact", enum = { s = "second", min = "minute" } }
start_at = { path = "from", time = "local", zone = "Europe/Berlin" }
end_at = { path = "to", time = "unix", unit = "s" }
quantity = { path = "amount", from = "m", unit = "km" }
claimed_mg = { path = "g", from = "g" }
region = { path = "city", enum = { "north" = 110000, "south" = 440100 } }
event_key = { join = ["bill", "period"], with = "/", token = "origin" }
"""
ODD_DOCUMENT: dict[str, Any] = {
    "id": "r-1", "state": "settled", "act": "rental", "who": "us", "exact": "min", "from": "2026-07-01 10:00:00",
    "to": 1782894600, "seen": 2, "amount": "1500", "g": 12.5, "city": "north", "bill": "B1", "period": "2026-07",
}  # fmt: skip


def as_series(documents: list[Any]) -> pl.Series:
    """Write documents as JSON; bytes and texts stay as they are."""
    written = [
        document if isinstance(document, bytes)
        else document.encode() if isinstance(document, str)
        else json.dumps(document, ensure_ascii=False).encode()
        for document in documents
    ]  # fmt: skip
    return pl.Series(written, dtype=pl.Binary)


@pytest.fixture(scope="session")
def good() -> dict[str, dict[str, Any]]:
    return GOOD


@pytest.fixture(scope="session")
def odd() -> tuple[Mapping, dict[str, Any]]:
    return parse_mapping("odd-platform.acts.v3", ODD), ODD_DOCUMENT


@pytest.fixture(scope="session")
def odd_file() -> bytes:
    return ODD


@pytest.fixture(scope="session")
def now() -> datetime:
    return NOW


@pytest.fixture(scope="session")
def key() -> bytes:
    return KEY


@pytest.fixture(scope="session")
def series() -> Callable[[list[Any]], pl.Series]:
    return as_series


@pytest.fixture(scope="session")
def apply() -> Callable[..., Translation]:
    """Translate documents with a mapping or its id; a mapping that asks for a link gets one."""

    def run(mapping: Mapping | str, *documents: Any) -> Translation:
        chosen = load_mapping(mapping) if isinstance(mapping, str) else mapping
        accounts = pl.Series(["linked"] * len(documents), dtype=pl.String)
        return translate(chosen, as_series(list(documents)), token_key=KEY, now=NOW, accounts=accounts)

    return run
