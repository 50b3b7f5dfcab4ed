"""zhenhai-green-passbook tells of what households hand in at its weighing machines: kilograms and points. Pure.

A household hands a thing in once, at a machine or at the village's exchange point: the machines tell of some acts, and
whoever tells of the exchange point leaves those out (`is_at_machine`).
"""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import numpy as np

from hub.sandbox.acts import Act
from hub.sandbox.outings import RECYCLE, WASTE_SORT
from hub.sandbox.people import Person
from hub.sandbox.registers import ZHENHAI
from hub.sandbox.telling.gathered import local_text, thousandth_text
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

_NAMES = {RECYCLE: ("旧衣物", "纺织物"), WASTE_SORT: ("纸类", "塑料", "厨余垃圾", "可回收物")}
_ODDS = Odds(correction=0.0, cancellation=0.05)  # a violation is found
_UNSETTLED_ODDS = 0.3
_MALFORMED_ODDS = 0.8
_SETTLED = 4
_SPOIL: dict[str, dict[str, Any]] = {
    "unknown_scene": {"resourceName": "电池车"},
    "negative_quantity": {"weighWeight": "-1.200"},
    "missing_status": {"status": 7},
}


def is_at_machine(act: Act) -> bool:
    """Say whether an act of handing in happens at a machine."""
    return act.act_id % 3 != 0


def tell_zhenhai(town: Town, person: Person) -> list[Report]:
    """Return what the machines' platform delivers of one person, in no particular order."""
    if ZHENHAI not in person.accounts:
        return []
    rng, told = voice_of(town, ZHENHAI, person), []
    for act in acts_told(town, person, frozenset(_NAMES)):
        drop = _drop(rng, person, act.behaviour, act.start_at, act.quantity_micro // 1000)
        settled_at = act.end_at + timedelta(hours=float(rng.uniform(3, 30)))
        editions = draw_editions(rng, town, settled_at, _ODDS, correctable=False)
        status, unsettled = int(rng.integers(1, _SETTLED)), rng.random() < _UNSETTLED_ODDS
        if not is_at_machine(act):
            continue
        told += [_report(town, person, act, drop, edition) for edition in editions]
        if unsettled and is_open(person, ZHENHAI):
            told.append(_before(town, person, act, drop | {"status": status}))
    return told + _malformed(rng, town, person)


def _drop(rng: np.random.Generator, person: Person, behaviour: str, dropped_at: datetime, grams: int) -> dict[str, Any]:
    names = _NAMES[behaviour]
    return {
        "inputUserId": person.accounts[ZHENHAI],
        "machineCode": f"ZH{int(rng.integers(1, 60)):04d}",
        "recycleDate": local_text(dropped_at),
        "weighWeight": thousandth_text(grams),
        "resourceName": names[int(rng.integers(0, len(names)))],
        "actualMoney": "0.00",
        "status": _SETTLED,
        "violationStatus": 0,
        "reckonPoints": grams // 100,
        "actualPoints": grams // 100,
        "isIntegral": 2,
        "wastePhoto": f"https://photos.invalid/{person.index}.jpg",
    }


def _report(town: Town, person: Person, act: Act | None, first: dict[str, Any], edition: Edition) -> Report:
    drop = first | {"violationStatus": 1, "actualPoints": 0} if edition.note is Note.CANCELLATION else first
    return report_edition(
        town, person, edition, platform=ZHENHAI, act=act, body=json_text(drop),
        source_id=f"{drop['machineCode']}|{drop['recycleDate']}|{drop['inputUserId']}",
    )  # fmt: skip


def _before(town: Town, person: Person, act: Act, drop: dict[str, Any]) -> Report:
    """The same drop before it was settled."""
    told_at = act.end_at + timedelta(minutes=5)
    edition = Edition(version=0, posted_at=told_at, delivered_at=told_at, note=Note.DIRTY)
    return replace(_report(town, person, act, drop, edition), trouble="not_final")


def _malformed(rng: np.random.Generator, town: Town, person: Person) -> list[Report]:
    draw, hours = rng.random(), float(rng.uniform(6, town.days * 24 - 6))
    dropped_at = town.starts_at + timedelta(seconds=int(hours * 3600))
    drop = _drop(rng, person, WASTE_SORT, dropped_at, 1_200)
    if not is_open(person, ZHENHAI) or (draw >= _MALFORMED_ODDS and person.index != 1):
        return []
    trouble = tuple(_SPOIL)[person.index % len(_SPOIL)]
    told_at = dropped_at + timedelta(hours=4)
    edition = Edition(version=1, posted_at=told_at, delivered_at=told_at, note=Note.MALFORMED)
    return [replace(_report(town, person, None, drop | _SPOIL[trouble], edition), trouble=trouble)]
