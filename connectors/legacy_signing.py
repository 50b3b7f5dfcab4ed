"""Signatures of platforms' own standards that are older than HMAC-SHA256 over raw bytes: one table of rules. Pure.

Used only where the peer's standard fixes it: to check what such a peer sends us, and to sign what we must ask it in its
own way; always inside TLS, and never for a form of the hub's own (that is `webhook_signature.py`). MD5 and SHA-1 keep
out a stranger who does not know the key; they are not trusted with more.

A rule says what is signed (texts in their order, or `name=value` pairs in order of their names), where the key goes,
and how the digest is written. T/CEC's and WeChat's rules are here too, so that one reader sees them side by side.

Source: the rule's own comment in the table; vectors in the tests.
"""

import hashlib
import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal
from urllib.parse import quote, quote_plus

from cryptography.hazmat.primitives import hashes

_SAFE_IN_QUERY = "/:=&?#+!$,;'@()*[]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Scheme:
    """One rule of signing.

    Attributes:
        digest: the name of the digest; its HMAC where `key` says so.
        key: the key stands before or after the text, is a pair `key_name` among the sorted pairs, is the HMAC's key, is
            the HMAC's key and stands after the text as well, or there is none.
        pair: between a pair's name and value.
        between: between pairs or texts.
        mark: between the text and a key after it.
        order: of the texts that are joined.
        upper: hexadecimal in capitals.
        trim: values are taken without blanks around them.
        quoted: the text with its key is written as a form's value before it is digested (Baidu).
    """

    digest: Literal["md5", "sha1", "sha256", "sm3"]
    key: Literal["before", "after", "pair", "hmac", "hmac_and_after", "none"]
    pair: str = "="
    between: str = ""
    mark: str = ""
    key_name: str = ""
    order: Literal["given", "sorted"] = "given"
    upper: bool = False
    trim: bool = False
    quoted: bool = False


SCHEMES: Mapping[str, Scheme] = MappingProxyType(
    {
        # WeChat Pay v2 and the many platforms that copied it; with HMAC the key is used twice.
        "sorted_md5": Scheme(digest="md5", key="after", between="&", mark="&key=", order="sorted", upper=True),
        "sorted_hmac_sha256": Scheme(
            digest="sha256", key="hmac_and_after", between="&", mark="&key=", order="sorted", upper=True
        ),
        # DiDi for enterprises: the key is one of the sorted pairs.
        "sorted_key_inside_md5": Scheme(
            digest="md5", key="pair", between="&", key_name="sign_key", order="sorted", trim=True
        ),
        "sorted_key_inside_sha256": Scheme(
            digest="sha256", key="pair", between="&", key_name="sign_key", order="sorted", trim=True
        ),
        # Meituan, as its delivery service documents it; that its order push signs alike is an assumption.
        "sorted_bare_sha1": Scheme(digest="sha1", key="before", pair="", order="sorted"),
        # T/CEC 102.4, appendix C.
        "concat_hmac_md5": Scheme(digest="md5", key="hmac", upper=True),
        # Kuaidi100: param + t + key + secret, param + salt; the secret comes last.
        "concat_md5": Scheme(digest="md5", key="after", upper=True),
        # WeChat: `rawData` with the session key; messages to a server with its token among the sorted texts.
        "concat_sha1": Scheme(digest="sha1", key="after"),
        "sorted_texts_sha1": Scheme(digest="sha1", key="pair", order="sorted"),
        # Baidu Maps `sn`.
        "quoted_md5": Scheme(digest="md5", key="after", quoted=True),
        # GB/T 32905: a digest without a key.
        "sm3": Scheme(digest="sm3", key="none"),
    }
)


def sign_pairs(name: str, pairs: Mapping[str, str], key: str) -> str:
    """Sign named values by a rule of the table; those that are empty and `sign` itself are not signed.

    Example:
        >>> sign_pairs("sorted_md5", {"b": "2", "a": "1", "sign": "x", "c": ""}, "k")
        'F8F06AFA2E241A36469B9DAC959B3474'
    """
    scheme = SCHEMES[name]
    told = {label: value.strip() if scheme.trim else value for label, value in pairs.items()}
    told = {label: value for label, value in told.items() if value and label != "sign"}
    if scheme.key == "pair":
        told[scheme.key_name] = key
    labels = sorted(told) if scheme.order == "sorted" else list(told)
    text = scheme.between.join(f"{label}{scheme.pair}{told[label]}" for label in labels)
    return _digest_keyed(scheme, text, key)


def sign_texts(name: str, texts: Sequence[str], key: str) -> str:
    """Sign texts by a rule of the table, in their order or sorted, as the rule says."""
    scheme = SCHEMES[name]
    told = [*texts, key] if scheme.key == "pair" else list(texts)
    if scheme.order == "sorted":
        told.sort()
    return _digest_keyed(scheme, scheme.between.join(told), key)


def quote_query(path_and_query: str) -> str:
    """Write a path with its query as Baidu's `sn` signs it and its server receives it."""
    return quote(path_and_query, safe=_SAFE_IN_QUERY)


def is_signed(told: str, expected: str) -> bool:
    """Compare two signatures in hexadecimal, in a time that does not tell where they differ."""
    return hmac.compare_digest(told.lower().encode("utf-8", "replace"), expected.lower().encode())


def _digest_keyed(scheme: Scheme, text: str, key: str) -> str:
    if scheme.key == "before":
        text = key + text
    elif scheme.key in ("after", "hmac_and_after"):
        text = text + scheme.mark + key
    if scheme.quoted:
        text = quote_plus(text)
    data = text.encode()
    is_hmac = scheme.key in ("hmac", "hmac_and_after")
    digest = hmac.digest(key.encode(), data, scheme.digest) if is_hmac else _digest(scheme.digest, data)
    return digest.hex().upper() if scheme.upper else digest.hex()


def _digest(name: str, data: bytes) -> bytes:
    if name == "sm3":  # hashlib has it only where OpenSSL was built with it
        sm3 = hashes.Hash(hashes.SM3())
        sm3.update(data)
        return sm3.finalize()
    return hashlib.new(name, data, usedforsecurity=False).digest()
