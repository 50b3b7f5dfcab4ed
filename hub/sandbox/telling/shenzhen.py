"""shenzhen-transit tells of rides by card records, one for each tap; dirty as the city's open data are. Pure.

The row is the ride (in and out, or a bus tap); the wire is a file of taps, and whoever reads it pairs them.
"""

from dataclasses import dataclass
from datetime import date, datetime, time, timedelta

import numpy as np

from hub.sandbox import acts
from hub.sandbox.acts import BEIJING_TIME, Act
from hub.sandbox.people import SHENZHEN, Person
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

Tap = dict[str, str]

_LINES = {
    "地铁一号线": ("罗湖", "国贸", "大剧院", "科学馆", "会展中心", "深大", "机场东"),
    "地铁四号线": ("福田口岸", "市民中心", "少年宫", "深圳北站", "龙华", "清湖"),
    "地铁五号线": ("塘朗", "长龙", "五和", "布吉", "太安", "黄贝岭"),
}
_BUSES = (("金华南巴士", "332(观澜)"), ("深圳巴士", "M433"), ("东部公交", "B687"))
_TOLD = 0.98
_ODDS = Odds(replay=0.02, correction=0.015, cancellation=0.0)
_SHORT_ROW_ODDS = 0.02
_DIRTY_ODDS = 0.5
_CARD_DISCOUNT = 95  # percent of the list price


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ride:
    """The two sides of a ride as the card system wrote them; a bus has only `out`, its tap."""

    into: Tap | None
    out: Tap | None
    bus: bool = False


def tell_shenzhen(town: Town, person: Person) -> list[Report]:
    """Return what the platform's files carry of one person, in no particular order."""
    if SHENZHEN not in person.accounts:
        return []
    rng, told = voice_of(town, SHENZHEN, person), []
    for act in acts_told(town, person, frozenset({acts.METRO, acts.BUS})):
        known, short = rng.random() < _TOLD, rng.random() < _SHORT_ROW_ODDS
        short = short and act.behaviour == acts.BUS and is_open(person, SHENZHEN)
        ride = _metro(rng, person, act.start_at, act.end_at) if act.behaviour == acts.METRO else _bus(rng, person, act)
        closed_at = _closed_at(act.end_at)
        first_part = town.part_of(closed_at)
        for edition in draw_editions(rng, town, closed_at, _ODDS, correctable=True):
            # Two editions of a ride in one file would be four taps that nobody can pair.
            again = edition.note in (Note.REPLAY, Note.CORRECTION) and town.part_of(edition.delivered_at) == first_part
            if known and not again and not short:
                told.append(_report(town, person, act, ride, edition))
        if known and short:
            settled = Edition(version=1, posted_at=closed_at, delivered_at=closed_at, note=Note.DIRTY)
            told.append(_report(town, person, act, _short(ride), settled, "incomplete_record"))
    return told + _dirty(rng, town, person)


def _closed_at(instant: datetime) -> datetime:
    """Cards are settled at two in the night after the ride."""
    return _on(instant.astimezone(BEIJING_TIME).date() + timedelta(days=1), 2.0)


def _on(day: date, hour: float) -> datetime:
    return datetime.combine(day, time(), BEIJING_TIME) + timedelta(seconds=int(hour * 3600))


def _metro(rng: np.random.Generator, person: Person, start: datetime, end: datetime) -> _Ride:
    line = tuple(_LINES)[int(rng.integers(0, len(_LINES)))]
    here, there = (str(station) for station in rng.choice(_LINES[line], size=2, replace=False))
    fare_fen = int(rng.integers(2, 10)) * 100
    gate = int(rng.integers(100, 900))
    return _Ride(
        into=_tap(person, start, kind="地铁入站", company=line, station=here, gate=gate, fare_fen=0),
        out=_tap(person, end, kind="地铁出站", company=line, station=there, gate=gate + 1, fare_fen=fare_fen),
    )


def _bus(rng: np.random.Generator, person: Person, act: Act) -> _Ride:
    company, route = _BUSES[int(rng.integers(0, len(_BUSES)))]
    gate = int(rng.integers(100, 900))
    tap = _tap(person, act.start_at, kind="巴士", company=company, station=route, gate=gate, fare_fen=200)
    return _Ride(into=None, out=tap | {"car_no": f"粤BU{gate:04d}"}, bus=True)


