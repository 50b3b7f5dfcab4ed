"""Signed push: the official vector, and everything that is not exactly a fresh, signed, strict message."""

import base64
import hashlib
import json
from datetime import UTC, datetime, timedelta

import pytest
from standardwebhooks import Webhook

from connectors.base import Delivery, Inbound, Outcome, Reply
from connectors.config import ConfigError
from connectors.profiles.signed_push import SignedPush, parse_config
from connectors.webhook_signature import parse_secret, sign_message

# Standard Webhooks, the specification's own example.
VECTOR_SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
VECTOR_ID = "msg_p5jXN8AQM9LWM0D4loKWxJek"
VECTOR_TIMESTAMP = 1614265330
VECTOR_BODY = b'{"test": 2432232314}'
VECTOR_SIGNATURE = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="

NOW = datetime(2026, 10, 6, 1, 0, tzinfo=UTC)
OLD_SECRET = "whsec_" + base64.b64encode(bytes(range(32))).decode()
NEW_SECRET = "whsec_" + base64.b64encode(bytes(range(32, 64))).decode()
BODY = '{"records":[{"tradeNo":"BJ1","carbonReduction":"250.50"},{"tradeNo":"BJ2","站":null}]}'.encode()


def receiver(secrets: str = NEW_SECRET, **config: object) -> SignedPush:
    return SignedPush(parse_config(config, {"webhook_secrets": secrets}))


def message(body: bytes = BODY, secret: str = NEW_SECRET, at: datetime = NOW, **headers: str) -> Inbound:
    stamp = int(at.timestamp())
    signature = sign_message(parse_secret(secret), message_id="msg_1", timestamp=stamp, body=body)
    signed = {"webhook-id": "msg_1", "webhook-timestamp": str(stamp), "webhook-signature": signature}
    return Inbound(method="POST", path="/", headers=signed | headers, body=body)


def problem_of(answer: Delivery | Reply) -> tuple[int, str]:
    assert isinstance(answer, Reply)
    document = json.loads(answer.body)
    assert answer.headers["content-type"] == "application/problem+json"
    assert document["status"] == answer.status
    return answer.status, document["type"].removeprefix("urn:tanlian:problem:")


def test_the_official_vector_verifies() -> None:
    signed = sign_message(
        parse_secret(VECTOR_SECRET), message_id=VECTOR_ID, timestamp=VECTOR_TIMESTAMP, body=VECTOR_BODY
    )
    assert signed == VECTOR_SIGNATURE
    headers = {
        "webhook-id": VECTOR_ID,
        "webhook-timestamp": str(VECTOR_TIMESTAMP),
        "webhook-signature": VECTOR_SIGNATURE,
    }
    request = Inbound(method="POST", path="/", headers=headers, body=VECTOR_BODY)
    now = datetime.fromtimestamp(VECTOR_TIMESTAMP, UTC)
    # The signature is good; the vector's body is simply no list of records.
    assert problem_of(receiver(VECTOR_SECRET).receive(request, now=now)) == (400, "no_records")
    assert problem_of(receiver(NEW_SECRET).receive(request, now=now)) == (401, "signature_invalid")


def test_a_message_of_the_reference_library_is_taken() -> None:
    signature = Webhook(NEW_SECRET).sign("msg_2", NOW, BODY.decode())
    request = message(**{"webhook-id": "msg_2", "webhook-signature": signature})
    assert isinstance(receiver().receive(request, now=NOW), Delivery)


def test_a_signed_message_becomes_its_records_byte_for_byte() -> None:
    delivery = receiver(stream="acts").receive(message(), now=NOW)
    assert isinstance(delivery, Delivery)
    assert delivery.delivery_id == "msg_1"
    assert delivery.stream == "acts"
    assert delivery.digest == hashlib.sha256(BODY).digest()
    assert delivery.rows == (
        b'{"tradeNo":"BJ1","carbonReduction":"250.50"}',
        '{"tradeNo":"BJ2","站":null}'.encode(),
    )


def test_the_same_message_sent_again_has_the_same_id_and_digest() -> None:
    first = receiver().receive(message(), now=NOW)
    again = receiver().receive(message(at=NOW + timedelta(minutes=3)), now=NOW + timedelta(minutes=3))
    assert first == again


def test_the_same_id_with_another_body_shows_as_a_contradiction() -> None:
    first = receiver().receive(message(), now=NOW)
    other = receiver().receive(message(b'{"records":[]}'), now=NOW)
    assert isinstance(first, Delivery)
    assert isinstance(other, Delivery)
    assert first.delivery_id == other.delivery_id
    assert first.digest != other.digest


@pytest.mark.parametrize("signed_with", [OLD_SECRET, NEW_SECRET])
def test_both_secrets_are_good_while_one_is_rotated(signed_with: str) -> None:
    both = receiver(f"{OLD_SECRET} {NEW_SECRET}")
    assert isinstance(both.receive(message(secret=signed_with), now=NOW), Delivery)


def test_one_fitting_signature_among_several_is_enough() -> None:
    fitting = message().headers["webhook-signature"]
    header = f"v1a,AAAA v1,{base64.b64encode(bytes(32)).decode()} {fitting}"
    assert isinstance(receiver().receive(message(**{"webhook-signature": header}), now=NOW), Delivery)


def test_signatures_are_not_tried_without_end() -> None:
    fitting = message().headers["webhook-signature"]
    header = " ".join([*["v1,AAAA"] * 8, fitting])
    refused = receiver().receive(message(**{"webhook-signature": header}), now=NOW)
    assert problem_of(refused) == (401, "signature_invalid")


