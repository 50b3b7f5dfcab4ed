"""Times as platforms write them to UTC, for a column at once: strict, and never guessing a zone. Pure."""

from typing import TypeAlias

import numpy as np
import polars as pl
from numpy.typing import NDArray

from mappings.compiled import inlined, kernel
from mappings.decimals import EXACT, ROUNDED, TOO_LARGE, parse_whole
from mappings.reasons import NONE, Faults, Reason
from mappings.scan import Bytes, Offsets
from mappings.texts import Mask, Texts, nullable

Moments: TypeAlias = NDArray[np.int64]
"""Microseconds since 1970 in UTC."""

_OFFSET, _LOCAL, _DATE = range(3)
# Kernels take plain numbers, not members of an enum.
_BAD_TIME, _MISSING_ZONE = Reason.BAD_TIME.number, Reason.MISSING_ZONE.number
_DAY_US = 86_400_000_000
_NO_DAY = -(1 << 40)
_NO_OFFSET = 1 << 20
UNIX_UNITS = {"s": 6, "ms": 3, "us": 0}
"""Decimal places from a Unix time's unit to microseconds."""
EARLIEST_US = 946_684_800_000_000
"""2000-01-01: no carbon account is older, and a clock that was never set says 1970."""
LATEST_US = 253_402_300_799_999_999


def parse_offset_times(texts: Texts, zone: str | None = None) -> tuple[Moments, Faults]:
    """Read RFC 3339 times, which carry their offset from UTC (-12:00 to +14:00, or Z).

    Args:
        zone: on whose clock a time without offset stands, where the format says so; else such a time is refused.
    """
    moments, faults = _within_range(*_read(texts, _OFFSET))
    bare = faults == _MISSING_ZONE
    if zone is None or not bare.any():
        return moments, faults
    local, found = parse_local_times(texts, zone)
    return np.where(bare, local, moments), np.where(bare, found, faults)


def parse_local_times(texts: Texts, zone: str) -> tuple[Moments, Faults]:
    """Read `2026-10-05 08:31:10` (or with a T) as the wall clock of a zone; a written offset is refused."""
    return _within_range(*_place(*_read(texts, _LOCAL), texts.told, zone))


def parse_days(texts: Texts, zone: str, *, end: bool) -> tuple[Moments, Faults]:
    """Read `2026-10-05` as a service day of a zone: its first instant, or with `end` that of the next day."""
    wall, faults = _read(texts, _DATE)
    return _within_range(*_place(wall + int(end) * _DAY_US, faults, texts.told, zone))


def parse_unix_times(texts: Texts, unit: str) -> tuple[Moments, Faults]:
    """Read seconds, milliseconds or microseconds since 1970 in UTC; fractions of a microsecond are refused."""
    us, states = parse_whole(texts, UNIX_UNITS[unit])
    faults = np.where(states >= ROUNDED, Reason.BAD_TIME.number, NONE).astype(np.uint8)
    faults[states == TOO_LARGE] = Reason.TIME_OUT_OF_RANGE.number
    return _within_range(np.where(states == EXACT, us, EARLIEST_US), faults)


def _read(texts: Texts, form: int) -> tuple[Moments, Faults]:
    values, faults = np.full(len(texts), EARLIEST_US, np.int64), np.zeros(len(texts), np.uint8)
    _parse_rows(texts.data, texts.starts, texts.ends, texts.told, form, values, faults)
    return values, faults


def _place(wall: Moments, faults: Faults, told: Mask, zone: str) -> tuple[Moments, Faults]:
    """Turn wall clock readings into instants; the ones skipped or repeated by a change of the clocks are refused."""
    clock = nullable(wall, told & (faults == NONE), pl.Datetime("us"))
    first = clock.dt.replace_time_zone(zone, ambiguous="earliest", non_existent="null")
    last = clock.dt.replace_time_zone(zone, ambiguous="latest", non_existent="null")
    skipped = (first.is_null() & clock.is_not_null()).to_numpy()
    repeated = (first.to_physical() != last.to_physical()).fill_null(value=False).to_numpy()
    faults = np.where(skipped, np.uint8(Reason.NONEXISTENT_TIME.number), faults)
    faults = np.where(repeated, np.uint8(Reason.AMBIGUOUS_TIME.number), faults)
    return first.to_physical().fill_null(EARLIEST_US).to_numpy(), faults


def _within_range(us: Moments, faults: Faults) -> tuple[Moments, Faults]:
    outside = (faults == NONE) & ((us < EARLIEST_US) | (us > LATEST_US))
    faults = np.where(outside, np.uint8(Reason.TIME_OUT_OF_RANGE.number), faults)
    return np.where(faults == NONE, us, EARLIEST_US), faults


