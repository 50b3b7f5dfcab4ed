"""Recycling records: the public form inside the hub's signature, and everything that is not exactly that."""

import base64
import hashlib
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from connectors.base import Delivery, Inbound, Outcome, Reply
from connectors.config import ConfigError
from connectors.formats.recycling import Recycling, parse_config
from connectors.webhook_signature import parse_secret, sign_message

NOW = datetime(2026, 10, 6, 1, 0, tzinfo=UTC)
SECRET = "whsec_" + base64.b64encode(bytes(range(32))).decode()
RECORD: dict[str, Any] = {
    "inputUserId": "zh-000123",
    "machineCode": "ZH0007",
    "recycleDate": "2026-10-05 07:40:12",
    "weighWeight": "1.250",
    "resourceName": "纸类",
    "actualMoney": "0.00",
    "status": 4,
    "violationStatus": 0,
    "reckonPoints": 12,
}


def as_json(*records: object) -> bytes:
    return json.dumps(records, ensure_ascii=False, separators=(",", ":")).encode()


def push(body: bytes | None = None, *, path: str = "/in/zhenhai/recycleRecordSave", **headers: str) -> Inbound:
    sent = as_json(RECORD) if body is None else body
    stamp = int(NOW.timestamp())
    signature = sign_message(parse_secret(SECRET), message_id="msg_1", timestamp=stamp, body=sent)
    signed = {"webhook-id": "msg_1", "webhook-timestamp": str(stamp), "webhook-signature": signature, "sendby": "M0001"}
    return Inbound(method="POST", path=path, headers=signed | headers, body=sent)


def receiver(**config: object) -> Recycling:
    return Recycling(parse_config({"send_by": "M0001"} | config, {"webhook_secrets": SECRET}))


def refused(request: Inbound, now: datetime = NOW) -> int:
    answer = receiver(rows=3).receive(request, now=now)
    assert isinstance(answer, Reply)
    told = json.loads(answer.body)
    assert set(told) == {"success", "error", "result"}
    assert told["success"] is False
    assert told["error"]
    return answer.status


def test_a_list_becomes_its_records_byte_for_byte() -> None:
    body = b' [ {"weighWeight":1.250 , "status":4},\n{"weighWeight":"0"} ] '
    delivery = receiver().receive(push(body), now=NOW)
    assert isinstance(delivery, Delivery)
    assert delivery.rows == (b'{"weighWeight":1.250 , "status":4}', b'{"weighWeight":"0"}')
    assert (delivery.stream, delivery.delivery_id) == ("recycling", "msg_1")
    assert delivery.digest == hashlib.sha256(body).digest()


def test_a_record_that_cannot_be_read_does_not_disturb_the_others() -> None:
    delivery = receiver().receive(push(b'[{"status":1,"status":4},7,{"status":4},{"a":NaN}]'), now=NOW)
    assert isinstance(delivery, Delivery)
    assert delivery.rows == (b'{"status":4}',)
    told = [(row.position, row.reason) for row in delivery.unreadable]
    assert told == [(0, "duplicate_key"), (1, "not_an_object"), (3, "not_a_number")]


def test_the_answer_is_the_forms_own() -> None:
    delivery = receiver().receive(push(), now=NOW)
    assert isinstance(delivery, Delivery)
    reply = receiver().acknowledge(delivery, Outcome(accepted=1, replayed=2, quarantined=3))
    assert (reply.status, json.loads(reply.body)) == (
        200,
        {
            "success": True,
            "error": None,
            "result": {"accepted": 1, "replayed": 2, "refused": 0, "quarantined": 3, "unreadable": 0},
        },
    )


def test_the_same_message_sent_again_is_the_same_delivery() -> None:
    assert receiver().receive(push(), now=NOW) == receiver().receive(push(), now=NOW + timedelta(minutes=4))


def test_an_empty_list_is_a_delivery_without_rows() -> None:
    delivery = receiver().receive(push(b"[]"), now=NOW)
    assert isinstance(delivery, Delivery)
    assert delivery.rows == ()


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        as_json(RECORD)[1:-1],
        b"[{}",
        b"[{}]]",
        b'[{}],"more":[{}]',
        b'[{}],"records":[{"status":4}]',
        b'[{}]} {"records":[]',
        b"[" * 5000,
        b"\xff\xfe",
        b"null",
        b'"[]"',
    ],
)
def test_a_body_that_is_not_exactly_one_list_is_refused(body: bytes) -> None:
    assert refused(push(body)) == 400


def test_the_merchants_number_alone_proves_nothing() -> None:
    assert refused(push(as_json(RECORD), **{"webhook-signature": ""})) == 401
    assert refused(push(as_json(RECORD), **{"webhook-signature": "v1,AAAA"})) == 401
    assert refused(push(as_json(RECORD), **{"webhook-id": ""})) == 400
    assert refused(push(), NOW + timedelta(seconds=301)) == 401
    forged = Inbound(method="POST", path="/recycleRecordSave", headers=push().headers, body=as_json(RECORD, RECORD))
    assert refused(forged) == 401


@pytest.mark.parametrize("merchant", ["", "M0002", "M0001 ", "é"])
def test_the_merchants_number_must_be_the_agreed_one(merchant: str) -> None:
    assert refused(push(sendby=merchant)) == 403


@pytest.mark.parametrize("path", ["/in/zhenhai", "/in/zhenhai/recycleRecordQuery", "/in/zhenhai/recycleRecordSave/x"])
def test_other_interfaces_are_not_offered(path: str) -> None:
    assert refused(push(path=path)) == 404


def test_methods_sizes_and_numbers_are_bounded() -> None:
    got = Inbound(method="GET", path="/recycleRecordSave", headers=push().headers)
    assert refused(got) == 405
    assert refused(push(as_json(*[RECORD] * 4))) == 413
    assert refused(push(b"[" + b" " * (1024 * 1024) + b"]")) == 413


def test_the_settings_are_checked_and_secrets_do_not_show() -> None:
    with pytest.raises(ConfigError, match="send_by"):
        parse_config({}, {"webhook_secrets": SECRET})
    with pytest.raises(ConfigError, match="webhook_secrets"):
        parse_config({"send_by": "M0001"}, {"webhook_secrets": "whsec_AAAA"})
    assert SECRET not in repr(parse_config({"send_by": "M0001"}, {"webhook_secrets": SECRET}))
