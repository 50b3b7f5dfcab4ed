"""Signed messages of the Beijing format as they go over HTTP. Pure."""

import base64
import json
from datetime import datetime
from typing import Any

from tests_support.deliveries import BEIJING

from connectors.webhook_signature import parse_secret, sign_message

SECRET = parse_secret(BEIJING["secrets"]["webhook_secrets"])
WRONG_SECRET = base64.b64decode("AAAA" * 8)
DOOR = "/in/beijing-green-life"


def body_of(*rows: dict[str, Any] | str) -> bytes:
    """Return a message; a row given as text goes in as it is, right or wrong."""
    texts = [row if isinstance(row, str) else json.dumps(row) for row in rows]
    return ('{"records":[' + ",".join(texts) + "]}").encode()


def signed(name: str, body: bytes, now: datetime, *, secret: bytes = SECRET, age_s: int = 0) -> dict[str, str]:
    """Return the headers of a message that its sender signed `age_s` seconds ago."""
    timestamp = int(now.timestamp()) - age_s
    return {
        "content-type": "application/json",
        "webhook-id": name,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": sign_message(secret, message_id=name, timestamp=timestamp, body=body),
    }


def push(name: str, *rows: dict[str, Any] | str, now: datetime, **signing: Any) -> dict[str, Any]:
    """Return the arguments of a POST that delivers these rows."""
    body = body_of(*rows)
    return {"content": body, "headers": signed(name, body, now, **signing)}
