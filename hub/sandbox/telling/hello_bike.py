"""hello-bike tells of its bicycles' trips, as MDS 2.0 does: each vehicle's, and nobody's. Pure.

The operator's interface opens some days before the month ends. The hours are worked through at once: the standard's archive
of an hour is complete when it is told, so there is no late row in it, no second telling, and no taking back.
"""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np

from hub.sandbox import acts
from hub.sandbox.acts import Act
from hub.sandbox.people import Person
from hub.sandbox.registers import HELLO_BIKE
from hub.sandbox.telling.report import (
    Edition,
    Note,
    Report,
    acts_told,
    draw_skew,
    json_text,
    report_edition,
    voice_of,
)
from hub.sandbox.town import Town

_PROVIDER = "5f7114d1-4091-46ee-b492-e55875f7de00"
_FLEET = 900
OPEN_DAYS = 5
_KNOWN = 0.93
_IDLE_ODDS, _MALFORMED_ODDS = 0.10, 0.08
_TROUBLES = ("negative_quantity", "end_before_start", "time_out_of_range")


def tell_hello_bike(town: Town, person: Person) -> list[Report]:
    """Return the trips that one person's rides were; the rows do not say whose they are."""
    rng, told = voice_of(town, HELLO_BIKE, person), []
    for act in acts_told(town, person, frozenset({acts.BIKE})):
        if act.start_at < opens_at(town):
            continue
        known = rng.random() < _KNOWN
        skew = draw_skew(rng, spread_s=4, limit_s=15)
        metres = act.quantity_micro // 1000 + int(rng.integers(-25, 26))
        vehicle = int(rng.integers(0, _FLEET))
        if known:
            told.append(
                _report(town, person, act, _trip(act.order_no, vehicle, act.start_at + skew, act.end_at + skew, metres))
            )
    return told + _extras(rng, town, person)


def _trip(trip_id: str, vehicle: int, start: datetime, end: datetime, metres: int) -> dict[str, Any]:
    return {
        "provider_id": _PROVIDER,
        "device_id": f"bike-{vehicle:05d}",
        "trip_id": trip_id,
        "start_time": int(start.timestamp() * 1000),
        "end_time": int(end.timestamp() * 1000),
        "start_location": {"lat": 22.54, "lng": 114.05},
        "end_location": {"lat": 22.55, "lng": 114.06},
        "duration": int((end - start).total_seconds()),
        "distance": metres,
    }


def _report(town: Town, person: Person, act: Act | None, trip: dict[str, Any]) -> Report:
    edition = Edition(version=1, posted_at=town.starts_at, delivered_at=town.starts_at, note=Note.PLAIN)
    return report_edition(
        town, person, edition, platform=HELLO_BIKE, act=act, source_id=trip["trip_id"], body=json_text(trip)
    )


def _extras(rng: np.random.Generator, town: Town, person: Person) -> list[Report]:
    """A lock that was opened and closed again, and a trip that nobody can count."""
    draws = rng.random(2)
    days, hours = rng.integers(0, OPEN_DAYS - 1, 2), rng.uniform(1, 5, 2)  # at night, when nobody rides
    told: list[Report] = []
    for which, odds in enumerate((_IDLE_ODDS, _MALFORMED_ODDS)):
        start = opens_at(town) + timedelta(days=int(days[which]), seconds=int(hours[which] * 3600))
        trip = _trip(f"HBX{person.index:05d}{which}", person.index % _FLEET, start, start + timedelta(seconds=40), 0)
        if draws[which] >= odds:
            continue
        if which == 0:
            told.append(replace(_report(town, person, None, trip), note=Note.DIRTY))
            continue
        trouble = _TROUBLES[person.index % len(_TROUBLES)]
        trip |= {
            "negative_quantity": {"distance": -310},
            "end_before_start": {"start_time": trip["end_time"] + 1},
            "time_out_of_range": {"start_time": trip["start_time"] // 1000},  # seconds for milliseconds
        }[trouble]
        told.append(replace(_report(town, person, None, trip), note=Note.MALFORMED, trouble=trouble))
    return told


def opens_at(town: Town) -> datetime:
    """Return when the operator's interface opens: a midnight in Beijing."""
    return town.ends_at - timedelta(days=min(OPEN_DAYS, town.days))


def ended_at(body: str) -> datetime:
    """Return when a told trip ended: by its hour a trip is found."""
    return datetime.fromtimestamp(json.loads(body)["end_time"] / 1000, UTC)
