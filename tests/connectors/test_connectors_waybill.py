"""Electronic waybills of two services: both forms, one number for one parcel, and whatever is not exactly a message."""

import hashlib
import json
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

import pytest

from connectors.base import Delivery, Inbound, Outcome, Reply
from connectors.config import ConfigError
from connectors.formats import kuaidi100_label, wechat_waybill
from connectors.formats.kuaidi100_label import Kuaidi100Label
from connectors.formats.waybill_number import normalise_waybill
from connectors.formats.wechat_waybill import WeChatWaybill
from connectors.legacy_signing import sign_texts
from connectors.webhook_signature import parse_secret, sign_message

NOW = datetime(2026, 10, 6, 1, 0, tzinfo=UTC)
STAMP = str(int(NOW.timestamp()))
TOKEN, SECRET, KUAIDI_KEY = "a-token-of-16-characters", "a-secret-of-16-characters", "AbCdEfGh"
WEBHOOK = "whsec_" + "QUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFB"

# The documented record of WeChat Logistics, with the hub's create_time.
WECHAT: dict[str, Any] = {
    "order_id": "01234567890123456789",
    "openid": "oABC123456",
    "delivery_id": "SF",
    "waybill_id": "123456789",
    "order_status": 0,
    "create_time": 1791248000,
}
PARAM: dict[str, Any] = {
    "kuaidicom": "shunfeng",
    "kuaidinum": "123456789",
    "orderId": "B-1",
    "UserId": "kd100-7",
    "printTime": "2026-10-06 08:53:20",
    "recMan": {"name": "张三", "mobile": "18400000000", "printAddr": "某街"},
    "sendMan": {"name": "李四", "mobile": "18500000000", "printAddr": "某路"},
    "reorder": False,
}


def as_json(document: object) -> bytes:
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()


def query(token: str = TOKEN, timestamp: str = STAMP, nonce: str = "n1", **more: str) -> dict[str, str]:
    signature = sign_texts("sorted_texts_sha1", [timestamp, nonce], token)
    return {"signature": signature, "timestamp": timestamp, "nonce": nonce} | more


def wechat(tokens: str = TOKEN, webhook: str = WEBHOOK) -> WeChatWaybill:
    secrets = {"push_tokens": tokens, "webhook_secrets": webhook}
    return WeChatWaybill(wechat_waybill.parse_config({}, secrets))


def told_wechat(body: bytes, *, asked: dict[str, str] | None = None, at: datetime = NOW, **headers: str) -> Inbound:
    stamp = int(at.timestamp())
    signature = sign_message(parse_secret(WEBHOOK), message_id="msg_1", timestamp=stamp, body=body)
    signed = {"webhook-id": "msg_1", "webhook-timestamp": str(stamp), "webhook-signature": signature}
    proof = query(timestamp=str(stamp)) if asked is None else asked
    return Inbound(method="POST", path="/", query=proof, headers=signed | headers, body=body)


def kuaidi(secrets: str = SECRET) -> Kuaidi100Label:
    return Kuaidi100Label(kuaidi100_label.parse_config({"key": KUAIDI_KEY}, {"sign_secrets": secrets}))


def told_kuaidi(
    param: bytes | None = None, *, at: datetime = NOW, secret: str = SECRET, method: str = "order", **changed: str
) -> Inbound:
    text = (as_json(PARAM) if param is None else param).decode()
    t = str(int(at.timestamp() * 1000))
    sign = sign_texts("concat_md5", [text, t, KUAIDI_KEY], secret)
    fields = {"method": method, "key": KUAIDI_KEY, "t": t, "param": text, "sign": sign} | changed
    return Inbound(method="POST", path="/", body=urlencode(fields).encode())


def delivered(answer: Delivery | Reply) -> Delivery:
    assert isinstance(answer, Delivery)
    return answer


def refused(answer: Delivery | Reply) -> tuple[int, str]:
    assert isinstance(answer, Reply)
    return answer.status, json.loads(answer.body)["type"].removeprefix("urn:tanlian:problem:")


