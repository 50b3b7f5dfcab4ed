"""Signed JSON push: a platform posts records, signed as Standard Webhooks say. Pure.

A profile of the hub, for platforms that publish no record API of their own. Body: `{"records": [...]}`. How messages
are signed, with a shared secret or with a key of the sender's own, is `webhook_signature.py`; `webhook-id` is the
delivery's id, so a message that is sent again is answered again.

Source: Standard Webhooks specification.
"""

import hashlib
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
from connectors.config import Fields
from connectors.kind import Kind
from connectors.strict_json import MalformedJsonError, split_records
from connectors.webhook_signature import MAX_TOLERANCE_S, WebhookKeys, parse_keys, refuse_unsigned


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedPushConfig:
    keys: WebhookKeys = field(repr=False)
    stream: str = "acts"
    role: str = "aggregator"
    title: str = "signed JSON push (profile)"
    drops: tuple[str, ...] = ()
    tolerance_s: int = MAX_TOLERANCE_S
    body_bytes: int = 1024 * 1024
    rows: int = 5000


def parse_config(config: Mapping[str, object], secrets: Mapping[str, object]) -> SignedPushConfig:
    """Read the settings; `webhook_secrets` is one key or several with blanks between, newest first or last.

    Each is `whsec_` and 24 to 64 bytes, or `whpk_` and the sender's Ed25519 public key, in base64.
    """
    with Fields(secrets, where="secrets") as given:
        keys = parse_keys(given.text("webhook_secrets"))
    with Fields(config, where="config") as fields:
        return SignedPushConfig(
            keys=keys,
            stream=fields.text("stream", default="acts"),
            role=fields.text("role", default="aggregator"),
            title=fields.text("title", default="signed JSON push (profile)"),
            drops=fields.texts("drops", default=()),
            tolerance_s=fields.whole("tolerance_s", default=MAX_TOLERANCE_S, least=1, most=MAX_TOLERANCE_S),
            body_bytes=fields.whole("body_bytes", default=1024 * 1024, least=1024, most=16 * 1024 * 1024),
            rows=fields.whole("rows", default=5000, least=1, most=50_000),
        )


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
        if refusal := refuse_unsigned(self._config.keys, request, now=now, tolerance_s=self._config.tolerance_s):
            return refusal
        try:
            split = split_records(request.body, "records")
        except MalformedJsonError as malformed:
            return problem(400, malformed.reason, "The message is not a strict JSON object with a list of records.")
        if len(split.rows) + len(split.unreadable) > self._config.rows:
            return problem(413, "too_many_records", "The message has more records than agreed.")
        return Delivery(
            delivery_id=request.headers["webhook-id"],
            stream=self._config.stream,
            rows=split.rows,
            digest=hashlib.sha256(request.body).digest(),
            unreadable=split.unreadable,
        )

    def acknowledge(self, delivery: Delivery, outcome: Outcome) -> Reply:
        return outcome_reply(delivery, outcome)


KIND = Kind(
    name="signed_push",
    transport=Transport.PUSH,
    profile=True,
    secrets=("webhook_secrets",),
    build=lambda config, secrets: SignedPush(parse_config(config, secrets)),
)
