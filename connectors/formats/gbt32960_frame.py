"""Frames of GB/T 32960.3-2016: cut out of a file of frames, checked, and read as far as the odometer. Pure.

Source: GB/T 32960.3-2016, tables 2 to 4 (frame), 7.2.3 (units of real-time data).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

import numpy as np

from connectors.base import SetAside

START = b"##"  # 0x2323; the 2025 edition has others
COMMANDS = frozenset(range(0x01, 0x09))
ANSWERS = frozenset({0x01, 0x02, 0x03, 0xFE})
REAL_TIME = frozenset({0x02, 0x03})  # 03: sent again, after the connection was lost
TIMED = frozenset({0x01, 0x02, 0x03, 0x04})
PLAIN = 0x01
MAX_SEARCHES = 1000
MAX_ODOMETER = 9_999_999  # of 0.1 km; above stand "abnormal" (FF FF FF FE) and "invalid" (FF FF FF FF)
_HEAD_BYTES = 24  # start 2, command, answer, VIN 17, encryption, length 2
_VEHICLE, _VEHICLE_BYTES = 0x01, 20
_FIXED = {_VEHICLE: _VEHICLE_BYTES, 0x04: 5, 0x05: 9, 0x06: 14}


class FrameFault(NamedTuple):
    """Why a stretch of bytes is no frame that can be read. No byte of it is in the sentence."""

    reason: str
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """One sound frame. `at` is the vehicle's clock (Beijing time); `odometer_hm` is in 0.1 km, None where not told."""

    command: int
    vin: str
    at: datetime | None
    odometer_hm: int | None


def bcc(data: bytes) -> int:
    """Exclusive or of all bytes."""
    return int(np.bitwise_xor.reduce(np.frombuffer(data, np.uint8))) if data else 0


def split_frames(data: bytes) -> Iterator[Frame | FrameFault]:
    """Give every frame of a file in order; bytes between sound frames are one fault.

    Raises:
        SetAside: so much of the file is damaged that searching on is no use.
    """
    at, searches = 0, 0
    while at < len(data):
        length = frame_length(data, at)
        if length is not None and at + length <= len(data):
            found = parse_frame(data[at : at + length])
            yield found
            # A frame that lost bytes reaches into the next one by its own word, which must not take that one along.
            if not (isinstance(found, FrameFault) and found.reason == "bcc") or _may_follow(data, at + length):
                at += length
            else:
                at, searches = _next_sound(data, at + 1, MAX_SEARCHES - searches)
            continue
        yield _fault_at(data, at)
        foreign = _foreign_length(data, at)
        if foreign is not None:
            at += foreign
        else:
            at, searches = _next_sound(data, at + 1, MAX_SEARCHES - searches)


def frame_length(data: bytes, at: int) -> int | None:
    """Tell how long the frame at a place is by its own word; None if none begins there."""
    head = data[at : at + _HEAD_BYTES]
    if len(head) < _HEAD_BYTES or head[:2] != START:
        return None
    if head[2] not in COMMANDS and not 0x80 <= head[2] <= 0xFE:
        return None
    return _HEAD_BYTES + int.from_bytes(head[22:24], "big") + 1


def _may_follow(data: bytes, at: int) -> bool:
    return at == len(data) or data[at : at + 2] == START


def _foreign_length(data: bytes, at: int) -> int | None:
    """Tell how long a sound frame of another edition is: it is refused alone, not with all that follows."""
    head = data[at : at + _HEAD_BYTES]
    if len(head) < _HEAD_BYTES or head[0] != head[1] or head[:2] == START:
        return None
    length = _HEAD_BYTES + int.from_bytes(head[22:24], "big") + 1
    frame = data[at : at + length]
    return length if len(frame) == length and bcc(frame[2:-1]) == frame[-1] else None


