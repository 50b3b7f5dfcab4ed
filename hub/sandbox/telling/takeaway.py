"""takeaway tells of orders, in Meituan's form: with and without utensils, on their way, brought, cancelled. Pure."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import numpy as np

from hub.sandbox import acts
from hub.sandbox.acts import Act
from hub.sandbox.people import Person
from hub.sandbox.registers import TAKEAWAY
from hub.sandbox.telling.gathered import source_no, unix_s
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

_KNOWN = 0.92
_ODDS = Odds(correction=0.0, cancellation=0.04)  # an order is not corrected, but cancelled or refunded
_ON_ITS_WAY_ODDS = 0.12
_UTENSILS_ODDS = 0.6
_MALFORMED_ODDS = 0.2
_CONFIRMED, _DELIVERED, _DONE, _CANCELLED = 4, 6, 8, 9
_NO_UTENSILS = 99
_SPOIL: dict[str, dict[str, Any]] = {
    "unknown_status": {"status": 7},
    "time_out_of_range": {"ctime": 1_791_161_640_000},  # milliseconds where seconds belong
    "bad_region": {"cityId": 999_999},
}


def tell_takeaway(town: Town, person: Person) -> list[Report]:
    """Return what the platform delivers of one person, in no particular order."""
    if TAKEAWAY not in person.accounts:
        return []
    rng, told = voice_of(town, TAKEAWAY, person), []
    for act in acts_told(town, person, frozenset({acts.NO_TABLEWARE})):
        known, on_its_way = rng.random() < _KNOWN, rng.random() < _ON_ITS_WAY_ODDS
        order = _order(rng, person, act.order_no, act.start_at, _NO_UTENSILS)
        brought_at = act.end_at + timedelta(minutes=int(rng.integers(22, 70)))
        editions = draw_editions(rng, town, brought_at, _ODDS, correctable=False)
        if known:
            told += [_report(town, person, act, order, edition) for edition in editions]
        # What is not settled yet shows before the order is brought, so it must be delivered in time.
        if known and on_its_way and is_open(person, TAKEAWAY):
            told.append(_before(town, person, act, order))
    return told + _with_utensils(rng, town, person) + _malformed(rng, town, person)


def _order(rng: np.random.Generator, person: Person, number: str, placed_at: datetime, utensils: int) -> dict[str, Any]:
    price = int(rng.integers(1_800, 6_500)) / 100
    dish = [{"food_name": "套餐", "quantity": 1, "price": price, "unit": "份"}]
    return {
        "orderId": number,
        "UserId": person.accounts[TAKEAWAY],
        "ctime": unix_s(placed_at),
        "utime": 0,
        "status": _DONE,
        "dinnersNumber": utensils,
        "caution": "环保单，顾客不需要附带餐具" if utensils == _NO_UTENSILS else "",
        "cityId": int(person.city_code),
        "recipientName": f"顾客{person.index}",
        "recipientPhone": f"184{person.index:08d}_0000",
        "recipientAddress": "某路某号",
        "latitude": 39.9,
        "longitude": 116.4,
        "detail": json_text({"dishes": dish}),
        "originalPrice": price,
    }


def _report(town: Town, person: Person, act: Act | None, first: dict[str, Any], edition: Edition) -> Report:
    status = _CANCELLED if edition.note is Note.CANCELLATION else first["status"]
    order = first | {"utime": unix_s(edition.posted_at), "status": status}
    return report_edition(
        town, person, edition, platform=TAKEAWAY, act=act, source_id=str(order["orderId"]), body=json_text(order)
    )


def _before(town: Town, person: Person, act: Act, order: dict[str, Any]) -> Report:
    """The same order a moment after the shop has confirmed it."""
    told_at = act.end_at + timedelta(minutes=2)
    edition = Edition(version=0, posted_at=told_at, delivered_at=told_at, note=Note.DIRTY)
    return replace(_report(town, person, act, order | {"status": _CONFIRMED}, edition), trouble="not_final")


def _with_utensils(rng: np.random.Generator, town: Town, person: Person) -> list[Report]:
    draw, hours, utensils = rng.random(), _evening(rng, town), int(rng.choice([0, 1, 2, 10, -10]))
    order, edition = _extra(rng, town, person, hours, 8000, utensils)
    if not is_open(person, TAKEAWAY) or draw >= _UTENSILS_ODDS:
        return []
    report = _report(town, person, None, order | {"status": _DELIVERED}, replace(edition, note=Note.DIRTY))
    return [replace(report, trouble="no_reduction")]


def _malformed(rng: np.random.Generator, town: Town, person: Person) -> list[Report]:
    draw, hours = rng.random(), _evening(rng, town)
    order, edition = _extra(rng, town, person, hours, 9000, _NO_UTENSILS)
    if not is_open(person, TAKEAWAY) or (draw >= _MALFORMED_ODDS and person.index != 1):
        return []
    trouble = tuple(_SPOIL)[person.index % len(_SPOIL)]
    report = _report(town, person, None, order | _SPOIL[trouble], replace(edition, note=Note.MALFORMED))
    return [replace(report, trouble=trouble)]


def _evening(rng: np.random.Generator, town: Town) -> float:
    """Return an hour of the month at which no meal of the person's own is brought."""
    return int(rng.integers(0, town.days)) * 24 + float(rng.uniform(18, 20))


def _extra(
    rng: np.random.Generator, town: Town, person: Person, hours: float, number: int, utensils: int
) -> tuple[dict[str, Any], Edition]:
    placed_at = town.starts_at + timedelta(seconds=int(hours * 3600))
    told_at = placed_at + timedelta(minutes=40)
    order = _order(rng, person, source_no(town, person, "WM", placed_at, number), placed_at, utensils)
    return order, Edition(version=1, posted_at=told_at, delivered_at=told_at, note=Note.PLAIN)
