"""Signed JSON push: a platform posts records, signed as Standard Webhooks say. Pure.

A profile of the hub, for platforms that publish no record API of their own. Body: `{"records": [...]}`. The signature
is HMAC-SHA256 over `id.timestamp.body`, over the bytes as they came; `webhook-id` is the delivery's id, so a message
that is sent again is answered again. Several secrets and several signatures are tried, so that keys can be rotated.

Source: Standard Webhooks specification (headers, `v1` signatures, tolerance of 5 minutes).
"""

import base64
import hashlib
import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from connectors.base import (
    Connector,
    Delivery,
    Description,
    Inbound,
    Outcome,
    Reply,
    Transport,
    describe_profile,
    outcome_reply,
    problem,
)
from connectors.config import ConfigError, Fields, decode_base64
from connectors.kind import Kind
from connectors.strict_json import MalformedJsonError, split_records

# No dot: the signed text is joined with dots, and an id with one could be read as another id and timestamp.
_ID = re.compile(r"[A-Za-z0-9_:-]{1,128}")
_TIMESTAMP = re.compile(r"[0-9]{1,12}")
_MAX_SIGNATURES = 8
_MAX_SIGNATURE_HEADER = 2048


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedPushConfig:
    secrets: tuple[bytes, ...] = field(repr=False)
    stream: str = "acts"
    role: str = "aggregator"
    title: str = "signed JSON push (profile)"
    drops: tuple[str, ...] = ()
    tolerance_s: int = 300
    body_bytes: int = 1024 * 1024
    rows: int = 5000


def parse_config(config: Mapping[str, object], secrets: Mapping[str, object]) -> SignedPushConfig:
    """Read the settings; `webhook_secrets` is one secret or several with blanks between, newest first or last.

    Each is `whsec_` and 24 to 64 bytes in base64.
    """
    with Fields(secrets, where="secrets") as given:
        keys = tuple(parse_secret(text) for text in given.text("webhook_secrets").split())
    with Fields(config, where="config") as fields:
        return SignedPushConfig(
            secrets=keys,
            stream=fields.text("stream", default="acts"),
            role=fields.text("role", default="aggregator"),
            title=fields.text("title", default="signed JSON push (profile)"),
            drops=fields.texts("drops", default=()),
            tolerance_s=fields.whole("tolerance_s", default=300, least=1, most=300),
            body_bytes=fields.whole("body_bytes", default=1024 * 1024, least=1024, most=16 * 1024 * 1024),
            rows=fields.whole("rows", default=5000, least=1, most=50_000),
        )


def parse_secret(text: str) -> bytes:
    key = decode_base64(text.removeprefix("whsec_"), most=64)
    if key is None or not 24 <= len(key) <= 64:
        raise ConfigError("secrets: field 'webhook_secrets' must hold 24 to 64 bytes in base64 after 'whsec_'")
    return key


def sign_message(secret: bytes, *, message_id: str, timestamp: int, body: bytes) -> str:
    """Sign as the sender does: one entry of the `webhook-signature` header."""
    signed = f"{message_id}.{timestamp}.".encode() + body
    return "v1," + base64.b64encode(hmac.digest(secret, signed, "sha256")).decode()


class SignedPush(Connector):
    """Receiver of signed messages."""

    def __init__(self, config: SignedPushConfig) -> None:
        self._config = config

    def describe(self) -> Description:
        return describe_profile(
            name="signed_push",
            title=self._config.title,
            transport=Transport.PUSH,
            stream=self._config.stream,
            role=self._config.role,
            lateness_class="day",
            drops=self._config.drops,
        )

    def receive(self, request: Inbound, *, now: datetime) -> Delivery | Reply:
        if request.method != "POST":
            return problem(405, "method_not_allowed", "Messages are posted.", headers={"allow": "POST"})
        if len(request.body) > self._config.body_bytes:
            return problem(413, "message_too_large", "The message is larger than agreed.")
        message_id = request.headers.get("webhook-id", "")
        if refusal := self._refuse_unsigned(request, message_id, now):
            return refusal
        try:
            split = split_records(request.body, "records")
        except MalformedJsonError as malformed:
            return problem(400, malformed.reason, "The message is not a strict JSON object with a list of records.")
        if len(split.rows) + len(split.unreadable) > self._config.rows:
            return problem(413, "too_many_records", "The message has more records than agreed.")
        return Delivery(
            delivery_id=message_id,
            stream=self._config.stream,
            rows=split.rows,
            digest=hashlib.sha256(request.body).digest(),
            unreadable=split.unreadable,
        )

    def acknowledge(self, delivery: Delivery, outcome: Outcome) -> Reply:
        return outcome_reply(delivery, outcome)

    def _refuse_unsigned(self, request: Inbound, message_id: str, now: datetime) -> Reply | None:
        timestamp = request.headers.get("webhook-timestamp", "")
        signatures = request.headers.get("webhook-signature", "")
        if not _ID.fullmatch(message_id) or not _TIMESTAMP.fullmatch(timestamp):
            return problem(400, "webhook_headers", "webhook-id or webhook-timestamp is missing or not well formed.")
        if not self._is_signed(message_id, timestamp, request.body, signatures):
            return problem(401, "signature_invalid", "No signature of the message fits.")
        if abs(now.timestamp() - int(timestamp)) > self._config.tolerance_s:
            return problem(401, "timestamp_stale", "The message is too old or from the future: sign it again.")
        return None

    def _is_signed(self, message_id: str, timestamp: str, body: bytes, header: str) -> bool:
        if len(header) > _MAX_SIGNATURE_HEADER or not header.isascii():
            return False
        signed = f"{message_id}.{timestamp}.".encode() + body
        expected = [base64.b64encode(hmac.digest(key, signed, "sha256")) for key in self._config.secrets]
        told = [entry[3:].encode() for entry in header.split(" ")[:_MAX_SIGNATURES] if entry.startswith("v1,")]
        # Every pair is compared, so that the time does not tell which key is the current one.
        fits = [hmac.compare_digest(one, other) for one in expected for other in told]
        return any(fits)


KIND = Kind(
    name="signed_push",
    transport=Transport.PUSH,
    profile=True,
    secrets=("webhook_secrets",),
    build=lambda config, secrets: SignedPush(parse_config(config, secrets)),
)