def parse_frame(frame: bytes) -> Frame | FrameFault:
    """Check and read one frame of the length that it says it has."""
    if bcc(frame[2:-1]) != frame[-1]:
        return FrameFault("bcc", "The frame's check byte does not fit its content.")
    if frame[3] not in ANSWERS:
        return FrameFault("answer", "The frame's answer mark is none of the standard's.")
    command, data = frame[2], frame[_HEAD_BYTES:-1]
    vin = frame[4:21].rstrip(b"\0 ").decode("ascii", errors="replace")
    if frame[21] != PLAIN and data:
        return FrameFault("encrypted", "The frame's data is encrypted, or marked as invalid.")
    if command not in TIMED:
        return Frame(command=command, vin=vin, at=None, odometer_hm=None)
    at = _parse_time(data[:6])
    if at is None:
        return FrameFault("time", "The frame's time is none.")
    odometer = _find_odometer(data[6:]) if command in REAL_TIME else None
    if isinstance(odometer, FrameFault):
        return odometer
    return Frame(command=command, vin=vin, at=at, odometer_hm=odometer)


def _parse_time(data: bytes) -> datetime | None:
    if len(data) != 6:
        return None
    year, month, day, hour, minute, second = data
    try:
        return datetime(2000 + year, month, day, hour, minute, second)
    except ValueError:
        return None


def _find_odometer(units: bytes) -> int | FrameFault | None:
    """Walk the units up to the whole-vehicle one; None if there is none, or its value is not valid."""
    at = 0
    while at < len(units):
        kind, body = units[at], units[at + 1 :]
        size = _unit_bytes(kind, body)
        if size is None or size > len(body):
            return FrameFault("units", "The frame's units are cut off, or of a kind without a known length.")
        if kind == _VEHICLE:
            value = int.from_bytes(body[5:9], "big")
            return value if value <= MAX_ODOMETER else None
        at += 1 + size
    return None


def _unit_bytes(kind: int, body: bytes) -> int | None:
    """Tell how many bytes follow a unit's kind; more than there are means that it is cut off."""
    if kind in _FIXED:
        return _FIXED[kind]
    match kind:
        case 0x02:  # drive motors: 12 bytes each
            return 1 + 12 * body[0] if body else None
        case 0x03:  # fuel cell: a list of temperatures inside
            return 18 + int.from_bytes(body[6:8], "big") if len(body) >= 8 else None
        case 0x07:  # alarms: a level, flags, and four lists of 4 bytes each
            return _alarm_bytes(body)
        case 0x08:  # battery voltages: packs with their frame's cells
            return _pack_bytes(body, head=10, count_at=9, count_bytes=1, each=2)
        case 0x09:  # battery temperatures: packs with their probes
            return _pack_bytes(body, head=3, count_at=1, count_bytes=2, each=1)
        case _ if 0x80 <= kind <= 0xFE:  # the maker's own, with its length
            return 2 + int.from_bytes(body[:2], "big") if len(body) >= 2 else None
    return None


def _alarm_bytes(body: bytes) -> int | None:
    size = 5
    for _ in range(4):
        if size >= len(body):
            return None
        size += 1 + 4 * body[size]
    return size


def _pack_bytes(body: bytes, *, head: int, count_at: int, count_bytes: int, each: int) -> int | None:
    if not body:
        return None
    size = 1
    for _ in range(body[0]):
        count = body[size + count_at : size + count_at + count_bytes]
        if len(count) < count_bytes:
            return None
        size += head + each * int.from_bytes(count, "big")
    return size


def _fault_at(data: bytes, at: int) -> FrameFault:
    if data[at : at + 2] != START:
        return FrameFault("start_bytes", "The bytes begin with none of the known start bytes.")
    return FrameFault("cut_off", "The frame is cut off, or its command is none of the standard's.")


def _next_sound(data: bytes, at: int, searches_left: int) -> tuple[int, int]:
    """Find the next place where a frame with a fitting check byte begins; the end of the file if there is none."""
    tried = 0
    while (at := data.find(START, at)) >= 0:
        length = frame_length(data, at)
        if length is not None and at + length <= len(data):
            tried += 1
            if tried > searches_left:
                raise SetAside("file_frames")
            if bcc(data[at + 2 : at + length - 1]) == data[at + length - 1]:
                return at, MAX_SEARCHES - (searches_left - tried)
        at += 1
    return len(data), MAX_SEARCHES - (searches_left - tried)
