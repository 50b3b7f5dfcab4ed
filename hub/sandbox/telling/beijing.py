"""beijing-green-life tells of rides, meals and parcels: an aggregator with its own clock and its own grams. Pure."""

from datetime import datetime, timedelta
from typing import Any

import numpy as np

from hub.sandbox import acts
from hub.sandbox.acts import BEIJING_TIME, Act
from hub.sandbox.people import BEIJING, CITY_SHENZHEN, Person
from hub.sandbox.telling.report import (
    Edition,
    Note,
    Odds,
    Report,
    acts_told,
    draw_editions,
    draw_skew,
    grams_text,
    is_open,
    json_text,
    keep_key,
    report_edition,
    voice_of,
)
from hub.sandbox.town import Town

_SCENES = {
    acts.BIKE: "BIKE",
    acts.METRO: "METRO",
    acts.BUS: "BUS",
    acts.NO_TABLEWARE: "NO_TABLEWARE",
    acts.EWAYBILL: "EWAYBILL",
    acts.CLEAN_PLATE: "CLEAN_PLATE",
}
# What the platform claims for one act: its own view, in milligrams. A metro ride is 12 km at 46.7 g, a bus ride 8 km
# at 26.9 g, whatever the ride was; a bicycle claims 250 g for each km.
_CLAIM_MG = {
    acts.METRO: 560_400,
    acts.BUS: 215_200,
    acts.NO_TABLEWARE: 45_720,
    acts.EWAYBILL: 5_000,
    acts.CLEAN_PLATE: 144_000,
}
_BIKE_MG_PER_METRE = 250
_KNOWN_IN_SHENZHEN = {acts.METRO: 0.6, acts.BUS: 0.6}  # there the city's own operator tells of rides first
_KNOWN = {acts.BIKE: 0.9, acts.METRO: 0.9, acts.BUS: 0.85}
_CORRECTABLE = frozenset({acts.BIKE, acts.METRO})
_MALFORMED_ODDS = 0.5


def tell_beijing(town: Town, person: Person) -> list[Report]:
    """Return what the platform delivers of one person, in no particular order."""
    if BEIJING not in person.accounts:
        return []
    rng, told = voice_of(town, BEIJING, person), []
    for number, act in enumerate(acts_told(town, person, frozenset(_SCENES)), start=1):
        odds = _KNOWN.get(act.behaviour, 1.0)
        if person.city_code == CITY_SHENZHEN:
            odds = _KNOWN_IN_SHENZHEN.get(act.behaviour, odds)
        known = rng.random() < odds
        row = _first_row(rng, town, person, act, number)
        posted_at = act.end_at + timedelta(seconds=int(rng.integers(20, 400)))
        editions = draw_editions(rng, town, posted_at, Odds(), correctable=act.behaviour in _CORRECTABLE)
        other = int(rng.integers(4, 30))
        if known:
            told += [_report(town, person, act, row, edition, other) for edition in editions]
    return told + _malformed(rng, town, person)


def _first_row(rng: np.random.Generator, town: Town, person: Person, act: Act, number: int) -> dict[str, Any]:
    instant = act.behaviour not in (acts.BIKE, acts.METRO)  # the platform knows a bus by its tap only
    skew, drift = draw_skew(rng, spread_s=18, limit_s=55), draw_skew(rng, spread_s=2, limit_s=4)
    begin = act.start_at + skew
    end = begin if instant else max(begin, act.end_at + skew + drift)
    metres = act.quantity_micro // 1000 if act.behaviour == acts.BIKE else None
    noise = 1 + float(rng.normal(0, 0.008))
    metres = None if metres is None else int(metres * noise)
    claim = metres * _BIKE_MG_PER_METRE if metres is not None else _CLAIM_MG[act.behaviour]
    claims = rng.random() < 0.9
    return {
        "tradeNo": _trade_no(town, person, begin, number),
        "ver": 1,
        "memberId": person.accounts[BEIJING],
        "mobile": f"138****{person.index % 10_000:04d}",
        "nickname": f"绿友{person.index}",
        "scene": _SCENES[act.behaviour],
        "beginTime": _zoned(begin),
        "endTime": _zoned(end),
        "distance": metres,
        "orderNo": keep_key(rng, act.order_no, 0.7),
        "payNo": keep_key(rng, act.pay_no, 0.5),
        "carbonReduction": grams_text(claim) if claims else None,
        "status": "FINISHED",
        "updateTime": "",
        "cityCode": person.city_code,
    }