@pytest.mark.parametrize(
    ("courier", "number", "normalised"),
    [
        ("SF", "123456789", "SF:123456789"),
        ("shunfeng", "123456789", "SF:123456789"),
        ("SF", "SF 1234-5678 9012", "SF:SF123456789012"),
        ("shunfeng", "sf123456789012", "SF:SF123456789012"),
        ("YUNDA", "4312345678901", "YUNDA:4312345678901"),
        ("yunda", "4312345678901", "YUNDA:4312345678901"),
        ("zhongtong", "75312345678901", "ZTO:75312345678901"),
        ("yuantong", "YT0000000001", "YTO:YT0000000001"),
        ("shentong", "77300000000001", "STO:77300000000001"),
        # A number belongs to its courier: two couriers' equal numbers are two parcels.
        ("ZTO", "123456789", "ZTO:123456789"),
        ("a courier nobody knows", "123456789", None),
        ("some_courier", "123456789", "SOME_COURIER:123456789"),
        ("SF", "12345", None),
        ("SF", "", None),
        ("", "123456789", None),
        ("SF", "1" * 41, None),
        ("SF", "1" * 81, None),
        ("SF", "１２３４５６７８９", None),
        ("SF", '123456","x":"', None),
        ("SF", 123456789, None),
        (None, "123456789", None),
        ("SF", None, None),
        ("SF", ["123456789"], None),
    ],
)
def test_a_parcel_has_one_number_whoever_reports_it(courier: object, number: object, normalised: str | None) -> None:
    assert normalise_waybill(courier, number) == normalised


def test_wechats_record_goes_on_as_written_beside_the_number() -> None:
    body = as_json(WECHAT)
    delivery = delivered(wechat().receive(told_wechat(body), now=NOW))
    assert delivery.rows == (b'{"waybill":"SF:123456789","number":"123456789","order":' + body + b"}",)
    assert (delivery.stream, delivery.digest) == ("wechat_waybills", hashlib.sha256(body).digest())
    assert json.loads(delivery.rows[0])["order"] == WECHAT


def test_kuaidi100s_param_goes_on_as_written_beside_the_number() -> None:
    delivery = delivered(kuaidi().receive(told_kuaidi(), now=NOW))
    head = b'{"waybill":"SF:123456789","number":"123456789","method":"order","param":'
    assert delivery.rows == (head + as_json(PARAM) + b"}",)
    assert delivery.stream == "kuaidi100_labels"
    assert json.loads(delivery.rows[0])["param"] == PARAM


def test_a_message_sent_again_is_the_same_delivery() -> None:
    body = as_json(WECHAT)
    later = NOW + timedelta(minutes=3)
    first = wechat().receive(told_wechat(body), now=NOW)
    again = wechat().receive(told_wechat(body, at=later), now=later)
    assert delivered(first) == delivered(again)
    label, label_again = told_kuaidi(), told_kuaidi(at=later)
    assert delivered(kuaidi().receive(label, now=NOW)) == delivered(kuaidi().receive(label_again, now=later))


def test_printing_a_label_again_is_another_message_about_the_same_waybill() -> None:
    later = NOW + timedelta(hours=2)
    first = delivered(kuaidi().receive(told_kuaidi(), now=NOW))
    again = delivered(kuaidi().receive(told_kuaidi(at=later, method="printOld"), now=later))
    new = as_json(PARAM | {"kuaidinum": "987654321", "reorder": True})
    reordered = delivered(kuaidi().receive(told_kuaidi(new, at=later), now=later))
    numbers = [json.loads(each.rows[0])["waybill"] for each in (first, again, reordered)]
    assert numbers == ["SF:123456789", "SF:123456789", "SF:987654321"]
    assert len({each.delivery_id for each in (first, again, reordered)}) == 3


