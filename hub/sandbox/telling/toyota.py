"""toyota-green-drive tells of a connected car's trips, and how far of each was driven on electricity. Pure."""

import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np

from hub.sandbox.outings import EV_DRIVE
from hub.sandbox.people import Person
from hub.sandbox.registers import TOYOTA
from hub.sandbox.telling.report import (
    Edition,
    Note,
    Odds,
    Report,
    acts_told,
    draw_editions,
    is_open,
    json_text,
    report_edition,
    voice_of,
)
from hub.sandbox.town import Town

_ODDS = Odds(late=0.05, replay=0.03, correction=0.06, cancellation=0.0)
_TRIP_TOLD = 0.9
_TRIPS = uuid.UUID("6ba7b812-9dad-11d1-80b4-00c04fd430c8")
_BAD = ("no_reduction", "end_before_start", "negative_quantity", "missing_zone")


def tell_toyota(town: Town, person: Person) -> list[Report]:
    """Return the trips of one person's car, in no particular order."""
    if TOYOTA not in person.accounts:
        return []
    rng, told = voice_of(town, TOYOTA, person), []
    for act in acts_told(town, person, frozenset({EV_DRIVE})):
        known = rng.random() < _TRIP_TOLD
        electric = act.quantity_micro // 1000
        petrol = int(rng.uniform(0, 3000)) if rng.random() < 0.4 else 0
        row = _trip(town, person, f"act-{act.act_id}", act.start_at, act.end_at, electric, electric + petrol)
        editions = draw_editions(rng, town, act.end_at + timedelta(minutes=2), _ODDS, correctable=True)
        if known:
            told += [
                report_edition(
                    town, person, edition, platform=TOYOTA, act=act, source_id=row["id"],
                    body=json_text(_corrected(row) if edition.note is Note.CORRECTION else row),
                )
                for edition in editions
            ]  # fmt: skip
    return told + _by_petrol(rng, town, person) + _bad(rng, town, person)


def _corrected(row: dict[str, Any]) -> dict[str, Any]:
    """The car has sent the rest: a little less of the trip was electric than it seemed."""
    electric = row["hdc"]["evDistance"] * 97 // 100
    return row | {"hdc": row["hdc"] | {"evDistance": electric}}


def _by_petrol(rng: np.random.Generator, town: Town, person: Person) -> list[Report]:
    """A trip without an electric metre: told, read, and worth nothing."""
    begin = _some_moment(rng, town)
    row = _trip(town, person, "petrol", begin, begin + timedelta(minutes=25), 0, 18_400)
    edition = Edition(version=1, posted_at=begin, delivered_at=begin + timedelta(minutes=30), note=Note.DIRTY)
    return [report_edition(town, person, edition, platform=TOYOTA, act=None, source_id=row["id"], body=json_text(row))]


def _bad(rng: np.random.Generator, town: Town, person: Person) -> list[Report]:
    draw, begin = rng.random(), _some_moment(rng, town)
    if not is_open(person, TOYOTA) or (draw > 0.5 and person.index != 1):
        return []
    row = _trip(town, person, "bad", begin, begin + timedelta(minutes=12), 6_100, 6_400)
    trouble = _BAD[person.index % len(_BAD)]
    row |= {
        "no_reduction": {"hdc": None},  # a car without an electric motor
        "end_before_start": {"summary": row["summary"] | {"endTs": _utc(begin - timedelta(hours=1))}},
        "negative_quantity": {"hdc": {"evDistance": -1}},
        "missing_zone": {"summary": row["summary"] | {"startTs": _utc(begin).removesuffix("Z")}},
    }[trouble]
    edition = Edition(version=1, posted_at=begin, delivered_at=begin + timedelta(minutes=15), note=Note.MALFORMED)
    told = report_edition(
        town, person, edition, platform=TOYOTA, act=None, source_id=row["id"], body=json_text(row), trouble=trouble
    )
    return [told]


def _trip(
    town: Town, person: Person, name: str, begin: datetime, end: datetime, electric: int, length: int
) -> dict[str, Any]:
    number = uuid.uuid5(_TRIPS, f"{town.seed}/{person.index}/{name}")
    seconds = int((end - begin).total_seconds())
    return {
        "id": str(number),
        "category": 0,
        "summary": {
            "length": length,
            "duration": seconds,
            "fuelConsumption": (length - electric) * 6 / 100,
            "startTs": _utc(begin),
            "endTs": _utc(end),
            "startLat": 0.0,
            "startLon": 0.0,
        },
        "hdc": {"evDistance": electric, "evTime": seconds * electric // max(length, 1)},
        "scores": {"global": 60 + number.int % 40},
    }


def _some_moment(rng: np.random.Generator, town: Town) -> datetime:
    return town.starts_at + timedelta(seconds=int(rng.uniform(6, town.days * 24 - 6) * 3600))


def _utc(instant: datetime) -> str:
    return f"{instant.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