def _report(town: Town, person: Person, act: Act, first: dict[str, Any], edition: Edition, other: int) -> Report:
    row = first | {"ver": edition.version, "updateTime": _zoned(edition.posted_at)}
    if edition.note is Note.CORRECTION and row["distance"] is not None:
        row["distance"] = row["distance"] * (100 - other) // 100
        if row["carbonReduction"] is not None:
            row["carbonReduction"] = grams_text(row["distance"] * _BIKE_MG_PER_METRE)
    elif edition.note is Note.CORRECTION:
        row["endTime"] = _zoned(datetime.fromisoformat(row["endTime"]) - timedelta(seconds=other))
    elif edition.note is Note.CANCELLATION:
        row |= {"status": "CANCELLED", "carbonReduction": None}
    return report_edition(
        town, person, edition, platform=BEIJING, act=act, source_id=row["tradeNo"], body=json_text(row),
        claimed_mg=_mg_of(row["carbonReduction"]),
    )  # fmt: skip


def _malformed(rng: np.random.Generator, town: Town, person: Person) -> list[Report]:
    """Now and then a row that nobody can read, each kind in turn from person to person."""
    draw, hours = rng.random(), float(rng.uniform(6, town.days * 24 - 6))
    if not is_open(person, BEIJING) or (draw >= _MALFORMED_ODDS and person.index != 1):
        return []
    begin = town.starts_at + timedelta(seconds=int(hours * 3600))
    trouble = tuple(_SPOIL)[person.index % len(_SPOIL)]
    row = {
        "tradeNo": _trade_no(town, person, begin, 9000),
        "ver": 1,
        "memberId": person.accounts[BEIJING],
        "scene": "BIKE",
        "beginTime": _zoned(begin),
        "endTime": _zoned(begin + timedelta(minutes=9)),
        "distance": 1800,
        "orderNo": None,
        "payNo": None,
        "carbonReduction": "450.00",
        "status": "FINISHED",
        "updateTime": _zoned(begin + timedelta(minutes=12)),
        "cityCode": person.city_code,
    }
    old, new = _SPOIL[trouble]
    return [
        Report(
            platform=BEIJING,
            part=town.part_of(begin),
            person=person.index,
            account=person.accounts[BEIJING],
            act_id=None,
            source_id=str(row["tradeNo"]),
            version=1,
            delivered_at=begin + timedelta(minutes=12),
            body=_spoil(json_text(row), old, new, begin),
            claimed_mg=450_000,
            note=Note.MALFORMED,
            trouble=trouble,
        )
    ]


# What is replaced by what; the year is far enough ahead for any day on which somebody tries the town.
_SPOIL: dict[str, tuple[str, str]] = {
    "number_too_large": ('"distance":1800', '"distance":1e999'),
    "missing_zone": ("+08:00", ""),
    "time_ahead": ("{year}-", "2090-"),
    "unknown_scene": ('"scene":"BIKE"', '"scene":"HOVERBOARD"'),
    "negative_quantity": ('"distance":1800', '"distance":-1800'),
    "end_before_start": ('"endTime":"{year}', '"endTime":"2019'),
}


def _spoil(text: str, old: str, new: str, begin: datetime) -> str:
    wanted = old.replace("{year}", str(begin.astimezone(BEIJING_TIME).year))
    if wanted not in text:
        raise ValueError("nothing to spoil: the row no longer has the words that are replaced")
    return text.replace(wanted, new)


def _trade_no(town: Town, person: Person, begin: datetime, number: int) -> str:
    return f"BJ{begin.astimezone(BEIJING_TIME):%y%m%d}{town.seed % 1000:03d}{person.index:05d}{number:04d}"


def _zoned(instant: datetime) -> str:
    return instant.astimezone(BEIJING_TIME).isoformat(timespec="seconds")


def _mg_of(grams: str | None) -> int:
    return 0 if grams is None else int(grams.replace(".", "")) * 10
