"""kuaidian tells of charges, as T/CEC 102 charge orders: the meter's own figures. Pure."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import numpy as np

from hub.sandbox import acts
from hub.sandbox.acts import BEIJING_TIME, CHARGING_OPERATOR, Act
from hub.sandbox.people import KUAIDIAN, Person
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

_METERED = 0.96
_ODDS = Odds(correction=0.06, cancellation=0.0)  # the format cannot take an order back; it sends it again
_OLD_SPELLING_ODDS = 0.85  # the rest writes the camelCase of the 2021 edition
_ZERO_ODDS = 0.06
_MALFORMED_ODDS = 0.15
_TROUBLES = ("negative_quantity", "end_before_start")


def tell_kuaidian(town: Town, person: Person) -> list[Report]:
    """Return what the platform delivers of one person, in no particular order."""
    if KUAIDIAN not in person.accounts:
        return []
    rng, told = voice_of(town, KUAIDIAN, person), []
    old_spelling = rng.random() < _OLD_SPELLING_ODDS
    for act in acts_told(town, person, frozenset({acts.CHARGE})):
        known = rng.random() < _METERED
        order = _order(rng, person, act.order_no, act.start_at, act.end_at, act.quantity_micro // 1000)
        posted_at = act.end_at + timedelta(seconds=int(rng.integers(30, 200)))
        editions = draw_editions(rng, town, posted_at, _ODDS, correctable=True)
        other = int(rng.integers(3, 20))
        if known:
            told += [_report(town, person, act, order, edition, other, old_spelling) for edition in editions]
    return told + _zero_order(rng, town, person, old_spelling) + _malformed(rng, town, person, old_spelling)


def _order(
    rng: np.random.Generator, person: Person, seq: str, start: datetime, end: datetime, energy_wh: int
) -> dict[str, Any]:
    return {
        "StartChargeSeq": seq,
        "ConnectorID": f"3702{int(rng.integers(1, 400)):06d}01",
        "StartTime": _local(start),
        "EndTime": _local(end),
        **_energy(energy_wh),
        "StopReason": int(rng.choice([0, 1, 2])),
        "SumPeriod": 0,
        "ChargeDetails": [],
        "UserId": person.accounts[KUAIDIAN],
    }


def _energy(energy_wh: int) -> dict[str, float]:
    """kWh with three decimals, yuan with two: 0.90 for the energy and 0.40 for the service of each kWh."""
    electric_fen, service_fen = energy_wh * 90 // 1000, energy_wh * 40 // 1000
    return {
        "TotalPower": energy_wh / 1000,
        "TotalElecMoney": electric_fen / 100,
        "TotalSeviceMoney": service_fen / 100,  # the standard spells it so
        "TotalMoney": (electric_fen + service_fen) / 100,
    }


def _report(
    town: Town, person: Person, act: Act | None, first: dict[str, Any], edition: Edition, other: int, old: bool
) -> Report:
    order = dict(first)
    if edition.note is Note.CORRECTION:
        order |= _energy(round(first["TotalPower"] * 1000) * (100 - other) // 100)
    return report_edition(
        town, person, edition, platform=KUAIDIAN, act=act, source_id=order["StartChargeSeq"],
        body=json_text(order if old else {name[0].lower() + name[1:]: value for name, value in order.items()}),
    )  # fmt: skip


def _zero_order(rng: np.random.Generator, town: Town, person: Person, old_spelling: bool) -> list[Report]:
    """A plug that gave nothing: 96 seconds, 0 kWh. It can be read, and must be worth nothing."""
    draw, hours = rng.random(), _daytime(rng, town)
    order, edition = _extra(rng, town, person, hours, 8000)
    if draw >= _ZERO_ODDS:
        return []
    report = _report(town, person, None, order | _energy(0), edition, 0, old_spelling)
    return [replace(report, note=Note.DIRTY)]


def _malformed(rng: np.random.Generator, town: Town, person: Person, old_spelling: bool) -> list[Report]:
    draw, hours = rng.random(), _daytime(rng, town)
    order, edition = _extra(rng, town, person, hours, 9000)
    if not is_open(person, KUAIDIAN) or draw >= _MALFORMED_ODDS:
        return []
    trouble = _TROUBLES[person.index % len(_TROUBLES)]
    order |= {
        "negative_quantity": {"TotalPower": -5.25},
        "end_before_start": {"StartTime": order["EndTime"], "EndTime": order["StartTime"]},
    }[trouble]
    report = _report(town, person, None, order, edition, 0, old_spelling)
    return [replace(report, note=Note.MALFORMED, trouble=trouble)]


def _daytime(rng: np.random.Generator, town: Town) -> float:
    """Return an hour of the month at which nobody charges in earnest: those plug in at night."""
    return int(rng.integers(0, town.days)) * 24 + float(rng.uniform(9, 16))


def _extra(
    rng: np.random.Generator, town: Town, person: Person, hours: float, number: int
) -> tuple[dict[str, Any], Edition]:
    start = town.starts_at + timedelta(seconds=int(hours * 3600))
    day = start.astimezone(BEIJING_TIME)
    seq = f"{CHARGING_OPERATOR}{day:%y%m%d}{town.seed % 1000:03d}{person.index:05d}{number:04d}"
    end = start + timedelta(seconds=96)
    order = _order(rng, person, seq, start, end, 1500)
    return order, Edition(version=1, posted_at=end, delivered_at=end, note=Note.PLAIN)


def _local(instant: datetime) -> str:
    return f"{instant.astimezone(BEIJING_TIME):%Y-%m-%d %H:%M:%S}"
