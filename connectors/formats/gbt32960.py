"""GB/T 32960.3 vehicle frames in signed drops: no-drive days that were declared, proved by the odometer. Pure.

A drop has two kinds of files. `.bin`: frames as vehicles send them, one after the other; the manifest counts frames.
`.csv` with the columns `vin,date`: the days that owners declared beforehand as no-drive days; rows are counted as ever.
A row comes out for every declared day and for nothing else: where somebody drives on other days is not asked.

A frame is `2323`, command, answer, 17 bytes VIN, encryption, length, data, BCC (exclusive or from the command to the end
of the data). Only 2016's start bytes are known; those of the 2025 edition are refused, frame by frame. The odometer stands
in unit 01 of real-time data (command 02, or 03 when sent again), in 0.1 km; FF is "invalid". Times are Beijing time.

A day is proved by the last reading at or before its start and the first at or after its end: if they are equal, the
vehicle stood still all day, also where it sent nothing while it stood. A day waits for the reading after it, for `grace`;
readings that still matter are carried into the next drop. The VIN is hashed with a key before anything leaves this module;
the platform's sign-in tells the same hash as the account.

Source: GB/T 32960.3-2016, 6 and 7; BCC and units of public sample frames.
"""

import hmac
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass, replace
from datetime import date, datetime, time, timedelta
from functools import partial
from typing import Any
from zoneinfo import ZoneInfo

from connectors.base import Description, SetAside, Transport, Unreadable
from connectors.config import ConfigError, Fields
from connectors.formats.gbt32960_frame import Frame, FrameFault, split_frames
from connectors.kind import Kind
from connectors.profiles.drop_folder import Drop
from connectors.profiles.drop_rows import DroppedFile, Entry, inflated, parse_rows
from connectors.profiles.file_drop import FileDrop, FileDropConfig, take_config, take_private_key

ZONE = ZoneInfo("Asia/Shanghai")
GRACE = timedelta(days=3)
MAX_AHEAD = timedelta(seconds=60)
EARLIEST = datetime(2016, 1, 1)
MAX_CARRIED = 200_000  # days of vehicles
_DAY = timedelta(days=1)
_TIME = "%Y-%m-%d %H:%M:%S"
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_VIN = re.compile(r"[0-9A-Za-z]{1,17}")


def parse_config(config: Mapping[str, object], secrets: Mapping[str, object]) -> FileDropConfig:
    """Read the settings; `vin_key` (at least 32 characters) is agreed with the platform, whose sign-in uses it too."""
    with Fields(secrets, where="secrets") as given:
        key = given.text("vin_key").encode()
        private_key = take_private_key(given)
    if len(key) < 32:
        raise ConfigError("secrets: field 'vin_key' must have at least 32 characters")
    with Fields(config, where="config") as fields:
        parsed = take_config(fields, private_key, stream="odometer")
    return replace(parsed, source=replace(parsed.source, parse=partial(parse_file, key), endings=("bin", "csv")))


def build_gbt32960(config: FileDropConfig) -> FileDrop:
    """Make the fetcher of a fleet's frames and declared days."""
    described = Description(
        name="gbt32960",
        title="Vehicle frames GB/T 32960.3-2016 by signed file drop (profile)",
        transport=Transport.FILE,
        streams=(config.source.stream,),
        role="meter",
        official=False,
        id_stability="derived",
        finality="final",
        correction_mode="none",
        lateness_class="day",
        drops=("VIN", "location", "speed", "alarms"),
    )
    return FileDrop(config, arrange=arrange_days, described=described)


def hash_vin(key: bytes, vin: str) -> str:
    """Make a vehicle's pairwise name: HMAC-SHA256 over the VIN in capitals, 32 hexadecimal digits of it."""
    return hmac.digest(key, vin.upper().encode(), "sha256").hex()[:32]


def parse_file(key: bytes, file: DroppedFile) -> Iterable[Entry]:
    name, data = inflated(file)
    return _parse_declared(key, file) if name.endswith(".csv") else _parse_frames(key, data, file.first)


def _parse_frames(key: bytes, data: bytes, first: int) -> Iterator[Entry]:
    for position, frame in enumerate(split_frames(data), first):
        checked = _check_frame(frame)
        if isinstance(checked, FrameFault):
            yield Unreadable(position=position, reason=checked.reason, detail=checked.detail)
            continue
        at = None if checked.at is None else checked.at.strftime(_TIME)
        told = {"vehicle": hash_vin(key, checked.vin), "at": at, "odometer": checked.odometer_hm}
        yield json.dumps(told, separators=(",", ":")).encode()


def _check_frame(frame: Frame | FrameFault) -> Frame | FrameFault:
    if isinstance(frame, FrameFault):
        return frame
    if not _VIN.fullmatch(frame.vin):
        return FrameFault("vin", "The frame's VIN is not well formed.")
    if frame.at is not None and frame.at < EARLIEST:
        return FrameFault("time", "The frame's time is before the standard: a clock that was never set.")
    return frame


def _parse_declared(key: bytes, file: DroppedFile) -> Iterator[Entry]:
    for position, entry in enumerate(parse_rows(file), file.first):
        if isinstance(entry, Unreadable):
            yield entry
            continue
        row = json.loads(entry)
        if set(row) != {"vin", "date"}:
            raise SetAside("file_header")
        if not _VIN.fullmatch(row["vin"]) or _parse_day(row["date"]) is None:
            yield Unreadable(position=position, reason="declared_day", detail="The VIN or the date is not well formed.")
            continue
        yield json.dumps({"vehicle": hash_vin(key, row["vin"]), "day": row["date"]}, separators=(",", ":")).encode()


