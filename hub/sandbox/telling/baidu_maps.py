"""baidu-maps tells of the walks and rides on which it guided somebody, with the distance of each track. Pure."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import numpy as np

from hub.sandbox import acts
from hub.sandbox.acts import Act
from hub.sandbox.outings import WALK_TRIP
from hub.sandbox.people import Person
from hub.sandbox.registers import BAIDU
from hub.sandbox.telling.report import (
    Edition,
    Note,
    Odds,
    Report,
    acts_told,
    draw_editions,
    draw_skew,
    is_open,
    json_text,
    report_edition,
    voice_of,
)
from hub.sandbox.town import Town

_GUIDED = {WALK_TRIP: 0.85, acts.BIKE: 0.25}  # who knows the way asks nobody
_ODDS = Odds(replay=0.0, correction=0.05, cancellation=0.0)  # late points lengthen a track; nothing is taken back
_DRIVE_ODDS, _MALFORMED_ODDS = 0.3, 0.15
_TROUBLES = ("negative_quantity", "unknown_scene")


def tell_baidu_maps(town: Town, person: Person) -> list[Report]:
    """Return the guided trips of one person, in no particular order."""
    if BAIDU not in person.accounts:
        return []
    rng, told = voice_of(town, BAIDU, person), []
    for act in acts_told(town, person, frozenset(_GUIDED)):
        guided = rng.random() < _GUIDED[act.behaviour]
        skew = draw_skew(rng, spread_s=8, limit_s=25)
        # The operator's number of a rented bicycle's ride is not the map's.
        number = act.order_no if act.behaviour == WALK_TRIP else f"NB{act.act_id:09d}"
        mode = "walking" if act.behaviour == WALK_TRIP else "riding"
        metres = act.quantity_micro / 1_000_000 * float(rng.uniform(990, 1010))
        trip = _trip(person, number, mode, act.start_at + skew, act.end_at + skew, round(metres, 1))
        posted_at = act.end_at + timedelta(minutes=int(rng.integers(1, 30)))
        editions = draw_editions(rng, town, posted_at, _ODDS, correctable=True)
        more = float(rng.uniform(1.01, 1.04))
        if guided:
            told += [_report(town, person, act, trip, edition, more) for edition in editions]
    return told + _extras(rng, town, person)


def _trip(
    person: Person, trip_id: str, mode: str, start: datetime, end: datetime, metres: float | None
) -> dict[str, Any]:
    return {
        "trip_id": trip_id,
        "entity_name": person.accounts[BAIDU],
        "transport_mode": mode,
        "start_time": int(start.timestamp()),
        "end_time": int(end.timestamp()),
        "distance": metres,
    }


def _report(
    town: Town, person: Person, act: Act | None, first: dict[str, Any], edition: Edition, more: float
) -> Report:
    trip = dict(first)
    if edition.note is Note.CORRECTION:
        trip["distance"] = round(first["distance"] * more, 1)
    source_id = f"{trip['entity_name']}|{trip['trip_id']}"
    return report_edition(town, person, edition, platform=BAIDU, act=act, source_id=source_id, body=json_text(trip))


def _extras(rng: np.random.Generator, town: Town, person: Person) -> list[Report]:
    """A drive, which shows no reduction, and a trip that nobody can count: both only where the hub sees everything."""
    draws = rng.random(2)
    days, hours = rng.integers(0, town.days, 2), rng.uniform(1, 5, 2)
    told: list[Report] = []
    for which, odds in enumerate((_DRIVE_ODDS, _MALFORMED_ODDS)):
        start = town.starts_at + timedelta(days=int(days[which]), seconds=int(hours[which] * 3600))
        end = start + timedelta(minutes=14)
        trip = _trip(person, f"NX{person.index:05d}{which}", "driving", start, end, None)
        if draws[which] >= odds or not is_open(person, BAIDU):
            continue
        trouble = "no_reduction" if which == 0 else _TROUBLES[person.index % len(_TROUBLES)]
        spoilt: dict[str, dict[str, Any]] = {
            "no_reduction": {},
            "negative_quantity": {"transport_mode": "walking", "distance": -12.5},
            "unknown_scene": {"transport_mode": "sailing"},
        }
        trip |= spoilt[trouble]
        edition = Edition(version=1, posted_at=end, delivered_at=end, note=Note.PLAIN)
        report = _report(town, person, None, trip, edition, 1.0)
        told.append(replace(report, note=Note.DIRTY if which == 0 else Note.MALFORMED, trouble=trouble))
    return told
