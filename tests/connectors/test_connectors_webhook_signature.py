"""Webhook signatures: both schemes of the standard, several keys at once, and whatever is not exactly one of them."""

import base64
import json
from datetime import UTC, datetime, timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from connectors.base import Delivery, Inbound, Reply
from connectors.config import ConfigError
from connectors.profiles.signed_push import SignedPush, parse_config
from connectors.webhook_signature import (
    WebhookKeys,
    parse_keys,
    parse_secret,
    refuse_unsigned,
    sign_message,
    sign_message_ed25519,
)

NOW = datetime(2026, 10, 6, 1, 0, tzinfo=UTC)
STAMP = int(NOW.timestamp())
SECRET = "whsec_" + base64.b64encode(bytes(range(32))).decode()
OWN = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
OTHER = Ed25519PrivateKey.from_private_bytes(bytes(range(1, 33)))
BODY = b'{"records":[]}'

# RFC 8032, 7.1, test 3: what the library signs is the standard's Ed25519.
RFC_KEY = "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7"
RFC_SIGNATURE = (
    "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc"
    "027beceea1ec40a"
)


def public(key: Ed25519PrivateKey) -> str:
    return "whpk_" + base64.b64encode(key.public_key().public_bytes_raw()).decode()


def v1(secret: str = SECRET) -> str:
    return sign_message(parse_secret(secret), message_id="msg_1", timestamp=STAMP, body=BODY)


def v1a(key: Ed25519PrivateKey = OWN) -> str:
    return sign_message_ed25519(key, message_id="msg_1", timestamp=STAMP, body=BODY)


def sent(signature: str, body: bytes = BODY) -> Inbound:
    headers = {"webhook-id": "msg_1", "webhook-timestamp": str(STAMP), "webhook-signature": signature}
    return Inbound(method="POST", path="/", headers=headers, body=body)


def refusal(keys: WebhookKeys, request: Inbound, now: datetime = NOW) -> str | None:
    answer = refuse_unsigned(keys, request, now=now)
    return None if answer is None else str(json.loads(answer.body)["type"]).removeprefix("urn:tanlian:problem:")


def test_ed25519_is_that_of_the_standard() -> None:
    key = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(RFC_KEY))
    assert key.sign(bytes.fromhex("af82")).hex() == RFC_SIGNATURE


def test_the_signature_of_a_key_of_its_own_covers_id_time_and_body() -> None:
    signature = base64.b64decode(v1a().removeprefix("v1a,"))
    OWN.public_key().verify(signature, f"msg_1.{STAMP}.".encode() + BODY)


@pytest.mark.parametrize(
    ("keys", "signature"),
    [
        (SECRET, v1()),
        (public(OWN), v1a()),
        # While a key or a scheme is changed, both sides hold two.
        (f"{SECRET} {public(OWN)}", v1()),
        (f"{SECRET} {public(OWN)}", v1a()),
        (f"{public(OTHER)} {public(OWN)}", v1a()),
        (public(OWN), f"{v1a(OTHER)} {v1a()}"),
        (public(OWN), f"{v1()} {v1a()}"),
        (SECRET, f"v1a,AAAA {v1()}"),
    ],
)
def test_one_signature_that_fits_one_key_is_enough(keys: str, signature: str) -> None:
    assert refusal(parse_keys(keys), sent(signature)) is None


@pytest.mark.parametrize(
    ("keys", "signature"),
    [
        (public(OTHER), v1a()),
        (public(OWN), v1()),
        (SECRET, v1a()),
        (public(OWN), v1a().replace("v1a,", "v1,")),
        (public(OWN), v1a()[:-1]),
        (public(OWN), v1a() + "AA"),
        (public(OWN), "v1a,"),
        (public(OWN), "v1a"),
        (public(OWN), "v1a," + base64.b64encode(bytes(64)).decode()),
        (public(OWN), "v1a," + base64.urlsafe_b64encode(bytes([255]) * 64).decode()),
        (public(OWN), " ".join([*["v1a,AAAA"] * 8, v1a()])),
        (public(OWN), "v1a,é"),
        # A public key is known to everybody: it must never serve as a shared secret.
        (
            public(OWN),
            sign_message(OWN.public_key().public_bytes_raw(), message_id="msg_1", timestamp=STAMP, body=BODY),
        ),
    ],
)
def test_no_other_signature_is_taken(keys: str, signature: str) -> None:
    assert refusal(parse_keys(keys), sent(signature)) == "signature_invalid"


def test_a_changed_body_or_an_old_message_is_refused() -> None:
    keys = parse_keys(public(OWN))
    assert refusal(keys, sent(v1a(), BODY + b" ")) == "signature_invalid"
    assert refusal(keys, sent(v1a()), NOW + timedelta(seconds=300)) is None
    assert refusal(keys, sent(v1a()), NOW + timedelta(seconds=301)) == "timestamp_stale"


def test_no_key_takes_no_message() -> None:
    assert refusal(WebhookKeys(), sent(v1())) == "signature_invalid"


@pytest.mark.parametrize(
    "text",
    ["whpk_", "whpk_!!", "whpk_" + base64.b64encode(bytes(31)).decode(), SECRET + " whpk_AAAA", " ".join([SECRET] * 9)],
)
def test_a_broken_key_is_refused_without_being_told(text: str) -> None:
    with pytest.raises(ConfigError, match="webhook_secrets") as refused:
        parse_keys(text)
    assert SECRET not in str(refused.value)


def test_signed_push_takes_messages_signed_with_a_key_of_the_sender() -> None:
    hub = SignedPush(parse_config({}, {"webhook_secrets": public(OWN)}))
    assert isinstance(hub.receive(sent(v1a()), now=NOW), Delivery)
    assert isinstance(hub.receive(sent(v1a(OTHER)), now=NOW), Reply)
