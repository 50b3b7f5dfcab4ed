"""Signatures of Standard Webhooks: who sent these bytes, and when. Pure.

Signed is `id.timestamp.body`, over the bytes as they came: `v1` with HMAC-SHA256 and a shared secret (`whsec_`), `v1a`
with Ed25519, where the hub holds only the sender's public key (`whpk_`). A sender may sign with several keys at once
and a receiver may hold several, of both schemes, so that keys and schemes can be changed without a gap.

Source: Standard Webhooks specification (headers, `v1` and `v1a` signatures, key prefixes, tolerance of 5 minutes).
"""

import base64
import hmac
import re
from dataclasses import dataclass, field
from datetime import datetime

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from connectors.base import Inbound, Reply, problem
from connectors.config import ConfigError, decode_base64

# No dot: the signed text is joined with dots, and an id with one could be read as another id and timestamp.
_ID = re.compile(r"[A-Za-z0-9_:-]{1,128}")
_TIMESTAMP = re.compile(r"[0-9]{1,12}")
_MAX_SIGNATURES = 8
_MAX_SIGNATURE_HEADER = 2048
_MAX_KEYS = 8
MAX_TOLERANCE_S = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookKeys:
    """What a sender's signatures are checked with: any one is enough."""

    shared: tuple[bytes, ...] = field(default=(), repr=False)
    public: tuple[Ed25519PublicKey, ...] = field(default=(), repr=False)


def parse_keys(text: str, *, name: str = "webhook_secrets") -> WebhookKeys:
    """Read one key or several with blanks between, in any order.

    Raises:
        ConfigError: one is neither `whsec_` with 24 to 64 bytes nor `whpk_` with 32 bytes in base64, or they are more
            than a rotation needs; the text names the field, not the key.
    """
    words = text.split()
    if len(words) > _MAX_KEYS:
        raise ConfigError(f"secrets: field {name!r} must hold at most {_MAX_KEYS} keys")
    return WebhookKeys(
        shared=tuple(parse_secret(word, name=name) for word in words if not word.startswith("whpk_")),
        public=tuple(parse_public_key(word, name=name) for word in words if word.startswith("whpk_")),
    )


def parse_secret(text: str, *, name: str = "webhook_secrets") -> bytes:
    key = decode_base64(text.removeprefix("whsec_"), most=64)
    if key is None or not 24 <= len(key) <= 64:
        raise ConfigError(f"secrets: field {name!r} must hold 24 to 64 bytes in base64 after 'whsec_'")
    return key


def parse_public_key(text: str, *, name: str = "webhook_secrets") -> Ed25519PublicKey:
    key = decode_base64(text.removeprefix("whpk_"), most=32)
    if key is None or len(key) != 32:
        raise ConfigError(f"secrets: field {name!r} must hold 32 bytes in base64 after 'whpk_'")
    return Ed25519PublicKey.from_public_bytes(key)


def sign_message(secret: bytes, *, message_id: str, timestamp: int, body: bytes) -> str:
    """Sign as a sender with a shared secret does: one entry of the `webhook-signature` header."""
    signed = _signed(message_id, str(timestamp), body)
    return "v1," + base64.b64encode(hmac.digest(secret, signed, "sha256")).decode()


def sign_message_ed25519(key: Ed25519PrivateKey, *, message_id: str, timestamp: int, body: bytes) -> str:
    """Sign as a sender with a key of its own does."""
    return "v1a," + base64.b64encode(key.sign(_signed(message_id, str(timestamp), body))).decode()


def refuse_unsigned(
    keys: WebhookKeys, request: Inbound, *, now: datetime, tolerance_s: int = MAX_TOLERANCE_S
) -> Reply | None:
    """Answer a request that is not freshly signed with one of the keys; None means that it is.

    After None, `webhook-id` is well formed and identifies the message: it is the same when the message is sent again.
    """
    message_id = request.headers.get("webhook-id", "")
    timestamp = request.headers.get("webhook-timestamp", "")
    if not _ID.fullmatch(message_id) or not _TIMESTAMP.fullmatch(timestamp):
        return problem(400, "webhook_headers", "webhook-id or webhook-timestamp is missing or not well formed.")
    signed = _signed(message_id, timestamp, request.body)
    if not _is_signed(keys, signed, request.headers.get("webhook-signature", "")):
        return problem(401, "signature_invalid", "No signature of the message fits.")
    if abs(now.timestamp() - int(timestamp)) > tolerance_s:
        return problem(401, "timestamp_stale", "The message is too old or from the future: sign it again.")
    return None


def _signed(message_id: str, timestamp: str, body: bytes) -> bytes:
    return f"{message_id}.{timestamp}.".encode() + body


def _is_signed(keys: WebhookKeys, signed: bytes, header: str) -> bool:
    if len(header) > _MAX_SIGNATURE_HEADER or not header.isascii():
        return False
    entries = [entry.partition(",") for entry in header.split(" ")[:_MAX_SIGNATURES]]
    told = [signature.encode() for scheme, _, signature in entries if scheme == "v1"]
    expected = [base64.b64encode(hmac.digest(secret, signed, "sha256")) for secret in keys.shared]
    # Every pair is compared, so that the time does not tell which secret is the current one.
    fits = [hmac.compare_digest(one, other) for one in expected for other in told]
    own = [decode_base64(signature, most=64) or b"" for scheme, _, signature in entries if scheme == "v1a"]
    return any(fits) or any(_is_signed_by(key, signed, signature) for key in keys.public for signature in own)


def _is_signed_by(key: Ed25519PublicKey, signed: bytes, signature: bytes) -> bool:
    try:
        key.verify(signature, signed)
    except InvalidSignature:
        return False
    return True