def _tap(person: Person, instant: datetime, *, kind: str, company: str, station: str, gate: int, fare_fen: int) -> Tap:
    return {
        "deal_date": f"{instant.astimezone(BEIJING_TIME):%Y-%m-%d %H:%M:%S}",
        "close_date": f"{_closed_at(instant):%Y-%m-%d} 00:00:00",
        "card_no": person.accounts[SHENZHEN],
        "deal_value": str(fare_fen),
        "deal_type": kind,
        "company_name": company,
        "car_no": f"IGT-{gate}" if kind == "地铁入站" else f"OGT-{gate}",
        "station": station,
        "conn_mark": "0",
        "deal_money": str(fare_fen * _CARD_DISCOUNT // 100),
        "equ_no": f"263{gate:06d}",
    }


def _short(ride: _Ride) -> _Ride:
    """A row of nine fields: no station, no vehicle. Two in a hundred of the city's own rows are so."""
    out = {name: value for name, value in (ride.out or {}).items() if name not in ("station", "car_no")}
    return _Ride(into=ride.into, out=out, bus=ride.bus)


def _report(
    town: Town, person: Person, act: Act | None, ride: _Ride, edition: Edition, trouble: str | None = None
) -> Report:
    if edition.note is Note.CORRECTION and ride.out is not None:  # a fare charged wrongly: other money, the same ride
        half = str(int(ride.out["deal_money"]) // 2)
        ride = _Ride(into=ride.into, out=ride.out | {"deal_money": half}, bus=ride.bus)
    taps = [tap for tap in (ride.into, ride.out) if tap is not None]
    row = {"kind": "bus", "tap": ride.out} if ride.bus else {"kind": "metro", "in": ride.into, "out": ride.out}
    return report_edition(
        town, person, edition, platform=SHENZHEN, act=act, trouble=trouble,
        source_id="|".join((taps[-1]["card_no"], taps[-1]["deal_date"], taps[-1]["equ_no"])),
        body=json_text(row), lines=tuple(json_text(tap) for tap in taps),
    )  # fmt: skip


def _well_inside(town: Town, offset: int) -> int:
    """Return a day near `offset` that is not the last of its drop.

    A reader may keep an open entry of the last evening for the next drop, so nobody could say where it is set aside.
    """
    closed_at = town.starts_at + timedelta(days=offset + 1, hours=2)
    part_ends = town.part_of(closed_at + timedelta(days=1)) != town.part_of(closed_at)
    return max(offset - 1, 0) if part_ends or offset >= town.days - 2 else offset


def _dirty(rng: np.random.Generator, town: Town, person: Person) -> list[Report]:
    """An exit without an entry before a day's first ride, an entry without an exit after its last, a walk through."""
    draw, offset, kind = rng.random(), int(rng.integers(0, town.days)), int(rng.integers(0, 3))
    if not is_open(person, SHENZHEN) or draw >= _DIRTY_ODDS:
        return []
    day = town.first_day + timedelta(days=_well_inside(town, offset))
    if kind == 0:
        ride, trouble = _metro(rng, person, _on(day, 4.8), _on(day, 5.19)), "unpaired"
        ride = _Ride(into=None, out=ride.out)
    elif kind == 1:
        ride, trouble = _metro(rng, person, _on(day, 23.6), _on(day, 23.9)), "unpaired"
        ride = _Ride(into=ride.into, out=None)
    else:
        ride, trouble = _metro(rng, person, _on(day, 5.965), _on(day, 6.05)), "no_trip"
        if ride.into is not None and ride.out is not None:
            out = ride.out | {"station": ride.into["station"], "deal_value": "0", "deal_money": "0"}
            ride = _Ride(into=ride.into, out=out)
    settled_at = _closed_at(_on(day, 12.0))
    edition = Edition(version=1, posted_at=settled_at, delivered_at=settled_at, note=Note.DIRTY)
    return [_report(town, person, None, ride, edition, trouble)]
