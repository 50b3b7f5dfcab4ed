"""JSON from outside, without the tolerance of the standard parser. Pure.

`json.loads` keeps the last of two equal keys, reads NaN and turns 1e999 into infinity: two readers of the same signed
bytes could then see different records. Records are handed on as the exact text of the platform, so that `6.00` stays
`6.00` and a corrected mapping can read it again.
"""

import json
import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NoReturn

from connectors.base import Unreadable

MAX_DEPTH = 32  # of one record; deeper is an attack on recursive readers further on
_SPACE = re.compile(r"[ \t\n\r]*")
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")


class MalformedJsonError(ValueError):
    """The bytes are not strict JSON. `reason` is a stable code."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """An object taken apart: its other members parsed, the elements of one array as they were written."""

    rest: dict[str, Any]
    rows: tuple[bytes, ...]
    unreadable: tuple[Unreadable, ...]


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise MalformedJsonError("duplicate_key")
    return members


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise MalformedJsonError("number_too_large")
    return value


def _constant(_: str) -> NoReturn:
    raise MalformedJsonError("not_a_number")


_STRICT = json.JSONDecoder(object_pairs_hook=_unique, parse_float=_finite, parse_constant=_constant)
_LENIENT = json.JSONDecoder()


def parse_object(data: bytes, *, max_depth: int = MAX_DEPTH) -> dict[str, Any]:
    """Parse bytes that must be exactly one JSON object.

    Raises:
        MalformedJsonError: not UTF-8, not JSON, duplicate keys, NaN or infinity, half a character, too deep, or not an
            object.
    """
    text = _text(data)
    value, end = _value(text, _skip(text, 0))
    if _skip(text, end) != len(text):
        raise MalformedJsonError("not_json")
    if not isinstance(value, dict):
        raise MalformedJsonError("not_an_object")
    require_depth(value, max_depth)
    _require_whole_characters(text, value)
    return value


def split_records(data: bytes, key: str) -> Split:
    """Take `{..., key: [...], ...}` apart into the array's elements and the other members.

    An element that is itself badly written (duplicate keys, NaN, too deep, not an object) is unreadable and does not
    disturb the others; anything wrong around the elements makes the whole message malformed.

    Raises:
        MalformedJsonError: also when the array is missing.
    """
    text = _text(data)
    rest: dict[str, Any] = {}
    found: tuple[tuple[bytes, ...], tuple[Unreadable, ...]] | None = None

    def member(at: int) -> int:
        nonlocal found
        name, at = _value(text, at)
        if not isinstance(name, str):
            raise MalformedJsonError("not_json")
        if name in rest or (name == key and found is not None):
            raise MalformedJsonError("duplicate_key")
        at = _skip(text, _expect(text, _skip(text, at), ":"))
        if name == key and text[at : at + 1] == "[":
            rows, unreadable, at = _elements(text, at)
            found = (rows, unreadable)
        else:
            rest[name], at = _value(text, at)
        return at

    end = _sequence(text, _skip(text, 0), "{", "}", member)
    if _skip(text, end) != len(text):
        raise MalformedJsonError("not_json")
    if found is None:
        raise MalformedJsonError("no_records")
    require_depth(rest, MAX_DEPTH)
    _require_whole_characters(text, rest)
    return Split(rest=rest, rows=found[0], unreadable=found[1])


def raw_member(data: bytes, key: str) -> bytes:
    """Find a member of an object and return its value as it was written: what a platform signed, or nested its rows in.

    Raises:
        MalformedJsonError: also when the member is missing.
    """
    members = raw_members(data)
    if key not in members:
        raise MalformedJsonError("no_member")
    return members[key]


def raw_members(data: bytes) -> dict[str, bytes]:
    """Take an object apart into its members, each value as it was written; whoever reads a value is strict about it.

    Raises:
        MalformedJsonError: not UTF-8, not an object, the same name twice.
    """
    text = _text(data)
    members: dict[str, bytes] = {}

    def member(at: int) -> int:
        name, at = _value(text, at)
        if not isinstance(name, str):
            raise MalformedJsonError("not_json")
        if name in members:
            raise MalformedJsonError("duplicate_key")
        start = _skip(text, _expect(text, _skip(text, at), ":"))
        _, end = _value(text, start, _LENIENT)
        members[name] = text[start:end].encode()
        return end

    end = _sequence(text, _skip(text, 0), "{", "}", member)
    if _skip(text, end) != len(text):
        raise MalformedJsonError("not_json")
    return members


def parse_text(value: bytes | None) -> str | None:
    """Read a value of `raw_members` that must be a text; None if it is missing, null or anything else."""
    if value is None:
        return None
    text = _text(value)
    try:
        found, end = _value(text, 0)
        _require_whole_characters(text, found)
    except MalformedJsonError:
        return None
    return found if isinstance(found, str) and end == len(text) else None


def require_depth(value: Any, max_depth: int) -> None:
    """Walk level by level, so that the check itself cannot run out of stack."""
    level, depth = [value], 0
    while level := [item for item in level if isinstance(item, dict | list)]:
        depth += 1
        if depth > max_depth:
            raise MalformedJsonError("too_deep")
        level = [inner for item in level for inner in (item.values() if isinstance(item, dict) else item)]


def _require_whole_characters(text: str, value: Any) -> None:
    """Refuse an escaped half of a surrogate pair: no UTF-8, digest or database can hold it."""
    if not _SURROGATE.search(text):
        return
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise MalformedJsonError("half_character") from None


def _elements(text: str, at: int) -> tuple[tuple[bytes, ...], tuple[Unreadable, ...], int]:
    rows: list[bytes] = []
    unreadable: list[Unreadable] = []

    def element(start: int) -> int:
        position = len(rows) + len(unreadable)
        try:
            value, end = _value(text, start)
            if not isinstance(value, dict):
                raise MalformedJsonError("not_an_object")
            require_depth(value, MAX_DEPTH)
            _require_whole_characters(text[start:end], value)
        except MalformedJsonError as malformed:
            _, end = _value(text, start, _LENIENT)  # where the element ends; raises if nobody can tell
            detail = "The record is not strict JSON."
            unreadable.append(Unreadable(position=position, reason=malformed.reason, detail=detail))
        else:
            rows.append(text[start:end].encode())
        return end

    end = _sequence(text, at, "[", "]", element)
    return tuple(rows), tuple(unreadable), end


def _sequence(text: str, at: int, opening: str, closing: str, item: Callable[[int], int]) -> int:
    at = _skip(text, _expect(text, at, opening))
    if text[at : at + 1] == closing:
        return at + 1
    while True:
        at = _skip(text, item(at))
        if text[at : at + 1] == closing:
            return at + 1
        at = _skip(text, _expect(text, at, ","))


def _value(text: str, at: int, decoder: json.JSONDecoder = _STRICT) -> tuple[Any, int]:
    try:
        return decoder.raw_decode(text, at)
    except MalformedJsonError:
        raise
    except (ValueError, RecursionError) as error:  # ValueError also for integers of more than 4300 digits
        raise MalformedJsonError("not_json" if isinstance(error, ValueError) else "too_deep") from None


def _text(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise MalformedJsonError("not_utf8") from None


def _skip(text: str, at: int) -> int:
    match = _SPACE.match(text, at)
    return match.end() if match else at


def _expect(text: str, at: int, mark: str) -> int:
    if text[at : at + 1] != mark:
        raise MalformedJsonError("not_json")
    return at + 1
