"""Opening what WeChat encrypts for a mini-program. Pure.

`encryptedData` is AES-128-CBC under the person's session key, which lives for one call and is never kept. The watermark
inside says for which app and when WeChat made it; without that check, data taken for another app could be shown here.

Source: WeChat mini-program documentation, "Open data verification and decryption".
"""

import hashlib
import hmac
from datetime import datetime
from typing import Any

from connectors.config import decode_base64
from connectors.formats.aes_cbc import BLOCK_BYTES, UndecryptableError, decrypt
from connectors.strict_json import MalformedJsonError, parse_object

_MAX_DATA_BYTES = 64 * 1024
_MAX_AHEAD_S = 60
_FIRST_MS = 100_000_000_000  # as seconds this is the year 5138


class WeChatDataError(ValueError):
    """The data cannot be taken. `reason` is a stable code."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def parse_session_key(text: object) -> bytes:
    key = decode_base64(text, most=BLOCK_BYTES) if isinstance(text, str) else None
    if key is None or len(key) != BLOCK_BYTES:
        raise WeChatDataError("session_key")
    return key


def open_data(encrypted_data: str, iv: str, *, session_key: bytes) -> dict[str, Any]:
    """Decrypt and read; a wrong key, a cut text, bad padding and bad JSON are one and the same error."""
    data, vector = decode_base64(encrypted_data, most=_MAX_DATA_BYTES), decode_base64(iv, most=BLOCK_BYTES)
    try:
        return parse_object(decrypt(data or b"", key=session_key, iv=vector or b""))
    except (UndecryptableError, MalformedJsonError):
        raise WeChatDataError("undecryptable") from None


def require_watermark(document: dict[str, Any], *, appid: str, now: datetime, max_age_s: int) -> None:
    mark = document.get("watermark")
    if not isinstance(mark, dict) or not isinstance(mark.get("appid"), str):
        raise WeChatDataError("watermark_missing")
    if not hmac.compare_digest(mark["appid"].encode(), appid.encode()):
        raise WeChatDataError("watermark_appid")
    made_at = mark.get("timestamp")
    if not isinstance(made_at, int) or isinstance(made_at, bool):
        raise WeChatDataError("watermark_missing")
    if not 0 < made_at < _FIRST_MS or not -_MAX_AHEAD_S <= now.timestamp() - made_at <= max_age_s:
        raise WeChatDataError("watermark_stale")


def verify_raw_data(raw_data: str, signature: str, *, session_key: str) -> bool:
    """Check `signature = sha1(rawData + session_key)`: SHA-1 and the plain join are WeChat's, not our choice."""
    digest = hashlib.sha1((raw_data + session_key).encode(), usedforsecurity=False).hexdigest()
    return hmac.compare_digest(digest.encode(), signature.encode())
