"""Golden cases of people's own bills: what is certain is declared, and declares nothing by itself."""

from collections.abc import Callable
from typing import Any

import pytest
from tests_support.golden import at, only, reasons, require_nothing_personal

from connectors.formats.bill_csv import MERCHANTS
from mappings import Translation, event_token, load_mapping
from mappings.model import Words

Apply = Callable[..., Translation]
BILLS = "own-bills.payments.v1"
ROW: dict[str, Any] = {
    "bill": "alipay", "paid_at": "2026-10-05 08:31:10", "kind": "交通出行", "merchant": "哈啰单车", "side": "支出",
    "status": "交易成功", "refund": "none", "payment": "2026100522001476", "order": "MB7788990011",
}  # fmt: skip


def test_a_row_of_a_bill_is_a_declared_payment_of_whoever_brought_it(apply: Apply, key: bytes) -> None:
    record = apply(BILLS, ROW).records.drop("row").row(0, named=True)
    paid = at(2026, 10, 5, 0, 31, 10)
    assert record == {
        "source_id": "alipay|2026100522001476", "version": 1, "account": "linked", "cancelled": False,
        "posted_at": None, "role": "declared", "behaviour": "MOB-BIKE", "start_at": paid, "end_at": paid,
        "precision": "second", "quantity_micro": None, "unit": None,
        "event_key": event_token(key, "origin", "MB7788990011"),
        "payment_key": event_token(key, "payment", "2026100522001476"), "region": None, "claimed_mg": None,
    }  # fmt: skip


def test_every_merchant_that_the_connector_names_has_a_behaviour() -> None:
    words = load_mapping(BILLS).fields["behaviour"][0].transform
    assert isinstance(words, Words)
    assert set(words.theirs) == set(MERCHANTS.values())


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"merchant": None}, "missing_scene"),
        ({"side": "收入"}, "no_reduction"),
        ({"side": "不计收支", "status": "退款成功"}, "no_reduction"),
        ({"side": None}, "no_reduction"),
        ({"status": "等待付款"}, "not_final"),
        ({"paid_at": "2026/10/5 8:31"}, "bad_time"),
        ({"payment": None}, "missing_source_id"),
        ({"refund": "some"}, "unknown_status"),
    ],
)
def test_what_a_bill_does_not_say_for_certain_is_set_aside(apply: Apply, change: dict[str, Any], reason: str) -> None:
    assert reasons(apply(BILLS, ROW | change)) == [reason]


def test_a_later_export_takes_back_what_was_refunded(apply: Apply) -> None:
    told = apply(BILLS, ROW, ROW | {"refund": "full", "status": "已全额退款"}).records
    assert told["version"].to_list() == [1, 3]
    assert told["cancelled"].to_list() == [False, True]
    assert told["source_id"].n_unique() == 1
    part = only(apply(BILLS, ROW | {"refund": "part", "status": None}))
    assert (part["cancelled"], part["version"]) == (False, 2)


def test_personal_fields_do_not_survive() -> None:
    require_nothing_personal(BILLS, ROW)
