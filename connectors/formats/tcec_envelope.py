"""The envelope of T/CEC 102.4: encrypted data, time stamp, sequence and signature, both ways. Pure.

Request `{OperatorID, Data, TimeStamp, Seq, Sig}`, reply `{Ret, Msg, Data, Sig}`. The standard fixes HMAC-MD5 and
AES-128-CBC with a constant IV; they are used here because the peer speaks nothing else, inside TLS, and nowhere else.
Some implementations of the 2021 edition write the names in camelCase: names are read in any case, but only once.

Source: T/CEC 102.4-2016, appendices B and C (the vectors in the tests).
"""

import base64
import hmac
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import IntEnum
from typing import Any
from zoneinfo import ZoneInfo

from connectors.config import decode_base64
from connectors.formats.aes_cbc import UndecryptableError, decrypt, encrypt
from connectors.strict_json import MalformedJsonError, parse_object

ZONE = ZoneInfo("Asia/Shanghai")  # the standard's times are Beijing time without a zone
_MAX_DATA_BYTES = 256 * 1024
_TIMESTAMP = re.compile(r"[0-9]{14}")
_SEQ = re.compile(r"[0-9]{4}")


class Ret(IntEnum):
    OK = 0
    BUSY = -1
    SYSTEM = 500
    SIGNATURE = 4001
    TOKEN = 4002
    ENVELOPE = 4003
    BUSINESS = 4004


class EnvelopeError(ValueError):
    """The envelope cannot be opened. `ret` is the standard's code for it; the text is our own sentence."""

    def __init__(self, ret: Ret, message: str) -> None:
        super().__init__(message)
        self.ret = ret


@dataclass(frozen=True, slots=True, kw_only=True)
class EnvelopeKeys:
    data_secret: bytes = field(repr=False)
    data_secret_iv: bytes = field(repr=False)
    sig_secret: bytes = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """A request whose signature holds. `text` is the decrypted Data, not yet read."""

    operator_id: str
    timestamp: str
    sent_at: datetime
    seq: str
    text: bytes = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenedReply:
    ret: int
    message: str
    text: bytes = field(repr=False)


def sign(sig_secret: bytes, *parts: str) -> str:
    """HMAC-MD5 over the joined parts, in upper-case hex: fixed by the standard."""
    return hmac.digest(sig_secret, "".join(parts).encode(), "md5").hex().upper()


def seal_envelope(
    keys: EnvelopeKeys, *, operator_id: str, text: bytes, sent_at: datetime, seq: int, camel_case: bool = False
) -> bytes:
    """Write a request as a charging operator sends it."""
    data = _encrypted(keys, text)
    timestamp = sent_at.astimezone(ZONE).strftime("%Y%m%d%H%M%S")
    number = f"{seq:04d}"
    fields = {"OperatorID": operator_id, "Data": data, "TimeStamp": timestamp, "Seq": number}
    fields["Sig"] = sign(keys.sig_secret, operator_id, data, timestamp, number)
    return _written(fields, camel_case)


def open_envelope(keys: EnvelopeKeys, body: bytes) -> Opened:
    """Verify and decrypt a request.

    Raises:
        EnvelopeError: 4003 when a part is missing or not well formed, 4001 when the signature does not fit, 4004 when
            the signed Data does not decrypt.
    """
    try:
        document = parse_object(body)
        operator_id, data, timestamp, seq, told = (
            require_text(document, name) for name in ("OperatorID", "Data", "TimeStamp", "Seq", "Sig")
        )
    except (MalformedJsonError, KeyError):
        raise EnvelopeError(Ret.ENVELOPE, "The envelope lacks one of its five parts.") from None
    # Fixed lengths, because the signed text is joined without marks between its parts.
    if not _TIMESTAMP.fullmatch(timestamp) or not _SEQ.fullmatch(seq):
        raise EnvelopeError(Ret.ENVELOPE, "TimeStamp or Seq is not well formed.")
    if not _is_equal(told.upper(), sign(keys.sig_secret, operator_id, data, timestamp, seq)):
        raise EnvelopeError(Ret.SIGNATURE, "The signature does not fit.")
    return Opened(
        operator_id=operator_id,
        timestamp=timestamp,
        sent_at=_parse_timestamp(timestamp),
        seq=seq,
        text=_decrypted(keys, data),
    )


def seal_reply(
    keys: EnvelopeKeys, *, ret: Ret, message: str = "", data: Mapping[str, Any] | None = None, camel_case: bool = False
) -> bytes:
    encrypted = "" if data is None else _encrypted(keys, _written(data, camel_case))
    fields: dict[str, Any] = {"Ret": int(ret), "Msg": message, "Data": encrypted}
    fields["Sig"] = sign(keys.sig_secret, str(int(ret)), message, encrypted)
    return _written(fields, camel_case)


def open_reply(keys: EnvelopeKeys, body: bytes) -> OpenedReply:
    """Verify and decrypt a reply: what a charging operator does with our answer."""
    try:
        document = parse_object(body)
        ret = find_member(document, "Ret")
        message, data, told = (find_member(document, name) for name in ("Msg", "Data", "Sig"))
    except (MalformedJsonError, KeyError):
        raise EnvelopeError(Ret.ENVELOPE, "The reply lacks one of its four parts.") from None
    if not (isinstance(ret, int) and isinstance(message, str) and isinstance(data, str) and isinstance(told, str)):
        raise EnvelopeError(Ret.ENVELOPE, "A part of the reply is of the wrong type.")
    if not _is_equal(told.upper(), sign(keys.sig_secret, str(ret), message, data)):
        raise EnvelopeError(Ret.SIGNATURE, "The signature does not fit.")
    return OpenedReply(ret=ret, message=message, text=_decrypted(keys, data) if data else b"")


def find_member(document: Mapping[str, Any], name: str) -> Any:
    """Find a member by its name in any case; two spellings of one name at once are as good as none."""
    found = [value for key, value in document.items() if key.lower() == name.lower()]
    if len(found) != 1:
        raise KeyError(name)
    return found[0]


def require_text(document: Mapping[str, Any], name: str) -> str:
    value = find_member(document, name)
    if not isinstance(value, str) or not value:
        raise KeyError(name)
    return value


def _encrypted(keys: EnvelopeKeys, text: bytes) -> str:
    return base64.b64encode(encrypt(text, key=keys.data_secret, iv=keys.data_secret_iv)).decode()


def _decrypted(keys: EnvelopeKeys, data: str) -> bytes:
    encrypted = decode_base64(data, most=_MAX_DATA_BYTES)
    try:
        return decrypt(encrypted or b"", key=keys.data_secret, iv=keys.data_secret_iv)
    except UndecryptableError:
        raise EnvelopeError(Ret.BUSINESS, "Data cannot be decrypted.") from None


def _parse_timestamp(text: str) -> datetime:
    try:
        return datetime.strptime(text, "%Y%m%d%H%M%S").replace(tzinfo=ZONE)
    except ValueError:
        raise EnvelopeError(Ret.ENVELOPE, "TimeStamp is not a time.") from None


def _written(fields: Mapping[str, Any], camel_case: bool) -> bytes:
    named = {name[0].lower() + name[1:]: value for name, value in fields.items()} if camel_case else dict(fields)
    return json.dumps(named, ensure_ascii=False, separators=(",", ":")).encode()


def _is_equal(told: str, expected: str) -> bool:
    return hmac.compare_digest(told.encode(), expected.encode())
