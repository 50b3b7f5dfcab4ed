"""baic-weilan tells of declared no-drive days by the odometers of its owners' cars. Pure.

A row is a declared day as it can be proved; the wire is the list of declarations and the frames of all cars, and whoever
reads it joins them. A car reports ten minutes after midnight and ten minutes before it, moved or not.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from hub.sandbox.acts import BEIJING_TIME, Act
from hub.sandbox.outings import EV_DRIVE, NO_DRIVE
from hub.sandbox.people import Person
from hub.sandbox.registers import BAIC, vin_of
from hub.sandbox.telling.report import Edition, Note, Report, acts_told, is_open, json_text, report_edition, voice_of
from hub.sandbox.town import Town

_DECLARES = 0.6
_BREAKS_PROMISE = 0.5
_DAY, _BESIDE_MIDNIGHT = timedelta(days=1), timedelta(minutes=10)
_READ_AFTER = timedelta(hours=1)  # a drop has the frames until an hour after its part, so that every day has its end


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What a car's box said: its clock, and its odometer in 0.1 km."""

    at: datetime
    odometer: int


def tell_baic_odometer(town: Town, person: Person) -> list[Report]:
    """Return the declared days of one owner, in no particular order."""
    if BAIC not in person.accounts:
        return []
    rng, told, readings = voice_of(town, BAIC, person), [], readings_of(town, person)
    for act in acts_told(town, person, frozenset({NO_DRIVE})):
        declared = rng.random() < _DECLARES
        unproved = act.start_at == town.starts_at and is_late(person)
        if declared and (not unproved or is_open(person, BAIC)):
            told.append(_report(town, person, act, act.start_at, readings, "unpaired" if unproved else None))
    draw, drives = rng.random(), acts_told(town, person, frozenset({EV_DRIVE}))
    if is_open(person, BAIC) and draw < _BREAKS_PROMISE:
        days = [day for drive in drives if (day := _midnight(drive.start_at)) > town.starts_at]
        told += [_report(town, person, None, day, readings, "no_reduction") for day in days[:1]]
    return told


def readings_of(town: Town, person: Person) -> tuple[Reading, ...]:
    """Return what a car says over the month; a late one is not heard before the first midnight."""
    drives = acts_told(town, person, frozenset({EV_DRIVE}))
    midnights = [town.starts_at + _DAY * number for number in range(town.days + 1)]
    moments = sorted(
        [at for midnight in midnights for at in (midnight - _BESIDE_MIDNIGHT, midnight + _BESIDE_MIDNIGHT)]
    )
    heard = moments[1:] if is_late(person) else moments
    return tuple(Reading(at=at, odometer=_odometer(person, drives, at)) for at in heard)


def readings_until(town: Town, person: Person, part: int) -> tuple[Reading, ...]:
    """Return what the drop of a part carries of one car."""
    until = town.part_ends_at(part) + _READ_AFTER
    since = town.part_ends_at(part - 1) + _READ_AFTER if part > 1 else town.starts_at - _DAY
    return tuple(reading for reading in readings_of(town, person) if since <= reading.at < until)


def is_late(person: Person) -> bool:
    """Whether the car's box began to report with the month: its first day has nothing before it."""
    return person.index % 3 == 0


def _odometer(person: Person, drives: Sequence[Act], at: datetime) -> int:
    """Whole metres are driven, tenths of a kilometre are shown."""
    metres = sum(drive.quantity_micro // 1000 for drive in drives if drive.end_at <= at)
    return 120_000 + person.index * 37 + metres // 100


def _midnight(instant: datetime) -> datetime:
    local = instant.astimezone(BEIJING_TIME)
    return local.replace(hour=0, minute=0, second=0, microsecond=0)


def _report(
    town: Town, person: Person, act: Act | None, start: datetime, readings: Sequence[Reading], trouble: str | None
) -> Report:
    day = f"{start.astimezone(BEIJING_TIME):%Y-%m-%d}"
    before = [reading for reading in readings if reading.at <= start][-1:]
    after = [reading for reading in readings if reading.at >= start + _DAY][:1]
    between = [reading for reading in readings if start < reading.at < start + _DAY]
    values = {reading.odometer for reading in (*before, *between, *after)}
    row = {
        "vin_hash": person.accounts[BAIC],
        "date": day,
        "odometer_first": before[0].odometer if before else None,
        "odometer_last": after[0].odometer if after else None,
        "read_first": clock_text(before[0].at) if before else None,
        "read_last": clock_text(after[0].at) if after else None,
        "frames": len(between),
        "steady": "yes" if len(values) == 1 else "no",
    }
    at = start + timedelta(hours=23)
    edition = Edition(version=1, posted_at=at, delivered_at=at, note=Note.PLAIN if trouble is None else Note.DIRTY)
    return report_edition(
        town, person, edition, platform=BAIC, act=act, source_id=f"{person.accounts[BAIC]}|{day}", trouble=trouble,
        body=json_text(row), lines=(f"{vin_of(person.index)},{day}",),
    )  # fmt: skip


def clock_text(instant: datetime) -> str:
    return f"{instant.astimezone(BEIJING_TIME):%Y-%m-%d %H:%M:%S}"
