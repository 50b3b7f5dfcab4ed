"""citic-carbon's bank statements tell of payments that neither of its other feeds tells. Pure.

They are accounts without a card in the carbon app: metro, bus and charging by direct debit. A row is one transaction; the
wire is a statement for every account and part, with opening and closing balance, and with all the other things that
people pay for.
"""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import numpy as np

from hub.sandbox import acts
from hub.sandbox.acts import BEIJING_TIME
from hub.sandbox.people import CITIC, Person
from hub.sandbox.telling.citic import tell_citic
from hub.sandbox.telling.citic_card import tell_citic_card
from hub.sandbox.telling.gathered import source_no
from hub.sandbox.telling.report import (
    Edition,
    Note,
    Odds,
    Report,
    acts_told,
    draw_editions,
    is_open,
    json_text,
    keep_key,
    report_edition,
    voice_of,
)
from hub.sandbox.town import Town

STREAM = "statements"
_CODES = {acts.METRO: "4111", acts.BUS: "4131", acts.CHARGE: "5552"}
_PAID_HERE = {acts.METRO: 0.5, acts.BUS: 0.4, acts.CHARGE: 0.5}
# A statement says a thing once; what is booked late stands in a later one, what is given back stands there reversed.
_ODDS = Odds(late=0.05, replay=0.0, correction=0.0, cancellation=0.03)
_TROUBLES: dict[str, dict[str, Any]] = {
    "unknown_scene": {"mcc": "5411"},
    "missing_scene": {"mcc": None},
    "no_reduction": {"side": "CRDT"},
    "not_final": {"status": "PDNG"},
    "missing_zone": {"paid_at": "2026-10-09T08:00:00"},
    "missing_time": {"paid_at": None},
}


def tell_citic_statements(town: Town, person: Person) -> list[Report]:
    """Return what the statements list of one person, in no particular order."""
    if CITIC not in person.accounts:
        return []
    rng, told = voice_of(town, CITIC, person, STREAM), []
    elsewhere = {row.act_id for row in (*tell_citic(town, person), *tell_citic_card(town, person))}
    for number, act in enumerate(acts_told(town, person, frozenset(_CODES)), start=1):
        known, order = rng.random() < _PAID_HERE[act.behaviour], keep_key(rng, act.order_no, 0.8)
        row = _row(town, person, act.end_at, number, _CODES[act.behaviour]) | {"order": order}
        row["payment"] = act.pay_no or row["payment"]
        editions = draw_editions(rng, town, act.end_at + timedelta(hours=8), _ODDS, correctable=False)
        if known and act.act_id not in elsewhere:
            for edition in editions:
                back = {"side": "CRDT", "reversal": "true", "entry": f"{row['entry']}R"}
                entry = row | back if edition.note is Note.CANCELLATION else row
                told.append(replace(_report(town, person, entry, edition), act_id=act.act_id))
    return told + _other_entries(rng, town, person)


def _other_entries(rng: np.random.Generator, town: Town, person: Person) -> list[Report]:
    """What must be set aside: a supermarket, a wage, money from a friend, what is not booked, a time that is none."""
    moments = [town.starts_at + timedelta(hours=float(rng.uniform(6, town.days * 24 - 6))) for _ in _TROUBLES]
    if not is_open(person, CITIC):
        return []
    found = []
    for number, ((trouble, change), moment) in enumerate(zip(_TROUBLES.items(), moments, strict=True), start=9001):
        row = _row(town, person, moment, number, "4111") | change
        edition = Edition(version=1, posted_at=moment, delivered_at=moment, note=Note.MALFORMED)
        found.append(replace(_report(town, person, row, edition), trouble=trouble))
    return found


def _row(town: Town, person: Person, paid_at: datetime, number: int, mcc: str) -> dict[str, Any]:
    local = paid_at.astimezone(BEIJING_TIME)
    return {
        "account": person.accounts[CITIC],
        "entry": str(number),
        "status": "BOOK",
        "side": "DBIT",
        "reversal": "false",
        "booked": f"{local + timedelta(hours=8):%Y-%m-%d}",
        "reference": source_no(town, person, "BR", paid_at, number),
        "order": None,
        "payment": source_no(town, person, "BP", paid_at, number),
        "paid_at": f"{local:%Y-%m-%dT%H:%M:%S}+08:00",
        "mcc": mcc,
    }


def _report(town: Town, person: Person, row: dict[str, Any], edition: Edition) -> Report:
    return report_edition(
        town, person, edition, platform=CITIC, act=None, source_id=row["payment"], body=json_text(row), stream=STREAM
    )
