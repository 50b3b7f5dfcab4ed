"""The platform's side of signed push: sign records and post them, with retries that change no byte. I/O: network.

To be copied by a platform: it needs `httpx`, and `cryptography` only for Ed25519 keys. The message id is the platform's
own and belongs to exactly these records: keep both until the hub has answered, and send the same again after a failure.
Only the timestamp is fresh in each try, and with it the signature.

Example:
    client = PushClient(url="https://hub.example/in/our-city", sign=hmac_signer("whsec_..."))
    client.push("acts-2026-10-05-0001", records)
"""

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

Sign = Callable[[bytes], str]
"""From `id.timestamp.body` to one entry of the `webhook-signature` header."""

WAITS_S = (5.0, 30.0, 120.0, 600.0, 3600.0)
MOST_RECORDS, MOST_BYTES = 5000, 1024 * 1024
_LATER = frozenset({408, 425, 429})


class PushRefused(Exception):
    """The hub will not take this message however often it is sent: `reason` says why."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(f"{status} {reason}")
        self.status, self.reason = status, reason


class PushFailed(Exception):
    """Nobody took the message in all tries. Send the same bytes under the same id again, tomorrow too."""


def hmac_signer(secret: str) -> Sign:
    """Sign with a secret shared with the hub, `whsec_` and 24 to 64 bytes in base64."""
    key = base64.b64decode(secret.removeprefix("whsec_"), validate=True)
    return lambda signed: "v1," + base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()


def ed25519_signer(key: Ed25519PrivateKey) -> Sign:
    """Sign with a key of our own; the hub holds `whpk_` and its public key in base64."""
    return lambda signed: "v1a," + base64.b64encode(key.sign(signed)).decode()


def write_message(records: Sequence[Mapping[str, Any]]) -> bytes:
    """Write the body. Amounts are best written as texts, so that 6.00 stays 6.00."""
    body = json.dumps({"records": list(records)}, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()
    if len(records) > MOST_RECORDS or len(body) > MOST_BYTES:
        raise ValueError(f"a message has at most {MOST_RECORDS} records and {MOST_BYTES} bytes: split it")
    return body


@dataclass(frozen=True, kw_only=True)
class PushClient:
    """Posts messages to the hub's door. `signers` may be two while keys are changed."""

    url: str
    sign: Sign | Sequence[Sign] = field(repr=False)
    client: httpx.Client = field(default_factory=lambda: httpx.Client(timeout=60.0), repr=False)
    waits_s: Sequence[float] = WAITS_S
    sleep: Callable[[float], None] = time.sleep
    clock: Callable[[], float] = time.time

    def push(self, message_id: str, records: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Send records until the hub has answered; returns how many it accepted, refused, replayed, quarantined.

        Raises:
            PushRefused: the message itself is wrong (400, 401, 413 ...), or its id was used for another body (409).
            PushFailed: the hub could not be reached.
        """
        return self.send(message_id, write_message(records))

    def send(self, message_id: str, body: bytes) -> dict[str, Any]:
        """Send bytes that were written before: what a queue of unsent messages holds."""
        for wait_s in (*self.waits_s, None):
            answer = self._post(message_id, body)
            if answer is not None and answer.status_code < 300:
                return dict(answer.json())
            if answer is not None and answer.status_code < 500 and answer.status_code not in _LATER:
                raise PushRefused(answer.status_code, _reason(answer))
            if wait_s is not None:
                self.sleep(max(wait_s, _asked_wait_s(answer)))
        raise PushFailed(message_id)

    def _post(self, message_id: str, body: bytes) -> httpx.Response | None:
        timestamp = str(int(self.clock()))
        signed = f"{message_id}.{timestamp}.".encode() + body
        signers = (self.sign,) if callable(self.sign) else tuple(self.sign)
        headers = {
            "content-type": "application/json",
            "webhook-id": message_id,
            "webhook-timestamp": timestamp,
            "webhook-signature": " ".join(sign(signed) for sign in signers),
        }
        try:
            return self.client.post(self.url, content=body, headers=headers, follow_redirects=False)
        except httpx.TransportError:
            return None


def _asked_wait_s(answer: httpx.Response | None) -> float:
    text = "" if answer is None else answer.headers.get("retry-after", "")
    return min(float(text), 3600.0) if text.isdecimal() else 0.0


def _reason(answer: httpx.Response) -> str:
    """Read the stable part of RFC 9457 problem details."""
    try:
        return str(answer.json()["type"]).rpartition(":")[2]
    except (ValueError, KeyError, TypeError):
        return "unknown"
