"""alipay-green tells of rides that its ride code paid, and of actions that partners told the Ant Forest. Pure.

A ride has no number: whose it is, what kind and when it was paid is all there is to know it by. Only the metro has a
distance. Partners' numbers of an act are the act's own.
"""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import numpy as np

from hub.sandbox import acts
from hub.sandbox.acts import Act
from hub.sandbox.outings import CARPOOL, RECYCLE, WASTE_SORT
from hub.sandbox.people import Person
from hub.sandbox.registers import ALIPAY
from hub.sandbox.telling.gathered import KM_H, local_text
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

ACTIONS_STREAM = "green_actions"
_KINDS = {
    acts.METRO: "CARBON_JUSTICE_METRO",
    acts.BUS: "CARBON_JUSTICE_BUS",
    CARPOOL: "CARBON_JUSTICE_HITCHHIKING",
}
_SCENES = {WASTE_SORT: "recycle_paper", RECYCLE: "recycle_clothes", acts.CHARGE: "charger"}
SECOND_SCENES = tuple(_SCENES.values())
_PAID_HERE = {acts.METRO: 0.4, acts.BUS: 0.45, CARPOOL: 0.5}
_TOLD_ON = {WASTE_SORT: 0.7, RECYCLE: 0.8, acts.CHARGE: 0.5}
_ODDS = Odds(correction=0.0, cancellation=0.0)  # nothing is ever taken back, and an instant has nothing to correct
_BAD_RIDES: Mapping[str, dict[str, Any]] = {
    "unknown_scene": {"trip_type": "CARBON_JUSTICE_FERRY"},
    "bad_time": {"pay_time": "2026-02-30 25:61:00"},
    "negative_quantity": {"distance": -40},
}
_BAD_ACTIONS: Mapping[str, dict[str, Any]] = {
    "unknown_scene": {"second_scene": "walk_energy"},  # the forest's points for steps: no act, only green energy
    "bad_quantity": {"biz_value": "1 kg"},
    "missing_time": {"action_time": None},
}


def tell_alipay(town: Town, person: Person) -> list[Report]:
    """Return the rides that one person paid by ride code, in no particular order."""
    if ALIPAY not in person.accounts:
        return []
    rng, told = voice_of(town, ALIPAY, person), []
    seen: set[str] = set()
    for act in acts_told(town, person, frozenset(_KINDS)):
        known = rng.random() < _PAID_HERE[act.behaviour]
        row = _ride(rng, person, act)
        editions = draw_editions(rng, town, act.end_at + timedelta(minutes=3), _ODDS, correctable=False)
        if known and _ride_id(row) not in seen:
            seen.add(_ride_id(row))
            told += [_report(town, person, act, row, edition, _ride_id(row)) for edition in editions]
    return told + _bad(rng, town, person, _ride_at(person, _some_moment(rng, town)), _BAD_RIDES, stream="")


def tell_alipay_actions(town: Town, person: Person) -> list[Report]:
    """Return the green actions of one person, in no particular order."""
    if ALIPAY not in person.accounts:
        return []
    rng, told = voice_of(town, ALIPAY, person, ACTIONS_STREAM), []
    for act in acts_told(town, person, frozenset(_SCENES)):
        known = rng.random() < _TOLD_ON[act.behaviour]
        moment = act.end_at + draw_skew(rng, spread_s=20, limit_s=50)
        row = _action(act.order_no, moment, _SCENES[act.behaviour], act.quantity_micro // 1000)
        editions = draw_editions(rng, town, act.end_at + timedelta(minutes=5), _ODDS, correctable=False)
        if known:
            told += [
                _report(town, person, act, row, edition, _action_id(row), stream=ACTIONS_STREAM) for edition in editions
            ]
    row = _action(f"PT{town.seed % 1000:03d}{person.index:05d}", _some_moment(rng, town), "recycle_paper", 900)
    return told + _bad(rng, town, person, row, _BAD_ACTIONS, stream=ACTIONS_STREAM)


def _ride(rng: np.random.Generator, person: Person, act: Act) -> dict[str, Any]:
    paid_at = act.end_at + draw_skew(rng, spread_s=12, limit_s=40)
    noise = 1 + float(rng.normal(0, 0.01))
    seconds = (act.end_at - act.start_at).total_seconds()
    metres = int(seconds * KM_H[acts.METRO] / 3.6 * noise) if act.behaviour == acts.METRO else 0
    return _ride_at(person, paid_at) | {"trip_type": _KINDS[act.behaviour], "distance": metres}


def _ride_at(person: Person, paid_at: datetime) -> dict[str, Any]:
    return {
        "distance": 5200,
        "pay_time": local_text(paid_at),
        "trip_type": "CARBON_JUSTICE_METRO",
        "open_id": person.accounts[ALIPAY],
    }


def _ride_id(row: dict[str, Any]) -> str:
    return f"{row['open_id']}|{row['trip_type']}|{row['pay_time']}"


def _action(number: str, moment: datetime, scene: str, value: int) -> dict[str, Any]:
    """Grams of what was handed in, watt-hours of what was charged: thousandths of the town's unit in both."""
    return {"biz_no": number, "action_time": local_text(moment), "second_scene": scene, "biz_value": value}


def _action_id(row: dict[str, Any]) -> str:
    return f"{row['biz_no']}|{row['second_scene']}"


def _some_moment(rng: np.random.Generator, town: Town) -> datetime:
    return town.starts_at + timedelta(seconds=int(rng.uniform(6, town.days * 24 - 6) * 3600))


def _report(
    town: Town, person: Person, act: Act | None, row: dict[str, Any], edition: Edition, source_id: str, stream: str = ""
) -> Report:
    return report_edition(
        town, person, edition, platform=ALIPAY, act=act, source_id=source_id, body=json_text(row), stream=stream
    )


def _bad(
    rng: np.random.Generator,
    town: Town,
    person: Person,
    row: dict[str, Any],
    bad: Mapping[str, dict[str, Any]],
    *,
    stream: str,
) -> list[Report]:
    """One row that nobody can read, of a person whose accounts are open."""
    draw, moment = rng.random(), _some_moment(rng, town)
    if not is_open(person, ALIPAY) or (draw > 0.4 and person.index != 1):
        return []
    trouble = tuple(bad)[person.index % len(bad)]
    row = row | bad[trouble]
    name = _action_id(row) if stream else _ride_id(row)
    edition = Edition(version=1, posted_at=moment, delivered_at=moment, note=Note.MALFORMED)
    return [replace(_report(town, person, None, row, edition, name, stream=stream), trouble=trouble)]
