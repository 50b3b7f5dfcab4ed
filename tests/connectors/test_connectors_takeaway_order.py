"""Takeaway orders: a real order's fields, and a platform or a stranger that gets everything wrong."""

import hashlib
import json
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

import pytest

from connectors.base import Delivery, Inbound, Outcome, Reply
from connectors.config import ConfigError
from connectors.form_body import MalformedFormError, parse_form
from connectors.formats.takeaway_order import TakeawayOrder, parse_config
from connectors.legacy_signing import sign_pairs

KEY = "a key of 16 chars".replace(" ", "-")
NEW_KEY = "another-key-of-16-chars"
NOW = datetime(2026, 10, 6, 1, 0, tzinfo=UTC)
# The fields of a real order, with made-up people.
ORDER: dict[str, Any] = {
    "orderId": 5301890193521352344,
    "ctime": 1764745851,
    "utime": 1764745851,
    "status": 2,
    "dinnersNumber": 99,
    "caution": "收餐人隐私号 18400000000_0000，手机号 184****0000 环保单，顾客不需要附带餐具",
    "cityId": 653200,
    "recipientName": "张三",
    "recipientPhone": "18400000000_0000",
    "recipientAddress": "某村某号",
    "latitude": 36.266318,
    "longitude": 81.744618,
    "detail": '[{"food_name":"蛋糕","price":0.01,"quantity":1,"unit":"500克"}]',
    "UserId": "mt-000123",
}


def written(**changed: Any) -> str:
    return json.dumps(ORDER | changed, ensure_ascii=False, separators=(",", ":"))


def form(order: str | None = None, *, key: str = KEY, **changed: str) -> bytes:
    fields = {"developerId": "106825", "ePoiId": "shop-1", "order": written() if order is None else order} | changed
    return urlencode(fields | {"sign": sign_pairs("sorted_bare_sha1", fields, key)}).encode()


def post(body: bytes, method: str = "POST") -> Inbound:
    return Inbound(method=method, path="/", body=body)


def receiver(keys: str = KEY, **config: object) -> TakeawayOrder:
    return TakeawayOrder(parse_config({"developer_id": "106825"} | config, {"sign_keys": keys}))


def received(body: bytes, hub: TakeawayOrder | None = None) -> Delivery:
    delivery = (hub or receiver()).receive(post(body), now=NOW)
    assert isinstance(delivery, Delivery)
    return delivery


def refused(body: bytes, hub: TakeawayOrder | None = None) -> tuple[int, str]:
    answer = (hub or receiver()).receive(post(body), now=NOW)
    assert isinstance(answer, Reply)
    return answer.status, json.loads(answer.body)["type"].removeprefix("urn:tanlian:problem:")


def test_an_order_becomes_one_row_of_exactly_the_text_in_the_form() -> None:
    delivery = received(form())
    assert delivery.rows == (written().encode(),)
    assert (delivery.stream, delivery.delivery_id) == ("orders", "5301890193521352344-1764745851")
    assert delivery.digest == hashlib.sha256(written().encode()).digest()
    assert isinstance(json.loads(json.loads(delivery.rows[0])["detail"]), list)


def test_the_signature_is_forty_hexadecimal_digits_as_in_real_messages() -> None:
    assert len(parse_form(form())["sign"]) == len("146bcdd348c4f7e90895af13faa123e201fe2686")


@pytest.mark.parametrize("number", [0, 1, 10, -10, 99])
def test_every_number_of_utensils_is_handed_on_for_the_mapping_to_judge(number: int) -> None:
    assert json.loads(received(form(written(dinnersNumber=number))).rows[0])["dinnersNumber"] == number


def test_the_same_order_again_is_the_same_delivery_and_a_later_one_is_not() -> None:
    assert received(form()) == received(form())
    cancelled = received(form(written(status=9, utime=1764749999)))
    assert cancelled.delivery_id == "5301890193521352344-1764749999"


def test_another_order_under_the_same_number_and_time_shows_as_a_contradiction() -> None:
    first, other = received(form()), received(form(written(status=8)))
    assert first.delivery_id == other.delivery_id
    assert first.digest != other.digest


def test_the_order_may_be_written_with_its_number_as_a_text() -> None:
    assert received(form(written(orderId="5301890193521352344"))).delivery_id == "5301890193521352344-1764745851"


@pytest.mark.parametrize(
    "outcome", [Outcome(accepted=1), Outcome(replayed=1), Outcome(quarantined=1), Outcome(refused=1)]
)
def test_whatever_was_stored_is_answered_so_that_it_is_not_sent_again(outcome: Outcome) -> None:
    reply = receiver().acknowledge(received(form()), outcome)
    assert (reply.status, reply.body) == (200, b'{"data":"ok"}')