@pytest.mark.parametrize(
    "header",
    [
        "",
        "v1,",
        "v1",
        VECTOR_SIGNATURE,
        "v2," + message().headers["webhook-signature"][3:],
        "v1a," + message().headers["webhook-signature"][3:],
        message().headers["webhook-signature"].swapcase(),
        message().headers["webhook-signature"][:-1],
        message().headers["webhook-signature"] + "é",
        "v1," + "A" * 5000,
    ],
)
def test_a_signature_that_does_not_fit_is_refused(header: str) -> None:
    assert problem_of(receiver().receive(message(**{"webhook-signature": header}), now=NOW)) == (
        401,
        "signature_invalid",
    )


@pytest.mark.parametrize(
    "changed", [BODY.replace(b"250.50", b"950.50"), BODY + b" ", BODY.replace(b":", b": ", 1), b""]
)
def test_one_changed_byte_breaks_the_signature(changed: bytes) -> None:
    sent = message()
    forged = Inbound(method="POST", path="/", headers=sent.headers, body=changed)
    assert problem_of(receiver().receive(forged, now=NOW)) == (401, "signature_invalid")


@pytest.mark.parametrize(("name", "value"), [("webhook-id", "msg_2"), ("webhook-timestamp", "1791248401")])
def test_the_signature_covers_id_and_timestamp(name: str, value: str) -> None:
    assert problem_of(receiver().receive(message(**{name: value}), now=NOW)) == (401, "signature_invalid")


@pytest.mark.parametrize("shift_s", [-300, 300])
def test_five_minutes_are_tolerated(shift_s: int) -> None:
    assert isinstance(receiver().receive(message(), now=NOW + timedelta(seconds=shift_s)), Delivery)


@pytest.mark.parametrize("shift_s", [-301, 301, 86400])
def test_more_than_five_minutes_are_not(shift_s: int) -> None:
    late = receiver().receive(message(), now=NOW + timedelta(seconds=shift_s))
    assert problem_of(late) == (401, "timestamp_stale")


@pytest.mark.parametrize("name", ["webhook-id", "webhook-timestamp", "webhook-signature"])
def test_a_missing_header_is_refused(name: str) -> None:
    status, _ = problem_of(receiver().receive(message(**{name: ""}), now=NOW))
    assert status in (400, 401)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("webhook-id", "a.b"),
        ("webhook-id", "a b"),
        ("webhook-id", "x" * 129),
        ("webhook-id", "é"),
        ("webhook-timestamp", "1e9"),
        ("webhook-timestamp", "-1"),
        ("webhook-timestamp", "١٢٣"),
        ("webhook-timestamp", "9" * 40),
        ("webhook-timestamp", "1.5"),
    ],
)
def test_headers_that_could_be_read_in_two_ways_are_refused(name: str, value: str) -> None:
    assert problem_of(receiver().receive(message(**{name: value}), now=NOW)) == (400, "webhook_headers")


@pytest.mark.parametrize(
    ("body", "status", "reason"),
    [
        (b'{"records":[],"records":[]}', 400, "duplicate_key"),
        (b'[{"a":1}]', 400, "not_json"),
        (b'{"records":[{"a":1}', 400, "not_json"),
        (b'{"rows":[]}', 400, "no_records"),
        (b'{"records":[' + b"[" * 100_000, 400, "too_deep"),
        (b'{"records":[' + b",".join([b"{}"] * 5001) + b"]}", 413, "too_many_records"),
        (b'{"records":[]}' + b" " * (1024 * 1024), 413, "message_too_large"),
    ],
)
def test_a_signed_message_that_is_no_list_of_records_is_refused(body: bytes, status: int, reason: str) -> None:
    assert problem_of(receiver().receive(message(body), now=NOW)) == (status, reason)


def test_a_record_with_a_key_twice_is_refused_alone() -> None:
    delivery = receiver().receive(message(b'{"records":[{"grams":1,"grams":999},{"grams":1}]}'), now=NOW)
    assert isinstance(delivery, Delivery)
    assert delivery.rows == (b'{"grams":1}',)
    assert [(row.position, row.reason) for row in delivery.unreadable] == [(0, "duplicate_key")]


def test_only_posting_is_offered() -> None:
    sent = message()
    got = receiver().receive(Inbound(method="GET", path="/", headers=sent.headers, body=sent.body), now=NOW)
    assert problem_of(got) == (405, "method_not_allowed")


def test_the_sender_learns_what_became_of_its_rows() -> None:
    delivery = receiver().receive(message(b'{"records":[{"a":1},7]}'), now=NOW)
    assert isinstance(delivery, Delivery)
    reply = receiver().acknowledge(delivery, Outcome(accepted=1, quarantined=1))
    assert reply.status == 200
    assert json.loads(reply.body) == {
        "delivery_id": "msg_1",
        "accepted": 1,
        "refused": 0,
        "replayed": 0,
        "quarantined": 1,
        "unreadable": [{"position": 1, "reason": "not_an_object"}],
    }


@pytest.mark.parametrize("text", ["", "whsec_", "whsec_!!!!", "whsec_" + base64.b64encode(bytes(23)).decode(), " "])
def test_a_weak_or_broken_secret_is_refused_without_being_told(text: str) -> None:
    with pytest.raises(ConfigError) as refused:
        parse_config({}, {"webhook_secrets": text})
    assert "webhook_secrets" in str(refused.value)
    assert not text.strip() or text not in str(refused.value).replace("'whsec_'", "")


def test_secrets_do_not_show_in_the_configuration() -> None:
    shown = repr(parse_config({}, {"webhook_secrets": NEW_SECRET}))
    assert str(parse_secret(NEW_SECRET)) not in shown
    assert NEW_SECRET not in shown
