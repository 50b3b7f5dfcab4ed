"""The T/CEC 102.4 envelope from the charging operator's side: AES-128-CBC, HMAC-MD5. Pure.

Written apart from the hub's own reader on purpose: two hands and one standard, or the wire is not tested.

Source: T/CEC 102.4-2016, appendices B and C.
"""

import base64
import binascii
import hmac
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.padding import PKCS7


@dataclass(frozen=True, slots=True, kw_only=True)
class WireKeys:
    """Agreed between the two sides; each is sixteen characters."""

    data_secret: str = field(repr=False)
    data_secret_iv: str = field(repr=False)
    sig_secret: str = field(repr=False)


class BadReplyError(Exception):
    """The hub's answer is not one: its form, its signature or its data is wrong."""


def encrypt_data(keys: WireKeys, text: bytes) -> str:
    """Return the `Data` of an envelope."""
    padder = PKCS7(128).padder()
    sealer = _cipher(keys).encryptor()
    padded = padder.update(text) + padder.finalize()
    return base64.b64encode(sealer.update(padded) + sealer.finalize()).decode()


def decrypt_data(keys: WireKeys, data: str) -> bytes:
    """Return the text of a `Data`.

    Raises:
        BadReplyError: it cannot be decrypted.
    """
    opener, unpadder = _cipher(keys).decryptor(), PKCS7(128).unpadder()
    try:
        padded = opener.update(base64.b64decode(data, validate=True)) + opener.finalize()
        return unpadder.update(padded) + unpadder.finalize()
    except (binascii.Error, ValueError) as error:
        raise BadReplyError("the data cannot be decrypted") from error


def sign_parts(keys: WireKeys, *parts: str) -> str:
    """Return the `Sig` over the parts in their fixed order; MD5 because the standard says so."""
    return hmac.new(keys.sig_secret.encode(), "".join(parts).encode(), "md5").hexdigest().upper()


def request_envelope(keys: WireKeys, operator_id: str, data: str, stamp: str, seq: str) -> dict[str, str]:
    """Return a signed request around data that are encrypted already."""
    signature = sign_parts(keys, operator_id, data, stamp, seq)
    return {"OperatorID": operator_id, "Data": data, "TimeStamp": stamp, "Seq": seq, "Sig": signature}


def open_reply(keys: WireKeys, body: bytes) -> tuple[int, Mapping[str, Any]]:
    """Return `Ret` and the decrypted data of the hub's answer; names may be written either way.

    Raises:
        BadReplyError: the answer is not signed by the hub, or has no form.
    """
    try:
        reply = _any_spelling(json.loads(body))
        ret, message, data, told = int(reply["ret"]), str(reply["msg"]), str(reply["data"] or ""), str(reply["sig"])
    except (ValueError, KeyError, TypeError) as error:
        raise BadReplyError("the answer has no form") from error
    if not hmac.compare_digest(told.upper().encode(), sign_parts(keys, str(ret), message, data).encode()):
        raise BadReplyError("the answer is not signed by the hub")
    return ret, _any_spelling(json.loads(decrypt_data(keys, data))) if data else {}


def _any_spelling(document: Any) -> dict[str, Any]:
    if not isinstance(document, dict):
        raise BadReplyError("the answer has no form")
    return {name.lower(): value for name, value in document.items()}


def _cipher(keys: WireKeys) -> Cipher[modes.CBC]:
    return Cipher(algorithms.AES(keys.data_secret.encode()), modes.CBC(keys.data_secret_iv.encode()))