@pytest.mark.parametrize("key", [KEY, NEW_KEY])
def test_both_keys_are_good_while_one_is_changed(key: str) -> None:
    assert received(form(key=key), receiver(f"{KEY} {NEW_KEY}")).rows


@pytest.mark.parametrize(
    ("body", "status", "reason"),
    [
        (form(key=NEW_KEY), 401, "signature_invalid"),
        (form().replace(b"dinnersNumber%22%3A99", b"dinnersNumber%22%3A98"), 401, "signature_invalid"),
        (form() + b"&more=1", 401, "signature_invalid"),
        (form().partition(b"&sign=")[0], 401, "signature_invalid"),
        (form().partition(b"&sign=")[0] + b"&sign=", 401, "signature_invalid"),
        (form().partition(b"&sign=")[0] + b"&sign=%C3%A9", 401, "signature_invalid"),
        (form(developerId="1"), 403, "developer_unknown"),
        (form() + b"&order=x", 400, "duplicate_field"),
        (form() + b"&sign=x", 400, "duplicate_field"),
        (b"", 401, "signature_invalid"),
        (b"order", 400, "not_a_form"),
        (b"order=%zz", 400, "not_a_form"),
        (b"order=%ff", 400, "not_a_form"),
        ("order=蛋糕".encode(), 400, "not_a_form"),
        (b"&".join([b"a%d=1" % number for number in range(65)]), 400, "too_many_fields"),
        (form("{}"), 400, "order_id"),
        (form(""), 400, "not_json"),
        (form("[]"), 400, "not_an_object"),
        (form('{"orderId":1,"orderId":2,"utime":1}'), 400, "duplicate_key"),
        (form(written(orderId=True)), 400, "order_id"),
        (form(written(orderId="")), 400, "order_id"),
        (form(written(orderId="a b")), 400, "order_id"),
        (form(written(orderId=1.5)), 400, "order_id"),
        (form(written(orderId="9" * 65)), 400, "order_id"),
        (form(written(utime="1764745851")), 400, "utime"),
        (form(written(utime=True)), 400, "utime"),
        (form(written(utime=0)), 400, "utime"),
        (form(written(utime=1764745851.0)), 400, "utime"),
        (form(written(utime=10**18)), 400, "utime"),
        (form(written(caution="\ud800").replace("\ud800", "\\ud800")), 400, "half_character"),
        (form('{"orderId":' + "9" * 5000 + ',"utime":1}'), 400, "not_json"),
        (form('{"orderId":1,"utime":1,"a":' + "[" * 2000 + "]" * 2000 + "}"), 400, "too_deep"),
        (form(written(caution="x" * 300_000)), 413, "message_too_large"),
    ],
)
def test_what_is_wrong_is_refused_with_its_reason(body: bytes, status: int, reason: str) -> None:
    assert refused(body) == (status, reason)


def test_only_the_agreed_shops_are_reported_where_shops_are_agreed() -> None:
    hub = receiver(shops=["shop-1", "shop-2"])
    assert received(form(ePoiId="shop-2"), hub).rows
    assert refused(form(ePoiId="shop-3"), hub) == (403, "shop_unknown")


def test_only_posting_is_offered() -> None:
    answer = receiver().receive(post(form(), "GET"), now=NOW)
    assert isinstance(answer, Reply)
    assert answer.status == 405


def test_no_refusal_repeats_what_was_sent() -> None:
    answer = receiver().receive(post(form(written(orderId="张三 canary"))), now=NOW)
    assert isinstance(answer, Reply)
    assert b"canary" not in answer.body


def test_personal_fields_are_named_as_dropped() -> None:
    drops = receiver().describe().drops
    assert {"recipientName", "recipientPhone", "recipientAddress", "latitude", "longitude", "caution"} <= set(drops)


@pytest.mark.parametrize("text", ["a=1&a=2", "a", "=1&=2", "a=%", "a=1&&b", "a b=1"])
def test_a_form_that_could_be_read_in_two_ways_is_refused(text: str) -> None:
    with pytest.raises(MalformedFormError):
        parse_form(text.encode())


def test_a_plus_is_a_blank_and_values_may_be_empty() -> None:
    assert parse_form(b"a=b+c&d=") == {"a": "b c", "d": ""}


@pytest.mark.parametrize("secret", ["", "short", f"{KEY} short"])
def test_a_weak_key_is_refused_without_being_told(secret: str) -> None:
    with pytest.raises(ConfigError, match="sign_keys") as error:
        parse_config({"developer_id": "1"}, {"sign_keys": secret})
    assert not secret or secret not in str(error.value)
    assert KEY not in repr(parse_config({"developer_id": "1"}, {"sign_keys": KEY}))
