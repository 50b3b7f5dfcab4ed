"""didi tells of an enterprise's ride orders, shared ones and others; an order comes again when its money changes. Pure."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import numpy as np

from hub.sandbox.acts import BEIJING_TIME, Act
from hub.sandbox.outings import CARPOOL
from hub.sandbox.people import Person
from hub.sandbox.registers import DIDI
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

_KNOWN = 0.94
_ODDS = Odds(correction=0.05, cancellation=0.04)
_ALONE_ODDS = 0.6  # of a ride that nobody shared, in a month
_MALFORMED_ODDS = 0.4
_PAID, _REFUNDED, _CANCELLED, _PARTLY_REFUNDED = "2", "3", "4", "7"
_TROUBLES = ("negative_quantity", "end_before_start", "no_trip", "bad_time", "unknown_status")


def tell_didi(town: Town, person: Person) -> list[Report]:
    """Return what the enterprise's list says of one person, in no particular order."""
    if DIDI not in person.accounts:
        return []
    rng, told = voice_of(town, DIDI, person), []
    for act in acts_told(town, person, frozenset({CARPOOL})):
        known = rng.random() < _KNOWN
        skew = draw_skew(rng, spread_s=10, limit_s=40)
        order = _order(person, act.order_no, act.start_at + skew, act.end_at + skew, act.quantity_micro // 1000)
        posted_at = act.end_at + timedelta(minutes=int(rng.integers(2, 90)))
        editions = draw_editions(rng, town, posted_at, _ODDS, correctable=True)
        less = int(rng.integers(3, 15))
        if known:
            told += [_report(town, person, act, order, edition, less) for edition in editions]
    return told + _extras(rng, town, person)


def _order(person: Person, order_id: str, start: datetime, end: datetime, metres: int) -> dict[str, Any]:
    price = f"{8 + metres * 2 // 1000}.{metres % 100:02d}"
    return {
        "order_id": order_id,
        "call_phone": f"138{person.index:08d}",
        "passenger_phone": f"138{person.index:08d}",
        "passenger_name": f"乘客{person.index}",
        "member_id": person.accounts[DIDI],
        "city": "2",
        "city_name": "深圳市",
        "start_name": "某小区东门",
        "end_name": "某大厦",
        "actual_flat": "22.5431",
        "actual_flng": "114.0579",
        "normal_distance": _kilometres(metres),
        "create_time": _local(start - timedelta(minutes=9)),
        "begin_charge_time": _local(start),
        "finish_time": _local(end),
        "use_car_type": "3",
        "require_level": "600",
        "is_carpool": "1",
        "status": _PAID,
        "pay_type": "0",
        "total_price": price,
        "actual_price": price,
        "refund_price": "0.00",
    }


def _report(town: Town, person: Person, act: Act | None, first: dict[str, Any], edition: Edition, less: int) -> Report:
    order = {**first, "pay_time": _local(edition.posted_at)}
    if (
        edition.note is Note.CORRECTION
    ):  # the detour was complained about: another distance, and a part of the money back
        metres = round(float(first["normal_distance"]) * 1000) * (100 - less) // 100
        order |= {"normal_distance": _kilometres(metres), "status": _PARTLY_REFUNDED, "refund_price": "1.00"}
    elif edition.note is Note.CANCELLATION:
        order |= {"status": _REFUNDED, "refund_price": first["total_price"], "refund_time": _local(edition.posted_at)}
    return report_edition(
        town, person, edition, platform=DIDI, act=act, source_id=order["order_id"], body=json_text(order)
    )


def _extras(rng: np.random.Generator, town: Town, person: Person) -> list[Report]:
    """A ride that nobody shared, and an order that nobody can count: both only where the hub sees everything."""
    draws = rng.random(2)
    days, hours = rng.integers(0, town.days, 2), rng.uniform(1, 5, 2)
    told: list[Report] = []
    for which, odds in enumerate((_ALONE_ODDS, _MALFORMED_ODDS)):
        start = town.starts_at + timedelta(days=int(days[which]), seconds=int(hours[which] * 3600))
        end = start + timedelta(minutes=17)
        order = _order(person, f"PCX{person.index:05d}{which}", start, end, 6_400)
        if draws[which] >= odds or not is_open(person, DIDI):
            continue
        trouble = "no_reduction" if which == 0 else _TROUBLES[person.index % len(_TROUBLES)]
        order |= {
            "no_reduction": {"is_carpool": "0"},
            "negative_quantity": {"normal_distance": "-6.40"},
            "end_before_start": {"begin_charge_time": order["finish_time"], "finish_time": order["begin_charge_time"]},
            "no_trip": {"status": _CANCELLED, "begin_charge_time": None, "finish_time": None},
            "bad_time": {"begin_charge_time": "0000-00-00 00:00:00"},
            "unknown_status": {"status": "0"},
        }[trouble]
        edition = Edition(version=1, posted_at=end, delivered_at=end, note=Note.PLAIN)
        report = _report(town, person, None, order, edition, 0)
        told.append(replace(report, note=Note.DIRTY if which == 0 else Note.MALFORMED, trouble=trouble))
    return told


def _kilometres(metres: int) -> str:
    return f"{metres // 1000}.{metres % 1000 // 10:02d}"


def _local(instant: datetime) -> str:
    return f"{instant.astimezone(BEIJING_TIME):%Y-%m-%d %H:%M:%S}"
