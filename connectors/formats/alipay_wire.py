"""The gateway form of Alipay's open platform: signed form fields out, one signed response node in. Pure.

A request is a form whose fields, sorted by name and joined as `k=v&k=v`, are signed with RSA2 (RSASSA-PKCS1-v1_5 with
SHA-256). An answer is `{"alipay_x_y_response": {...}, "sign": "..."}`; its signature holds for the text of the node as
it was written, so it is checked over that substring: the same node written anew would be other bytes.

What the gateway refuses before it knows who asks (`error_response`) is not signed. Such an answer is only believed when
it does no harm: it never ends a link.

Source: alipay-sdk SignatureUtils and the gateway's common parameters and return codes (opendocs.alipay.com).
"""

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from zoneinfo import ZoneInfo

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes

from connectors.base import Reauthorise, RetryLater, SetAside, Stop
from connectors.config import ConfigError
from connectors.strict_json import MalformedJsonError, parse_text, raw_members

ZONE = ZoneInfo("Asia/Shanghai")  # the gateway's times are Beijing time without a zone
TIME = "%Y-%m-%d %H:%M:%S"
_OK = "10000"
_RETRY_S = 30
_LIMITED_S = 60
_LEAST_BITS = 2048  # RSA2 asks for it
_OURS = frozenset({"40001", "40002", "40003"})  # a parameter of ours is missing or wrong: asking again does not help


@dataclass(frozen=True, slots=True, kw_only=True)
class AlipayKeys:
    """Our key signs what we ask; Alipay's key is the one it shows for our app, and proves what it answers."""

    ours: RSAPrivateKey = field(repr=False)
    theirs: RSAPublicKey = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """A response node whose signature holds: as it was written, and taken apart into members as they were written."""

    text: bytes = field(repr=False)
    members: Mapping[str, bytes] = field(repr=False)


def parse_private_key(text: str, *, where: str) -> RSAPrivateKey:
    """Read a private key as Alipay's tools write it (base64 of PKCS#8 or PKCS#1 without lines) or as PEM."""
    try:
        key = _load_private_key(text)
    except (ValueError, TypeError, binascii.Error):
        raise ConfigError(f"{where} must be an RSA private key") from None
    if not isinstance(key, RSAPrivateKey) or key.key_size < _LEAST_BITS:
        raise ConfigError(f"{where} must be an RSA private key of {_LEAST_BITS} bits or more")
    return key


@lru_cache(maxsize=16)
def _load_private_key(text: str) -> PrivateKeyTypes:
    """Proving that a key is sound takes a tenth of a second, and a connector is built for every run."""
    if text.startswith("-----"):
        return serialization.load_pem_private_key(text.encode(), password=None)
    return serialization.load_der_private_key(base64.b64decode(text, validate=True), password=None)


def parse_public_key(text: str, *, where: str) -> RSAPublicKey:
    """Read a public key as Alipay shows it (base64 of SubjectPublicKeyInfo) or as PEM."""
    try:
        if text.startswith("-----"):
            key = serialization.load_pem_public_key(text.encode())
        else:
            key = serialization.load_der_public_key(base64.b64decode(text, validate=True))
    except (ValueError, TypeError, binascii.Error):
        raise ConfigError(f"{where} must be an RSA public key") from None
    if not isinstance(key, RSAPublicKey) or key.key_size < _LEAST_BITS:
        raise ConfigError(f"{where} must be an RSA public key of {_LEAST_BITS} bits or more")
    return key


def signing_text(fields: Mapping[str, str]) -> str:
    """Return what is signed: every field that is not empty but `sign`, sorted by name, as `k=v` joined by `&`."""
    return "&".join(f"{name}={fields[name]}" for name in sorted(fields) if name != "sign" and fields[name])


def sign(text: str, key: RSAPrivateKey) -> str:
    return base64.b64encode(key.sign(text.encode(), PKCS1v15(), hashes.SHA256())).decode()


def verify(data: bytes, signature: str, key: RSAPublicKey) -> bool:
    """Say whether the signature is the key's for exactly these bytes."""
    try:
        key.verify(base64.b64decode(signature, validate=True), data, PKCS1v15(), hashes.SHA256())
    except (InvalidSignature, ValueError):  # binascii.Error is a ValueError
        return False
    return True


def write_local(instant: datetime) -> str:
    return instant.astimezone(ZONE).strftime(TIME)


def node_name(method: str) -> str:
    """Return what the response node of a method is called.

    Example:
        >>> node_name("alipay.social.antforest.carbonday.query")
        'alipay_social_antforest_carbonday_query_response'
    """
    return method.replace(".", "_") + "_response"


def open_answer(body: bytes, *, method: str, key: RSAPublicKey) -> Node:
    """Take the response node out of an answer, check its signature and what it says.

    Raises:
        RetryLater: the service is busy or failed, or the answer was cut on the way.
        Reauthorise: a signed answer says that the person's token does not hold.
        SetAside: the signature does not hold, the shape is another, or the business refused.
        Stop: our app, its keys or its rights are not as agreed.
    """
    try:
        outer = raw_members(body)
        name = next((name for name in (node_name(method), "error_response") if name in outer), None)
        if name is None:
            raise MalformedJsonError("no_member")
        members = raw_members(outer[name])
    except MalformedJsonError as malformed:
        if malformed.reason in ("not_json", "not_utf8"):
            raise RetryLater("answer_unreadable", after_s=_RETRY_S) from None
        raise SetAside(f"answer_{malformed.reason}") from None
    is_signed = "sign" in outer
    if is_signed and not verify(outer[name], parse_text(outer["sign"]) or "", key):
        raise SetAside("answer_signature")
    code = parse_text(members.get("code"))
    if code == _OK and name != "error_response":
        if not is_signed:
            raise SetAside("answer_unsigned")
        return Node(text=outer[name], members=members)
    _refuse(code, parse_text(members.get("sub_code")) or "", is_signed=is_signed)
    raise SetAside("answer_refused")


def _refuse(code: str | None, sub_code: str, *, is_signed: bool) -> None:
    """Turn the gateway's return code into what to do about it."""
    sub = sub_code.lower()
    if code == "20000" or "unknow-error" in sub or sub.endswith("system_error") or sub.endswith("system-error"):
        raise RetryLater("gateway_unavailable", after_s=_RETRY_S)
    if code == "40005":
        raise RetryLater("gateway_limited", after_s=_LIMITED_S)
    if "app-auth-token" in sub or sub == "isv.insufficient-isv-permissions":
        raise Stop("app_not_permitted")
    if code in ("20001", "40006"):
        if not is_signed:
            raise SetAside("refusal_unsigned")
        raise Reauthorise("token_refused" if code == "20001" else "scope_refused")
    if code in _OURS:
        raise Stop("request_refused")
