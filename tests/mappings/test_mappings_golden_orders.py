"""Golden cases of takeaway orders, e-waybills and recycling: documents rebuilt from facts, and what they must become."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

import pytest
from tests_support.golden import at, cleared, kept, only, quantified, reasons, reference, verdicts

from connectors.base import Delivery, Inbound
from connectors.formats import kuaidi100_label, wechat_waybill
from connectors.legacy_signing import sign_texts
from connectors.webhook_signature import parse_secret, sign_message
from mappings import Translation, event_token, load_mapping

Apply = Callable[..., Translation]
TAKEAWAY, RECYCLING = "takeaway.orders.v1", "zhenhai-green-passbook.recycling.v1"
WECHAT, KUAIDI = "ewaybill.wechat_waybills.v1", "ewaybill.kuaidi100_labels.v1"
BEIJING = "beijing-green-life.acts.v1"
SHANXI, CAPITAL = 140100, 110100

# The fields of a real order (its number, times, status, place and note), with made-up people; the hub adds UserId.
ORDER: dict[str, Any] = {
    "orderId": 5301890193521352344, "ctime": 1764745851, "utime": 1764745851, "status": 8, "dinnersNumber": 99,
    "caution": "[预订人]18400000000_0000 环保单，顾客不需要附带餐具", "cityId": 653200, "recipientName": "张三",
    "recipientPhone": "18400000000_0000", "backupRecipientPhone": "[\"18400000000_0000\"]", "recipientAddress": "某村",
    "latitude": 36.266318, "longitude": 81.744618, "detail": "[{\"food_name\":\"蛋糕\",\"quantity\":1}]",
    "originalPrice": 3.9, "total": 0.02, "poiPhone": "025-00000000", "UserId": "mt-000123",
}  # fmt: skip

WAYBILL: dict[str, Any] = {
    "waybill": "SF:123456789", "number": "123456789",
    "order": {
        "order_id": "01234567890123456789", "openid": "oABC123456", "delivery_id": "SF", "waybill_id": "123456789",
        "order_status": 0, "create_time": 1791161640, "region": CAPITAL,
        "waybill_data": [{"key": "SF_bagAddr", "value": "广州"}], "receiver": {"name": "张三"},
    },
}  # fmt: skip

LABEL: dict[str, Any] = {
    "waybill": "SF:123456789", "number": "123456789", "method": "order",
    "param": {
        "kuaidicom": "shunfeng", "kuaidinum": "123456789", "orderId": "B-1", "UserId": "kd100-7",
        "printTime": "2026-10-05 08:54:30", "reorder": False, "region": CAPITAL, "cargo": "书",
        "recMan": {"name": "张三", "mobile": "18400000000"}, "sendMan": {"name": "李四"},
    },
}  # fmt: skip

DROP: dict[str, Any] = {
    "inputUserId": "zh-000123", "machineCode": "ZH0007", "recycleDate": "2026-10-05 07:40:12", "weighWeight": "1.250",
    "resourceName": "旧衣物", "actualMoney": "0.00", "status": 4, "violationStatus": 0, "reckonPoints": 12,
    "actualPoints": 12, "isIntegral": 2, "wastePhoto": "https://example.invalid/1.jpg", "barcode": "6900000000000",
}  # fmt: skip


def label(**changed: Any) -> dict[str, Any]:
    top = {name: value for name, value in changed.items() if name in LABEL}
    inner = {name: value for name, value in changed.items() if name not in LABEL}
    return LABEL | top | {"param": LABEL["param"] | inner}


def waybill(**changed: Any) -> dict[str, Any]:
    return WAYBILL | {"order": WAYBILL["order"] | changed}


# ----- takeaway -----


def test_an_order_without_utensils_is_one_act(apply: Apply, key: bytes) -> None:
    record = only(apply(TAKEAWAY, ORDER))
    del record["row"]
    moment = datetime.fromtimestamp(1764745851, UTC)
    assert record == {
        "source_id": "5301890193521352344", "version": 1764745851, "account": "mt-000123", "cancelled": False,
        "posted_at": moment, "role": "operator", "behaviour": "FOOD-NOTABLEWARE", "start_at": moment,
        "end_at": moment, "precision": "second", "quantity_micro": 1_000_000, "unit": "order",
        "event_key": event_token(key, "origin", "5301890193521352344"), "payment_key": None, "region": 653200,
        "claimed_mg": None,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("city", "milligrams", "factor"),
    [(SHANXI, 45_720, "shanxi-2022-notableware"), (CAPITAL, 23_000, "beijing-handbook-notableware")],
    ids=["Shanxi 2022, press accounts: 45.72 g an order", "Beijing handbook: at least 23 g an order"],
)
def test_an_order_is_worth_the_figure_of_its_place(apply: Apply, city: int, milligrams: int, factor: str) -> None:
    assert reference("takeaway", apply(TAKEAWAY, ORDER | {"cityId": city})) == (milligrams, factor)


@pytest.mark.parametrize("number", [0, 1, 5, 10, -10, "0", 11, 99.5, None])
def test_an_order_that_does_not_refuse_utensils_is_set_aside_with_the_reason(apply: Apply, number: object) -> None:
    assert reasons(apply(TAKEAWAY, ORDER | {"dinnersNumber": number})) == ["no_reduction"]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"status": 1}, "not_final"),
        ({"status": 2}, "not_final"),
        ({"status": 4}, "not_final"),
        ({"status": 7}, "unknown_status"),
        ({"status": None}, "missing_status"),
        ({"UserId": None}, "missing_account"),
        ({"orderId": None}, "missing_source_id"),
        ({"utime": -1}, "bad_version"),
        ({"ctime": 1764745851000}, "time_out_of_range"),
        ({"ctime": "yesterday"}, "bad_time"),
        ({"cityId": 999999}, "bad_region"),
    ],
)
def test_an_order_that_says_something_else_is_set_aside(apply: Apply, change: dict[str, Any], reason: str) -> None:
    assert reasons(apply(TAKEAWAY, ORDER | change)) == [reason]


def test_a_cancelled_or_refunded_order_takes_the_act_back(apply: Apply) -> None:
    back = ORDER | {"status": 9, "utime": 1764749451}
    records = apply(TAKEAWAY, ORDER, back).records
    assert records["cancelled"].to_list() == [False, True]
    assert records["version"].to_list() == [1764745851, 1764749451]
    assert records["source_id"].n_unique() == records["event_key"].n_unique() == 1


def test_an_order_that_the_city_tells_of_as_well_counts_once(apply: Apply, good: dict[str, dict[str, Any]]) -> None:
    city = good[BEIJING] | {
        "scene": "NO_TABLEWARE", "orderNo": "5301890193521352344", "beginTime": "2025-12-03T15:10:51+08:00",
        "endTime": "2025-12-03T15:10:51+08:00", "distance": None, "carbonReduction": "45.72", "payNo": None,
    }  # fmt: skip
    result = cleared(("takeaway", apply(TAKEAWAY, ORDER)), ("beijing-green-life", apply(BEIJING, city)))
    assert [verdict for verdict, *_ in verdicts(result).values()] == ["counted", "duplicate"]


# ----- e-waybills -----


def test_a_waybill_of_wechat_is_one_parcel(apply: Apply, key: bytes) -> None:
    record = only(apply(WECHAT, WAYBILL))
    del record["row"]
    assert record == {
        "source_id": "SF:123456789", "version": 0, "account": "oABC123456", "cancelled": False, "posted_at": None,
        "role": "operator", "behaviour": "USE-EWAYBILL", "start_at": at(2026, 10, 5, 0, 54),
        "end_at": at(2026, 10, 5, 0, 54), "precision": "second", "quantity_micro": 1_000_000, "unit": "parcel",
        "event_key": event_token(key, "origin", "123456789"), "payment_key": None, "region": CAPITAL,
        "claimed_mg": None,
    }  # fmt: skip


def test_a_label_of_kuaidi100_is_the_same_parcel(apply: Apply) -> None:
    record, other = only(apply(KUAIDI, LABEL)), only(apply(WECHAT, WAYBILL))
    assert (record["source_id"], record["event_key"]) == (other["source_id"], other["event_key"])
    assert (record["account"], record["version"]) == ("kd100-7", 0)
    assert record["start_at"] == record["end_at"] == at(2026, 10, 5, 0, 54, 30)


@pytest.mark.parametrize(
    ("mapping", "document", "milligrams"),
    [
        (WECHAT, WAYBILL, 5_000),
        (KUAIDI, LABEL, 5_000),
        (WECHAT, waybill(region=None), 2_500),
        (KUAIDI, label(region=None), 2_500),
    ],
    ids=[
        "Beijing 2023: 5 g a parcel",
        "Beijing 2023: 5 g a label",
        "Cainiao's totals: 2.5 g",
        "Cainiao's totals: 2.5 g ",
    ],
)
def test_a_parcel_is_worth_the_figure_of_its_place(
    apply: Apply, mapping: str, document: dict[str, Any], milligrams: int
) -> None:
    assert reference("ewaybill", apply(mapping, document))[0] == milligrams


def test_one_waybill_told_by_two_reporters_is_one_act(apply: Apply) -> None:
    both = (("ewaybill-a", apply(WECHAT, WAYBILL)), ("ewaybill-b", apply(KUAIDI, LABEL)))
    same = (("ewaybill", apply(WECHAT, WAYBILL)), ("ewaybill", apply(KUAIDI, LABEL)))
    for told in (both, both[::-1], same):
        result = cleared(*told)
        told_verdicts = [(verdict, rule) for verdict, rule, _ in verdicts(result).values()]
        assert sorted(verdict for verdict, _ in told_verdicts) == ["counted", "duplicate"]
        assert ("duplicate", "T2") in told_verdicts
        assert result.events.height == 1
        assert result.decisions["counted_mg"].sum() == 5_000


def test_two_waybills_are_two_acts(apply: Apply) -> None:
    other = waybill(create_time=1791161700) | {"waybill": "ZTO:75312345678901", "number": "75312345678901"}
    later = label(printTime="2026-10-05 11:54:30") | {"waybill": "SF:987654321", "number": "987654321"}
    result = cleared(("ewaybill-a", apply(WECHAT, WAYBILL, other)), ("ewaybill-b", apply(KUAIDI, later)))
    assert {verdict for verdict, *_ in verdicts(result).values()} == {"counted"}


def test_a_parcel_that_the_city_tells_of_as_well_counts_once(apply: Apply, good: dict[str, dict[str, Any]]) -> None:
    city = good[BEIJING] | {
        "scene": "EWAYBILL", "orderNo": "123456789", "beginTime": "2026-10-05T08:54:20+08:00", "payNo": None,
        "endTime": "2026-10-05T08:54:20+08:00", "distance": None, "carbonReduction": "5.00",
    }  # fmt: skip
    result = cleared(("ewaybill", apply(WECHAT, WAYBILL)), ("beijing-green-life", apply(BEIJING, city)))
    assert [verdict for verdict, *_ in verdicts(result).values()] == ["counted", "duplicate"]


def rows_of_both_connectors() -> tuple[bytes, bytes]:
    """The same parcel as the two services write it, through the two connectors."""
    now, stamp = at(2026, 10, 5, 0, 55), "1791161700"
    token, secret, webhook = "a-token-of-16-characters", "a-secret-of-16-characters", "whsec_" + "QUFB" * 8
    order = json.dumps(WAYBILL["order"] | {"waybill_id": "SF 1234-5678 9012"}).encode()
    signature = sign_texts("sorted_texts_sha1", [stamp, "n1"], token)
    headers = {
        "webhook-id": "m1", "webhook-timestamp": stamp,
        "webhook-signature": sign_message(parse_secret(webhook), message_id="m1", timestamp=int(stamp), body=order),
    }  # fmt: skip
    hub = wechat_waybill.WeChatWaybill(
        wechat_waybill.parse_config({}, {"push_tokens": token, "webhook_secrets": webhook})
    )
    query = {"signature": signature, "timestamp": stamp, "nonce": "n1"}
    first = hub.receive(Inbound(method="POST", path="/", query=query, headers=headers, body=order), now=now)
    param, t = json.dumps(LABEL["param"] | {"kuaidinum": "sf123456789012"}), stamp + "123"
    sign = sign_texts("concat_md5", [param, t, "KEY"], secret)
    body = urlencode({"method": "order", "key": "KEY", "t": t, "param": param, "sign": sign}).encode()
    config = kuaidi100_label.parse_config({"key": "KEY"}, {"sign_secrets": secret})
    second = kuaidi100_label.Kuaidi100Label(config).receive(Inbound(method="POST", path="/", body=body), now=now)
    assert isinstance(first, Delivery)
    assert isinstance(second, Delivery)
    return first.rows[0], second.rows[0]


def test_one_parcel_written_in_two_ways_is_one_act_from_the_wire_to_the_verdict(apply: Apply) -> None:
    wechat, kuaidi = rows_of_both_connectors()
    result = cleared(("ewaybill-a", apply(WECHAT, wechat)), ("ewaybill-b", apply(KUAIDI, kuaidi)))
    assert sorted(verdict for verdict, *_ in verdicts(result).values()) == ["counted", "duplicate"]
    assert result.decisions["counted_mg"].sum() == 5_000


def test_a_waybill_that_was_cancelled_is_taken_back(apply: Apply) -> None:
    assert apply(WECHAT, WAYBILL, waybill(order_status=1)).records.select("version", "cancelled").rows() == [
        (0, False), (1, True)
    ]  # fmt: skip
    again, back = label(method="printOld"), label(method="cancel")
    records = apply(KUAIDI, LABEL, again, back).records
    assert records["cancelled"].to_list() == [False, False, True]
    assert records["version"].to_list() == [0, 1, 2]
    assert records["source_id"].n_unique() == 1


@pytest.mark.parametrize(
    ("mapping", "document", "reason"),
    [
        (WECHAT, waybill(order_status=2), "unknown_status"),
        (WECHAT, waybill(order_status=None), "missing_version"),
        (WECHAT, waybill(openid=None), "missing_account"),
        (WECHAT, waybill(create_time=None), "missing_time"),
        (WECHAT, waybill(create_time=1791161640000), "time_out_of_range"),
        (WECHAT, waybill(region=999999), "bad_region"),
        (WECHAT, {"order": WAYBILL["order"]}, "missing_source_id"),
        (KUAIDI, label(method="other"), "missing_version"),
        (KUAIDI, label(UserId={"name": "张三"}), "wrong_type"),
        (KUAIDI, label(printTime="5 Oct 2026"), "bad_time"),
        (KUAIDI, label(printTime="2026-12-31 08:54:30"), "time_ahead"),
    ],
)
def test_a_waybill_that_cannot_be_used_is_set_aside(
    apply: Apply, mapping: str, document: dict[str, Any], reason: str
) -> None:
    assert reasons(apply(mapping, document)) == [reason]


# ----- recycling -----


@pytest.mark.parametrize(
    ("name", "weight", "behaviour", "quantity", "milligrams"),
    [
        ("旧衣物", "1.250", "CLO-RECYCLE", 1_250_000, 1_600_000),
        ("纺织物", 2, "CLO-RECYCLE", 2_000_000, 2_560_000),
        ("纸类", 0.5, "HOME-WASTESORT", 500_000, None),
        ("厨余垃圾", "3.2", "HOME-WASTESORT", 3_200_000, None),
        ("塑料", "0", "HOME-WASTESORT", 0, 0),
    ],
    ids=["Luzhou: clothes 1280 g/kg", "Luzhou: clothes 1280 g/kg ", "paper", "kitchen waste", "nothing was weighed"],
)
def test_a_settled_drop_is_kilograms_and_never_grams_of_carbon(
    apply: Apply, name: str, weight: Any, behaviour: str, quantity: int, milligrams: int | None
) -> None:
    translation = apply(RECYCLING, DROP | {"resourceName": name, "weighWeight": weight})
    record = only(translation)
    assert (record["behaviour"], record["quantity_micro"], record["unit"]) == (behaviour, quantity, "kg")
    assert (record["claimed_mg"], record["role"], record["version"]) == (None, "operator", 4)
    assert record["start_at"] == record["end_at"] == at(2026, 10, 4, 23, 40, 12)
    assert record["source_id"] == "ZH0007|2026-10-05 07:40:12|zh-000123"
    if milligrams is not None:
        assert quantified(("zhenhai", translation))["reference_mg"].to_list() == [milligrams]


def test_points_are_never_read_as_grams(apply: Apply) -> None:
    plain = only(apply(RECYCLING, DROP))
    assert only(apply(RECYCLING, DROP | {"reckonPoints": 99_999, "actualPoints": 99_999})) == plain


def test_a_drop_becomes_an_act_when_it_is_settled(apply: Apply) -> None:
    course = [DROP | {"status": status} for status in (1, 2, 3, 4)]
    translation = apply(RECYCLING, *course)
    assert translation.quarantined.select("row", "reason").rows() == [(row, "not_final") for row in (0, 1, 2)]
    assert translation.records.select("row", "version", "cancelled").rows() == [(3, 4, False)]


@pytest.mark.parametrize("status", [1, 3, 4])
def test_a_violation_takes_the_drop_back_whenever_it_is_found(apply: Apply, status: int) -> None:
    records = apply(RECYCLING, DROP, DROP | {"status": status, "violationStatus": 1}).records
    assert records.select("version", "cancelled").rows() == [(4, False), (5, True)]
    assert records["source_id"].n_unique() == records["event_key"].n_unique() == 1


def test_nothing_said_of_violations_means_none(apply: Apply) -> None:
    silent = {name: value for name, value in DROP.items() if name != "violationStatus"}
    assert only(apply(RECYCLING, silent))["cancelled"] is False
    assert reasons(apply(RECYCLING, silent | {"status": 2})) == ["not_final"]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"status": 5}, "missing_status"),
        ({"status": 0}, "missing_status"),
        ({"status": None}, "missing_version"),
        ({"violationStatus": 2}, "unknown_status"),
        ({"resourceName": "电池车"}, "unknown_scene"),
        ({"resourceName": None}, "missing_scene"),
        ({"weighWeight": "-1"}, "negative_quantity"),
        ({"weighWeight": "1kg"}, "bad_quantity"),
        ({"weighWeight": "1234567890123"}, "quantity_out_of_range"),
        ({"recycleDate": "2026-10-05"}, "bad_time"),
        ({"machineCode": "ZH|7"}, "bad_source_id"),
        ({"inputUserId": None}, "missing_source_id"),
    ],
)
def test_a_drop_that_cannot_be_used_is_set_aside(apply: Apply, change: dict[str, Any], reason: str) -> None:
    assert reasons(apply(RECYCLING, DROP | change)) == [reason]


# ----- personal data -----


@pytest.mark.parametrize(
    ("name", "document", "personal"),
    [
        (TAKEAWAY, ORDER, ["张三", "18400000000", "某村", "36.26", "81.74", "环保单", "蛋糕", "0.02", "025-"]),
        (WECHAT, WAYBILL, ["张三", "广州"]),
        (KUAIDI, LABEL, ["张三", "李四", "18400000000", "书"]),
        (RECYCLING, DROP, ["1.jpg", "6900000000000", "0.00"]),
    ],
)
def test_personal_fields_do_not_reach_storage(name: str, document: dict[str, Any], personal: list[str]) -> None:
    (stored,) = kept(name, document)
    assert all(text in json.dumps(document, ensure_ascii=False) for text in personal)
    assert not any(text in stored for text in personal)
    for path in load_mapping(name).drop:
        assert f'"{path[-1]}"' not in stored