@pytest.mark.parametrize(
    "changed", [{"waybill_id": "12"}, {"waybill_id": 5}, {"delivery_id": None}, {"delivery_id": "顺丰"}]
)
def test_a_record_without_a_waybill_is_unreadable_and_tells_nothing_of_it(changed: dict[str, Any]) -> None:
    delivery = delivered(wechat().receive(told_wechat(as_json(WECHAT | changed)), now=NOW))
    assert delivery.rows == ()
    assert [(row.position, row.reason) for row in delivery.unreadable] == [(0, "waybill_number")]
    assert "oABC" not in delivery.unreadable[0].detail
    param = as_json(PARAM | {"kuaidinum": changed.get("waybill_id", "x")})
    assert delivered(kuaidi().receive(told_kuaidi(param), now=NOW)).unreadable[0].reason == "waybill_number"


def test_both_services_are_answered_in_their_own_words() -> None:
    first = delivered(wechat().receive(told_wechat(as_json(WECHAT)), now=NOW))
    assert wechat().acknowledge(first, Outcome(accepted=1)).body == b"success"
    other = delivered(kuaidi().receive(told_kuaidi(), now=NOW))
    told = json.loads(kuaidi().acknowledge(other, Outcome(quarantined=1)).body)
    assert told == {"result": True, "returnCode": "200", "message": "成功"}


def test_the_address_is_proved_once_with_an_echo() -> None:
    def ask(**asked: str) -> Delivery | Reply:
        return wechat().receive(Inbound(method="GET", path="/", query=query() | asked), now=NOW)

    echoed = ask(echostr="4375120948345356249")
    assert isinstance(echoed, Reply)
    assert (echoed.status, echoed.body) == (200, b"4375120948345356249")
    assert echoed.headers["content-type"].startswith("text/plain")
    for echo in ("", "a b", "x" * 257, "é", "a\nb"):
        assert refused(ask(echostr=echo)) == (400, "echostr")
    assert refused(ask(echostr="1", signature="0" * 40)) == (401, "signature_invalid")


@pytest.mark.parametrize(
    ("asked", "status", "reason"),
    [
        (query("another-token-of-16-chars"), 401, "signature_invalid"),
        (query() | {"nonce": "n2"}, 401, "signature_invalid"),
        (query() | {"signature": ""}, 401, "signature_invalid"),
        (query() | {"signature": "é"}, 401, "signature_invalid"),
        (query(nonce=""), 400, "signature_parts"),
        (query(nonce="a b"), 400, "signature_parts"),
        (query(timestamp="soon"), 400, "signature_parts"),
        (query(timestamp="1" * 13), 400, "signature_parts"),
        (query(timestamp=str(int(STAMP) - 301)), 401, "timestamp_stale"),
        (query(timestamp=str(int(STAMP) + 301)), 401, "timestamp_stale"),
        ({}, 400, "signature_parts"),
    ],
)
def test_wechats_proof_must_fit_and_be_fresh(asked: dict[str, str], status: int, reason: str) -> None:
    request = told_wechat(as_json(WECHAT), asked=asked)
    assert refused(wechat().receive(request, now=NOW)) == (status, reason)


def test_wechats_proof_alone_carries_no_body() -> None:
    good = told_wechat(as_json(WECHAT))
    assert delivered(wechat().receive(good, now=NOW)).delivery_id == "msg_1"
    bare = Inbound(method="POST", path="/", query=good.query, body=good.body)
    assert refused(wechat().receive(bare, now=NOW)) == (400, "webhook_headers")
    body = good.body.replace(b"oABC", b"oXYZ")
    forged = Inbound(method="POST", path="/", query=good.query, headers=good.headers, body=body)
    assert refused(wechat().receive(forged, now=NOW)) == (401, "signature_invalid")


