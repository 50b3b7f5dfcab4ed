"""Event tokens: the number that one order, trip or payment has at every platform, made with a key of the hub. Pure.

The raw number stays in the encrypted source record. Two platforms that know the same order give the same token, and
nobody without the key can go back from a token to the order, or try likely orders against it.
"""

import hashlib
import unicodedata
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mappings.compiled import kernel
from mappings.scan import Bytes, Offsets
from mappings.texts import Mask, Texts

KINDS = ("origin", "payment")
MAX_KEY_BYTES = 256
_SEPARATOR = b"\x1f"
_BLOCK = 64  # of SHA-256, in bytes
# What systems write when they have no number. Digits that are all 0 or all 9 are found by `_is_dummy`.
_DUMMIES = frozenset({"", "NULL", "NONE", "NIL", "NAN", "NA", "N/A", "UNDEFINED", "UNKNOWN", "TEST"})


def event_token(token_key: bytes, kind: str, raw: str) -> int | None:
    """Return the token of one number, or None for a dummy.

    Args:
        token_key: at least 16 bytes, secret, the same for all platforms.
        kind: "origin" for orders, trips, waybills, charges and bills; "payment" for payments.
        raw: the number as the platform wrote it; case, width and spaces do not matter.

    Raises:
        ValueError: the key is too short, or the kind is not known.
    """
    number = _normalise(raw)
    tag = int(_tags(token_key, kind, [number.encode()])[0])
    return None if _is_dummy(number) else tag


def tokenize(token_key: bytes, kind: str, raw: Texts) -> tuple[NDArray[np.uint64], Mask]:
    """Return the tokens of a column as `event_token` makes them, and where there is one.

    The one step of a translation that runs Python per row: HMAC has no columnar form.
    """
    room = int(np.where(raw.told, raw.ends - raw.starts, 0).sum())
    numbers, bounds, found = np.empty(max(1, room), np.uint8), np.zeros(len(raw) + 1, np.int64), raw.told.copy()
    foreign = np.zeros(len(raw), np.bool_)
    _normalise_rows(raw.data, raw.starts, raw.ends, raw.told, numbers, bounds, foreign)
    plain = Texts(data=numbers, starts=bounds[:-1], ends=bounds[1:], told=raw.told & ~foreign)
    found &= foreign | ((bounds[1:] > bounds[:-1]) & (plain.find(sorted(_DUMMIES - {""})) < 0))
    others = {
        row: _normalise(raw.data[raw.starts[row] : raw.ends[row]].tobytes().decode())
        for row in np.flatnonzero(foreign).tolist()
    }
    for row, number in others.items():
        found[row] = not _is_dummy(number)
    content, ends = numbers.tobytes(), bounds.tolist()
    rows = np.flatnonzero(found)
    tokens = np.zeros(len(raw), np.uint64)
    tokens[rows] = _tags(
        token_key,
        kind,
        [others[row].encode() if row in others else content[ends[row] : ends[row + 1]] for row in rows.tolist()],
    )
    return tokens, found


def _normalise(raw: str) -> str:
    """Return the number without spaces and invisible characters, in one width and case."""
    wide = unicodedata.normalize("NFKC", raw).upper()
    return "".join(c for c in wide if unicodedata.category(c)[0] not in "CZ")


def _is_dummy(number: str) -> bool:
    return number in _DUMMIES or not number.strip("0") or not number.strip("9") or not number.strip("-")


def _tags(token_key: bytes, kind: str, numbers: Sequence[bytes]) -> NDArray[np.uint64]:
    """Return the first 8 bytes, as a big-endian number, of the HMAC-SHA256 (RFC 2104) of each normalised number.

    It is written out here because copying two hash states is three times faster than `hmac.digest`.
    """
    if len(token_key) < 16:
        raise ValueError("the token key has fewer than 16 bytes")
    if kind not in KINDS:
        raise ValueError(f"unknown kind of token: {kind!r}")
    key = (hashlib.sha256(token_key).digest() if len(token_key) > _BLOCK else token_key).ljust(_BLOCK, b"\0")
    start_inner = hashlib.sha256(bytes(b ^ 0x36 for b in key) + kind.encode() + _SEPARATOR).copy
    start_outer = hashlib.sha256(bytes(b ^ 0x5C for b in key)).copy
    digests = []
    for number in numbers:
        inner, outer = start_inner(), start_outer()
        inner.update(number)
        outer.update(inner.digest())
        digests.append(outer.digest())
    return np.frombuffer(b"".join(digests), ">u8")[::4].astype(np.uint64)


@kernel
def _normalise_rows(
    data: Bytes, starts: Offsets, ends: Offsets, told: Mask, out: Bytes, bounds: Offsets, foreign: Mask
) -> None:
    """As `_normalise` for ASCII: no byte up to a space, no DEL, capitals; nothing is written for all 0, 9 or -.

    A row with any other byte is marked as foreign, and left to `_normalise`.
    """
    at = 0
    for row in range(len(told)):
        start = at
        same = True
        if told[row]:
            for i in range(starts[row], ends[row]):
                c = data[i]
                if c > 0x7F:
                    foreign[row] = True
                    break
                if c > 0x20 and c != 0x7F:
                    out[at] = c - 32 if 0x61 <= c <= 0x7A else c
                    same = same and out[at] == out[start]
                    at += 1
            if at > start and same and (out[start] == 0x30 or out[start] == 0x39 or out[start] == 0x2D):
                at = start
            if foreign[row]:
                at = start
        bounds[row + 1] = at