def _parse_day(text: str) -> date | None:
    try:
        return date.fromisoformat(text) if _DATE.fullmatch(text) else None
    except ValueError:
        return None


@dataclass(frozen=True, slots=True)
class _Readings:
    """All readings of one vehicle on one day, in any order: the first, the last, the lowest, the highest."""

    first_at: str
    first: int
    last_at: str
    last: int
    low: int
    high: int
    count: int

    def joined(self, other: "_Readings") -> "_Readings":
        begin = self if (self.first_at, self.first) <= (other.first_at, other.first) else other
        end = self if (self.last_at, self.last) >= (other.last_at, other.last) else other
        return _Readings(
            first_at=begin.first_at,
            first=begin.first,
            last_at=end.last_at,
            last=end.last,
            low=min(self.low, other.low),
            high=max(self.high, other.high),
            count=self.count + other.count,
        )


@dataclass(slots=True)
class _Vehicle:
    """What is known of one vehicle: its readings by day, and the declared days that are still open."""

    readings: dict[str, _Readings]
    days: set[str]


def arrange_days(drop: Drop, carried: str | None) -> tuple[Sequence[Entry], str | None]:
    """Settle the declared days that the drop's readings prove or that have waited long enough."""
    written_at = drop.manifest.created_at.astimezone(ZONE).replace(tzinfo=None)
    vehicles = _open_carried(carried)
    entries: list[Entry] = list(_take_entries(drop, vehicles, written_at))
    for name in sorted(vehicles):
        entries.extend(_settle(name, vehicles[name], written_at))
    left = {
        name: {"readings": {day: astuple(told) for day, told in vehicle.readings.items()}, "days": sorted(vehicle.days)}
        for name, vehicle in sorted(vehicles.items())
        if vehicle.readings or vehicle.days
    }
    if sum(len(vehicle.readings) + len(vehicle.days) for vehicle in vehicles.values()) > MAX_CARRIED:
        raise SetAside("too_many_vehicles")
    return entries, json.dumps(left, separators=(",", ":")) if left else None


def _open_carried(carried: str | None) -> dict[str, _Vehicle]:
    known: dict[str, Any] = json.loads(carried) if carried else {}
    return {
        name: _Vehicle({day: _Readings(*values) for day, values in told["readings"].items()}, set(told["days"]))
        for name, told in known.items()
    }


def _take_entries(drop: Drop, vehicles: dict[str, _Vehicle], written_at: datetime) -> Iterator[Unreadable]:
    """Add what a drop tells to what is known, in whatever order it comes; give what cannot be used."""
    seen: set[bytes] = set()
    for position, entry in enumerate(drop.entries):
        if isinstance(entry, Unreadable):
            yield entry
            continue
        told, again = json.loads(entry), entry in seen
        seen.add(entry)
        vehicle = vehicles.setdefault(told["vehicle"], _Vehicle({}, set()))
        if "day" in told:
            vehicle.days.add(told["day"])
        elif told["at"] is not None and datetime.strptime(told["at"], _TIME) > written_at + MAX_AHEAD:
            detail = "The frame is later than the drop that holds it."
            yield Unreadable(position=position, reason="time_ahead", detail=detail)
        elif told["at"] is not None and told["odometer"] is not None and not again:
            at, value = told["at"], told["odometer"]
            one, day = _Readings(at, value, at, value, value, value, 1), at[:10]
            vehicle.readings[day] = vehicle.readings[day].joined(one) if day in vehicle.readings else one


def _settle(name: str, vehicle: _Vehicle, written_at: datetime) -> Iterator[bytes]:
    for day in sorted(vehicle.days):
        end = date.fromisoformat(day) + _DAY
        later = [told for told in vehicle.readings if told >= end.isoformat()]
        if not later and written_at < datetime.combine(end, time()) + GRACE:
            continue
        vehicle.days.discard(day)
        yield _write_day(name, day, vehicle.readings, after=vehicle.readings[min(later)] if later else None)
    # A day may be declared in the drop after the readings that open it, so the last few days stay.
    since = min([*vehicle.days, (written_at - GRACE).date().isoformat()])
    opening = max((day for day in vehicle.readings if day < since), default=since)
    vehicle.readings = {day: told for day, told in vehicle.readings.items() if day >= opening}


def _write_day(name: str, day: str, readings: Mapping[str, _Readings], *, after: _Readings | None) -> bytes:
    own = readings.get(day)
    earlier = max((told for told in readings if told < day), default=None)
    before = None if earlier is None else (readings[earlier].last_at, readings[earlier].last)
    if own is not None and own.first_at == f"{day} 00:00:00":
        before = (own.first_at, own.first)
    values = {before[1]} if before is not None else set()
    values |= {own.low, own.high} if own is not None else set()
    values |= {after.first} if after is not None else set()
    row = {
        "vin_hash": name,
        "date": day,
        "odometer_first": before[1] if before is not None else None,
        "odometer_last": after.first if after is not None else None,
        "read_first": before[0] if before is not None else None,
        "read_last": after.first_at if after is not None else None,
        "frames": own.count if own is not None else 0,
        # Between equal ends too: an odometer that goes back, or out and back, is none to be trusted.
        "steady": "yes" if len(values) == 1 else "no",
    }
    return json.dumps(row, separators=(",", ":")).encode()


KIND = Kind(
    name="gbt32960",
    transport=Transport.FILE,
    profile=True,
    secrets=("vin_key",),
    build=lambda config, secrets: build_gbt32960(parse_config(config, secrets)),
)