@pytest.mark.parametrize(
    ("request_", "status", "reason"),
    [
        (told_kuaidi(secret="another-secret-of-16-chars"), 401, "signature_invalid"),
        (told_kuaidi(sign="0" * 32), 401, "signature_invalid"),
        (told_kuaidi(sign=""), 401, "signature_invalid"),
        (told_kuaidi(key="other"), 401, "signature_invalid"),
        (told_kuaidi(param=b"{}", t="1791248400001"), 401, "signature_invalid"),
        (told_kuaidi(t="now"), 400, "signature_parts"),
        (told_kuaidi(t="1" * 15), 400, "signature_parts"),
        (told_kuaidi(at=NOW - timedelta(seconds=301)), 401, "timestamp_stale"),
        (told_kuaidi(at=NOW + timedelta(seconds=301)), 401, "timestamp_stale"),
        (told_kuaidi(method="steal"), 400, "method_unknown"),
        (told_kuaidi(b"[]"), 400, "not_an_object"),
        (told_kuaidi(b""), 400, "not_json"),
        (told_kuaidi(b'{"kuaidinum":"1","kuaidinum":"2"}'), 400, "duplicate_key"),
        (told_kuaidi(b'{"kuaidinum":"1","weight":NaN}'), 400, "not_a_number"),
        (Inbound(method="POST", path="/", body=b"param=1&param=2"), 400, "duplicate_field"),
        (Inbound(method="POST", path="/", body=b""), 400, "signature_parts"),
        (Inbound(method="POST", path="/", body=b"x" * 200_000), 413, "message_too_large"),
        (Inbound(method="GET", path="/"), 405, "method_not_allowed"),
    ],
)
def test_kuaidi100s_message_must_be_signed_fresh_and_strict(request_: Inbound, status: int, reason: str) -> None:
    assert refused(kuaidi().receive(request_, now=NOW)) == (status, reason)


@pytest.mark.parametrize(
    ("body", "status", "reason"),
    [
        (b"", 400, "not_json"),
        (b"[]", 400, "not_an_object"),
        (b'{"waybill_id":"1","waybill_id":"2"}', 400, "duplicate_key"),
        (b'{"a":' + b"[" * 9000 + b"]" * 9000 + b"}", 400, "too_deep"),
        (b'{"a":1e999}', 400, "number_too_large"),
        (as_json(WECHAT) + b'},"waybill":"SF:1"', 400, "not_json"),
        (b"x" * 70_000, 413, "message_too_large"),
    ],
)
def test_a_record_that_is_not_strict_json_is_refused(body: bytes, status: int, reason: str) -> None:
    assert refused(wechat().receive(told_wechat(body), now=NOW)) == (status, reason)


@pytest.mark.parametrize("tokens", [TOKEN, "another-token-of-16-chars"])
def test_keys_overlap_while_they_are_changed(tokens: str) -> None:
    hub = wechat(f"{TOKEN} another-token-of-16-chars")
    request = told_wechat(as_json(WECHAT), asked=query(tokens))
    assert delivered(hub.receive(request, now=NOW)).rows
    both = kuaidi(f"{SECRET} another-secret-of-16-chars")
    assert delivered(both.receive(told_kuaidi(secret="another-secret-of-16-chars"), now=NOW)).rows


def test_weak_secrets_are_refused_without_being_told() -> None:
    with pytest.raises(ConfigError, match="push_tokens") as refused_token:
        wechat("short")
    with pytest.raises(ConfigError, match="sign_secrets") as refused_secret:
        kuaidi("short")
    with pytest.raises(ConfigError, match="webhook_secrets"):
        wechat(webhook="whsec_short")
    assert "short" not in f"{refused_token.value}{refused_secret.value}"
    assert TOKEN not in repr(wechat_waybill.parse_config({}, {"push_tokens": TOKEN, "webhook_secrets": WEBHOOK}))
    assert SECRET not in repr(kuaidi100_label.parse_config({"key": "k"}, {"sign_secrets": SECRET}))


def test_personal_fields_are_named_as_dropped() -> None:
    assert {"order.sender", "order.receiver", "order.waybill_data"} <= set(wechat().describe().drops)
    assert {"param.recMan", "param.sendMan"} <= set(kuaidi().describe().drops)
