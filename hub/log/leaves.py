"""Leaf bodies: what happened, in canonical JSON, without personal data. Pure.

A leaf is public and for ever, so what may stand in it is decided by shape and not by good will: a value is a code, a
number, a time or a digest, never text, so no name, address or sentence fits in. What says something about one person
goes in as a salted commitment (`commitments.py`), which means nothing once the salt is destroyed.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import TypeAlias

from standards.canonical import canonical_bytes

VERSION = "tanlian/1"
MAX_BODY_BYTES = 8 * 1024
MAX_DEPTH = 4
MAX_SAFE_INTEGER = 2**53 - 1  # RFC 8785 (JCS) section 3.2.2.3: beyond it parsers disagree

FieldValue: TypeAlias = "str | int | bool | bytes | datetime | Sequence[FieldValue] | Mapping[str, FieldValue]"
JsonValue: TypeAlias = "str | int | bool | list[JsonValue] | dict[str, JsonValue]"


class Kind(StrEnum):
    """What a leaf says happened; closed, so that a reader of the log knows all that can be in it."""

    CONSENT_CHANGED = "consent.changed"
    LINK_CHANGED = "link.changed"
    BATCH_RECEIVED = "batch.received"
    BATCH_FETCHED = "batch.fetched"
    BATCH_REPLAYED = "batch.replayed"
    BATCH_RESTATED = "batch.restated"
    BATCH_RELEASED = "batch.released"
    ROWS_DISCARDED = "rows.discarded"
    WINDOW_OPENED = "window.opened"
    WINDOW_SEALED = "window.sealed"
    WINDOW_CLEARED = "window.cleared"
    WINDOW_PROVISIONAL = "window.provisional"
    WINDOW_FINAL = "window.final"
    STATEMENT_RECEIVED = "statement.received"
    RECONCILIATION_DONE = "reconciliation.done"
    EXCHANGE_PAIRED = "exchange.paired"
    EXCHANGE_COUNTED = "exchange.counted"
    BREAK_CHANGED = "break.changed"
    REVIEW_DECIDED = "review.decided"
    DISPUTE_CHANGED = "dispute.changed"
    ENTRIES_POSTED = "entries.posted"
    ADJUSTMENT_POSTED = "adjustment.posted"
    RESERVATION_CHANGED = "reservation.changed"
    DEBT_PAID = "debt.paid"
    BLOCKS_POOLED = "blocks.pooled"
    BLOCK_CHANGED = "block.changed"
    DISCLOSURE_MADE = "disclosure.made"
    ATTESTATION_ISSUED = "attestation.issued"
    ATTESTATION_REVOKED = "attestation.revoked"
    ACCESS_MADE = "access.made"
    PARTICIPANT_CHANGED = "participant.changed"
    CLIENT_CHANGED = "client.changed"
    PRECHECK_ANSWERED = "precheck.answered"
    STANDARDS_ADOPTED = "standards.adopted"
    RESTATEMENT_DECIDED = "restatement.decided"
    MAPPING_ADOPTED = "mapping.adopted"
    PROGRAMME_CHANGED = "programme.changed"
    MEMBERSHIP_CHANGED = "membership.changed"
    TOTALS_TOLD = "totals.told"
    KEY_ROTATED = "key.rotated"
    SUBJECT_KEYED = "subject.keyed"
    SUBJECT_ERASED = "subject.erased"


class LeafError(ValueError):
    """The fields may not stand in a leaf; the text names the field and the rule, never the value."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Leaf:
    """One entry of the log: the exact bytes that are hashed, and what they are about."""

    kind: Kind
    at: datetime
    body: bytes


_RESERVED = frozenset({"v", "kind", "at"})
_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")
_TOKEN = re.compile(r"[\x21-\x29\x2b-\x7e]{1,1024}")  # printable ASCII, no space (text), no "*" (masked numbers)
_INTEGER = re.compile(r"0|-?[1-9][0-9]{0,30}")
_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z")
# Mainland mobile number; resident identity number (GB 11643-1999); an e-mail address.
_PERSONAL_VALUE = re.compile(r"(?:\+?86)?1[3-9][0-9]{9}|[1-9][0-9]{16}[0-9Xx]|[^@]+@[^@]+\.[^@]+")
# fmt: off
_PERSONAL_WORDS = frozenset({
    "account", "address", "birthday", "card", "email", "idcard", "ip", "mobile", "name", "nickname", "openid", "pan",
    "person", "phone", "plate", "sid", "subject", "tel", "unionid", "user", "username",
})
# fmt: on
# A name with a personal word may stand if it ends by saying that no person is in the value.
_IMPERSONAL_ENDINGS = frozenset({"class", "commitment", "count", "kind", "root", "tag"})


