"""kuaidian tells its partners' drivers' charges once more, as OCPI charge detail records: the other interface. Pure.

A charge that was sent as T/CEC order is the same charge here: its session has the order's number. A record is taken back by
a credit record with an id of its own, whose energy keeps its sign.
"""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np

from hub.sandbox import acts
from hub.sandbox.acts import CHARGING_OPERATOR, Act
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

STREAM = "cdrs"
_COUNTRY, _PARTY = "CN", "KDN"
_ROAMED = 0.55  # the rest was charged at posts that only speak T/CEC
_ODDS = Odds(correction=0.0, cancellation=0.06)
_NEWER_ODDS = 0.3  # writes costs as 2.3.0 does
_ZERO_ODDS, _MALFORMED_ODDS = 0.05, 0.5
_TROUBLES = ("negative_quantity", "end_before_start", "missing_source_id", "missing_status", "missing_version")


def tell_kuaidian_cdrs(town: Town, person: Person) -> list[Report]:
    """Return what the operator lists of one person, in no particular order."""
    if KUAIDIAN not in person.accounts:
        return []
    rng, told = voice_of(town, KUAIDIAN, person, STREAM), []
    newer = rng.random() < _NEWER_ODDS
    for number, act in enumerate(acts_told(town, person, frozenset({acts.CHARGE}))):
        roamed = rng.random() < _ROAMED
        posted_at = act.end_at + timedelta(seconds=int(rng.integers(60, 900)))
        cdr = _cdr(person, number, act.order_no, act.start_at, act.end_at, act.quantity_micro // 1000, newer)
        editions = draw_editions(rng, town, posted_at, _ODDS, correctable=False)
        if roamed:
            told += [_report(town, person, act, cdr, edition) for edition in editions]
    return told + _extras(rng, town, person, newer)


def _cdr(
    person: Person, number: int, session: str, start: datetime, end: datetime, energy_wh: int, newer: bool
) -> dict[str, Any]:
    fen = energy_wh * 130 // 1000
    hours = round((end - start).total_seconds() / 3600, 3)
    return {
        "country_code": _COUNTRY,
        "party_id": _PARTY,
        "id": f"CDR{person.index:05d}{number:05d}",
        "start_date_time": _utc(start),
        "end_date_time": _utc(end),
        "session_id": session,
        "cdr_token": {
            "country_code": _COUNTRY, "party_id": _PARTY, "uid": f"{person.index:08X}", "type": "APP_USER",
            "contract_id": person.accounts[KUAIDIAN],
        },
        "auth_method": "WHITELIST",
        "cdr_location": {
            "id": "KD370203", "city": "深圳", "country": "CHN", "evse_id": "CN*KDN*E370203*1",
            "coordinates": {"latitude": "22.5431", "longitude": "114.0579"}, "connector_power_type": "DC",
        },
        "currency": "CNY",
        "charging_periods": [
            {"start_date_time": _utc(start), "dimensions": [{"type": "ENERGY", "volume": energy_wh / 1000}]}
        ],
        "total_cost": _cost(fen, newer),
        "total_energy": energy_wh / 1000,
        "total_time": hours,
    }  # fmt: skip


def _cost(fen: int, newer: bool) -> dict[str, Any]:
    if newer:
        return {"before_taxes": fen / 100, "taxes": [{"name": "VAT", "amount": round(fen * 6 / 10_000, 2)}]}
    return {"excl_vat": fen / 100, "incl_vat": round(fen * 106 / 10_000, 2)}


def _report(town: Town, person: Person, act: Act | None, cdr: dict[str, Any], edition: Edition) -> Report:
    body = {**cdr, "last_updated": _utc(edition.posted_at)}
    if edition.note is Note.CANCELLATION:
        costs = {name: -cost for name, cost in cdr["total_cost"].items() if isinstance(cost, float)}
        body |= {"id": f"{cdr['id']}-C", "credit": True, "credit_reference_id": cdr["id"], "total_cost": costs}
    return report_edition(
        town, person, edition, platform=KUAIDIAN, stream=STREAM, act=act,
        source_id=f"{_COUNTRY}|{_PARTY}|{cdr['id']}", body=json_text(body),
    )  # fmt: skip


def _extras(rng: np.random.Generator, town: Town, person: Person, newer: bool) -> list[Report]:
    """A session that gave nothing, and a record that nobody can count."""
    draws = rng.random(2)
    days, hours = rng.integers(0, town.days, 2), rng.uniform(9, 16, 2)
    told: list[Report] = []
    for which, (draw, odds) in enumerate(zip(draws.tolist(), (_ZERO_ODDS, _MALFORMED_ODDS), strict=True)):
        start = town.starts_at + timedelta(days=int(days[which]), seconds=int(hours[which] * 3600))
        end = start + timedelta(seconds=150)
        session = f"{CHARGING_OPERATOR}-X{person.index:05d}{which}"
        cdr = _cdr(person, 90_000 + which, session, start, end, 1500 * which, newer)
        edition = Edition(version=1, posted_at=end, delivered_at=end, note=Note.PLAIN)
        if draw >= odds or (which == 1 and not is_open(person, KUAIDIAN)):
            continue
        report = _report(town, person, None, cdr, edition)
        told.append(replace(report, note=Note.DIRTY) if which == 0 else _spoilt(report, cdr, end, person.index))
    return told


def _spoilt(report: Report, cdr: dict[str, Any], end: datetime, index: int) -> Report:
    trouble = _TROUBLES[index % len(_TROUBLES)]
    body: dict[str, Any] = {**cdr, "last_updated": _utc(end)}
    body |= {
        "negative_quantity": {"total_energy": -4.25},  # more flowed back into the grid than was charged
        "end_before_start": {"start_date_time": body["end_date_time"], "end_date_time": body["start_date_time"]},
        "missing_source_id": {"credit": True, "credit_reference_id": None},  # a credit of nothing
        "missing_status": {"credit": "false"},
        "missing_version": {"last_updated": None},
    }[trouble]
    return replace(report, note=Note.MALFORMED, trouble=trouble, body=json_text(body))


def _utc(instant: datetime) -> str:
    return f"{instant.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
