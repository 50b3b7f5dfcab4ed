"""winter-olympics-2022 hands over what its participants did, once, when the programme is closed. Pure.

The town holds its games in its own month: the form is the programme's, the period is the town's.
"""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import numpy as np

from hub.sandbox import acts
from hub.sandbox.acts import BEIJING_TIME, Act
from hub.sandbox.outings import OWN_CUP
from hub.sandbox.people import Person
from hub.sandbox.registers import OLYMPICS
from hub.sandbox.telling.report import (
    Edition,
    Note,
    Report,
    acts_told,
    is_open,
    json_text,
    keep_key,
    report_edition,
    voice_of,
)
from hub.sandbox.town import Town

EVENT = "BJ2022"
_ACTS = {
    acts.METRO: ("地铁", "接入", 0.35),
    acts.BUS: ("公交", "接入", 0.35),
    acts.BIKE: ("骑行", "接入", 0.4),
    acts.CLEAN_PLATE: ("光盘", "打卡", 0.3),
    OWN_CUP: ("自带杯", "打卡", 0.5),
    acts.WALK: ("步行", "接入", 0.2),
}
_TROUBLES: Mapping[str, dict[str, Any]] = {
    "unknown_scene": {"act": "观赛"},
    "unknown_role": {"check_mode": "转发"},
    "negative_quantity": {"act": "骑行", "distance_m": "-20"},
    "bad_region": {"city": "多伦多"},
}


def tell_olympics(town: Town, person: Person) -> list[Report]:
    """Return the participant's rows of the one file, in no particular order."""
    if OLYMPICS not in person.accounts:
        return []
    rng, told = voice_of(town, OLYMPICS, person), []
    for number, act in enumerate(acts_told(town, person, frozenset(_ACTS)), start=1):
        known, trip = rng.random() < _ACTS[act.behaviour][2], keep_key(rng, act.order_no, 0.6)
        if known:
            told.append(_report(town, person, act, _row(person, act, number, trip)))
    return told + _malformed(rng, town, person)


def _row(person: Person, act: Act, number: int, trip: str | None) -> dict[str, Any]:
    word, mode, _ = _ACTS[act.behaviour]
    gathered = act.behaviour in (acts.METRO, acts.BUS, acts.BIKE)
    return {
        "event_id": EVENT,
        "row_no": f"{person.index:05d}{number:04d}",
        "participant": person.accounts[OLYMPICS],
        "act": word,
        "begin_at": _text(act, start=True),
        "end_at": _text(act, start=False),
        "distance_m": str(act.quantity_micro // 1000) if act.behaviour == acts.BIKE else None,
        "steps": str(act.quantity_micro // 1_000_000) if act.behaviour == acts.WALK else None,
        "trip_no": trip if gathered else None,
        "check_mode": mode,
        "city": "北京",
        "name": "志愿者",
        "credits": 1,
    }


def _text(act: Act, *, start: bool) -> str:
    instant = (act.start_at if start else act.end_at).astimezone(BEIJING_TIME)
    return f"{instant:%Y-%m-%dT%H:%M:%S}+08:00"


def _malformed(rng: np.random.Generator, town: Town, person: Person) -> list[Report]:
    draw, told = rng.random(), acts_told(town, person, frozenset({acts.METRO, acts.BUS, acts.BIKE}))
    if not is_open(person, OLYMPICS) or draw >= 0.7 or not told:
        return []
    trouble = tuple(_TROUBLES)[person.index % len(_TROUBLES)]
    row = _row(person, told[0], 9000, None) | _TROUBLES[trouble]
    return [_report(town, person, None, row, trouble)]


def _report(town: Town, person: Person, act: Act | None, row: dict[str, Any], trouble: str | None = None) -> Report:
    at = town.ends_at - timedelta(hours=1)  # the programme closes, and its file is written
    note = Note.PLAIN if trouble is None else Note.MALFORMED
    edition = Edition(version=1, posted_at=at, delivered_at=at, note=note)
    return report_edition(
        town, person, edition, platform=OLYMPICS, act=act, source_id=f"{EVENT}-{row['row_no']}", body=json_text(row),
        trouble=trouble,
    )  # fmt: skip
