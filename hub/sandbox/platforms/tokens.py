"""A platform's codes and tokens as signed text, so that a restarted sandbox still honours them. Pure."""

import base64
import hashlib
import hmac
import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any


class Sealer:
    """Signs small JSON statements with one key; `kind` keeps a code from passing as a token."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def seal(self, kind: str, claims: Mapping[str, Any], *, now: datetime, lives: timedelta) -> str:
        """Return text that `open` accepts until its life is over."""
        statement = {**claims, "kind": kind, "exp": int((now + lives).timestamp())}
        body = _encode(json.dumps(statement, separators=(",", ":"), sort_keys=True).encode())
        return f"{body}.{_encode(self._mac(body))}"

    def open(self, kind: str, text: str, *, now: datetime) -> dict[str, Any] | None:
        """Return the claims, or None if the text is not ours, of another kind, or over."""
        body, _, mac = text.partition(".")
        if not hmac.compare_digest(_encode(self._mac(body)).encode(), mac.encode()):
            return None
        claims: dict[str, Any] = json.loads(_decode(body))
        if claims.get("kind") != kind or claims["exp"] <= now.timestamp():
            return None
        return claims

    def _mac(self, body: str) -> bytes:
        return hmac.new(self._key, body.encode(), hashlib.sha256).digest()


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _decode(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