@inlined
def _number(data: Bytes, at: int, digits: int, end: int) -> int:
    """The number of exactly so many digits at `at`, or -1."""
    if at + digits > end:
        return -1
    value = 0
    for i in range(at, at + digits):
        if data[i] < 0x30 or data[i] > 0x39:
            return -1
        value = value * 10 + int(data[i]) - 0x30
    return value


@inlined
def _is_at(data: Bytes, at: int, end: int, sign: int) -> bool:
    return at < end and data[at] == sign


@inlined
def _day_number(year: int, month: int, day: int) -> int:
    """Days since 1970-01-01 of a date of the Gregorian calendar, or _NO_DAY if there is no such date."""
    leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    longest = 31
    if month == 4 or month == 6 or month == 9 or month == 11:
        longest = 30
    elif month == 2:
        longest = 29 if leap else 28
    if year < 1 or month < 1 or month > 12 or day < 1 or day > longest:
        return _NO_DAY
    # Years from March, eras of 400 years: days_from_civil in Howard Hinnant, "chrono-compatible date algorithms".
    shifted = year - 1 if month <= 2 else year
    era = shifted // 400
    year_of_era = shifted - era * 400
    day_of_year = (153 * (month - 3 if month > 2 else month + 9) + 2) // 5 + day - 1
    return era * 146_097 + year_of_era * 365 + year_of_era // 4 - year_of_era // 100 + day_of_year - 719_468


@inlined
def _offset_minutes(data: Bytes, at: int, end: int) -> int:
    """Minutes east of UTC written at the end of a time; _NO_OFFSET if broken or no offset that is in use on Earth."""
    if at + 1 == end and (data[at] == 0x5A or data[at] == 0x7A):
        return 0
    hours, minutes = _number(data, at + 1, 2, end), _number(data, at + 4, 2, end)
    signed = data[at] == 0x2B or data[at] == 0x2D
    if not signed or at + 6 != end or hours < 0 or minutes < 0 or minutes > 59 or not _is_at(data, at + 3, end, 0x3A):
        return _NO_OFFSET
    total = hours * 60 + minutes
    if data[at] == 0x2D:
        total = -total
    return total if -720 <= total <= 840 else _NO_OFFSET


@inlined
def _parse(data: Bytes, at: int, end: int, form: int) -> tuple[int, int]:
    """Read one time. Returns (microseconds since 1970, in UTC for _OFFSET, on the wall clock otherwise; fault)."""
    year, month, day = _number(data, at, 4, end), _number(data, at + 5, 2, end), _number(data, at + 8, 2, end)
    if year < 0 or month < 0 or day < 0 or data[at + 4] != 0x2D or data[at + 7] != 0x2D:
        return EARLIEST_US, _BAD_TIME
    number = _day_number(year, month, day)
    at += 10
    if number == _NO_DAY or (form == _DATE and at != end):
        return EARLIEST_US, _BAD_TIME
    if form == _DATE:
        return number * _DAY_US, NONE
    if not (_is_at(data, at, end, 0x54) or _is_at(data, at, end, 0x74) or _is_at(data, at, end, 0x20)):
        return EARLIEST_US, _BAD_TIME
    hour, minute = _number(data, at + 1, 2, end), _number(data, at + 4, 2, end)
    second = _number(data, at + 7, 2, end)
    if hour < 0 or hour > 23 or minute < 0 or minute > 59 or second < 0 or second > 59:
        return EARLIEST_US, _BAD_TIME
    if data[at + 3] != 0x3A or data[at + 6] != 0x3A:
        return EARLIEST_US, _BAD_TIME
    us = number * _DAY_US + ((hour * 60 + minute) * 60 + second) * 1_000_000
    at += 9
    if _is_at(data, at, end, 0x2E):
        at += 1
        if at >= end or data[at] < 0x30 or data[at] > 0x39:
            return EARLIEST_US, _BAD_TIME
        unit = 100_000
        while at < end and 0x30 <= data[at] <= 0x39:  # digits below a microsecond are dropped
            us += (int(data[at]) - 0x30) * unit
            unit //= 10
            at += 1
    if form == _LOCAL:
        return us, NONE if at == end else _BAD_TIME
    if at == end:
        return EARLIEST_US, _MISSING_ZONE
    minutes = _offset_minutes(data, at, end)
    return (EARLIEST_US, _BAD_TIME) if minutes == _NO_OFFSET else (us - minutes * 60_000_000, NONE)


@kernel
def _parse_rows(
    data: Bytes, starts: Offsets, ends: Offsets, told: Mask, form: int, values: Moments, faults: Faults
) -> None:
    for row in range(len(values)):
        if told[row]:
            values[row], faults[row] = _parse(data, starts[row], ends[row], form)