def build_leaf(kind: Kind, at: datetime, fields: Mapping[str, FieldValue]) -> Leaf:
    """Return the leaf for an act.

    Args:
        kind: what happened.
        at: when, aware; kept to the second, because finer times are a fingerprint.
        fields: snake_case names. Digests as bytes (written in hex), times as aware datetimes, amounts under names
            ending in `_mg` as int or decimal text (always written as text: they may exceed 2**53).

    Raises:
        LeafError: a field has no place in a public log, or the body exceeds 8 KiB.
    """
    if taken := _RESERVED & fields.keys():
        raise LeafError(f"field {min(taken)}: the name is the leaf's own")
    content = _object(fields, depth=1)
    body = canonical_bytes({"v": VERSION, "kind": Kind(kind).value, "at": _time("at", at), **content})
    if len(body) > MAX_BODY_BYTES:
        raise LeafError(f"the leaf has {len(body)} bytes, the limit is {MAX_BODY_BYTES}")
    return Leaf(kind=Kind(kind), at=at.astimezone(UTC).replace(microsecond=0), body=body)


def _object(fields: Mapping[str, FieldValue], *, depth: int) -> dict[str, JsonValue]:
    if depth > MAX_DEPTH:
        raise LeafError(f"fields nest deeper than {MAX_DEPTH}")
    return {_require_name(name): _value(name, value, depth=depth) for name, value in fields.items()}


def _require_name(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise LeafError("a field name is not lower snake_case ASCII")
    words = name.split("_")
    if _PERSONAL_WORDS.intersection(words) and words[-1] not in _IMPERSONAL_ENDINGS:
        raise LeafError(f"field {name}: the name announces personal data")
    return name


def _value(name: str, value: FieldValue, *, depth: int) -> JsonValue:
    match value:
        case bool():
            return value
        case int():
            return _integer(name, value)
        case str():
            return _token(name, value)
        case bytes():
            return value.hex()
        case datetime():
            return _time(name, value)
        case Mapping():
            return _object(value, depth=depth + 1)
        case Sequence():
            if depth >= MAX_DEPTH:
                raise LeafError(f"fields nest deeper than {MAX_DEPTH}")
            return [_value(name, item, depth=depth + 1) for item in value]
    raise LeafError(f"field {name}: a {type(value).__name__} has no place in a leaf")


def _integer(name: str, value: int) -> str | int:
    if name.endswith("_mg"):
        return str(value)
    if abs(value) > MAX_SAFE_INTEGER:
        raise LeafError(f"field {name}: the integer is beyond 2**53")
    # A number can be a telephone number as well as text can. Counts are exempt: they may take any value.
    if not name.endswith(("_count", "_bytes", "_size")) and _PERSONAL_VALUE.fullmatch(str(value)):
        raise LeafError(f"field {name}: the value looks like personal data")
    return value


def _token(name: str, value: str) -> str:
    if name.endswith("_mg"):
        if not _INTEGER.fullmatch(value):
            raise LeafError(f"field {name}: the amount is not a whole number of milligrams")
        return value
    if not _TOKEN.fullmatch(value):
        raise LeafError(f"field {name}: the value is not a code of 1 to 1024 printable ASCII characters")
    if _PERSONAL_VALUE.fullmatch(value):
        raise LeafError(f"field {name}: the value looks like personal data")
    return value


def _time(name: str, at: datetime) -> str:
    if at.tzinfo is None:
        raise LeafError(f"field {name}: the time has no zone")
    text = at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    if not _TIME.fullmatch(text):  # strftime does not pad years before 1000
        raise LeafError(f"field {name}: the year is out of range")
    return text
