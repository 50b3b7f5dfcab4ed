"""citic-carbon's card accounts tell of payments at stations, in buses and at charging posts, and of all other spending. Pure.

They are cards that the carbon account itself does not show: what one feed of the bank tells, the other does not. Of a
payment the card knows place and moment, never a distance. A hold that is never settled stays pending; a payment that is
given back stands there a second time, under the same number, with its money going the other way.
"""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import numpy as np

from hub.sandbox import acts
from hub.sandbox.acts import BEIJING_TIME
from hub.sandbox.people import CITIC, Person
from hub.sandbox.telling.citic import tell_citic
from hub.sandbox.telling.gathered import source_no
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

STREAM = "card_transactions"
_CODES = {acts.METRO: "4111", acts.BUS: "4131", acts.CHARGE: "5552"}
_PAID_HERE = {acts.METRO: 0.5, acts.BUS: 0.35, acts.CHARGE: 0.6}
_PRICE_FEN = {acts.METRO: 400, acts.BUS: 200, acts.CHARGE: 3650}
_ODDS = Odds(late=0.05, replay=0.0, correction=0.0, cancellation=0.02)
_BROWN = ("5541", "5812", "4511", "4112")  # petrol, a restaurant, a flight, a train between cities
_BAD: Mapping[str, dict[str, Any]] = {
    "missing_zone": {"acceptorTransactionDateTime": "2026-10-09T08:00:00"},
    "bad_time": {"acceptorTransactionDateTime": "2026-02-30T25:61:00+08:00"},
}


def tell_citic_card(town: Town, person: Person) -> list[Report]:
    """Return what the card accounts list of one person, in no particular order."""
    if CITIC not in person.accounts:
        return []
    rng, told = voice_of(town, CITIC, person, STREAM), []
    elsewhere = {row.act_id for row in tell_citic(town, person)}
    for number, act in enumerate(acts_told(town, person, frozenset(_CODES)), start=1):
        known = rng.random() < _PAID_HERE[act.behaviour] and act.act_id not in elsewhere
        paid_at = act.end_at + draw_skew(rng, spread_s=12, limit_s=40)
        row = _row(town, person, paid_at, number, _CODES[act.behaviour], _PRICE_FEN[act.behaviour])
        editions = draw_editions(rng, town, act.end_at + timedelta(hours=6), _ODDS, correctable=False)
        if known:
            told += [
                _report(
                    town, person, _taken_back(row) if edition.note is Note.CANCELLATION else row, edition, act.act_id
                )
                for edition in editions
            ]
    return told + _other_spending(rng, town, person)


def _other_spending(rng: np.random.Generator, town: Town, person: Person) -> list[Report]:
    """What must be set aside: other merchants, a hold that is never settled, a card that was only checked, a bad row."""
    moments = [town.starts_at + timedelta(seconds=int(rng.uniform(6, town.days * 24 - 6) * 3600)) for _ in range(5)]
    if not is_open(person, CITIC):
        return []
    bad = tuple(_BAD)[person.index % len(_BAD)]
    rows = [
        ("no_reduction", _row(town, person, moments[0], 9001, _BROWN[person.index % len(_BROWN)], 23_400)),
        ("no_reduction", _row(town, person, moments[1], 9002, "5812", 8_800)),
        ("not_final", _row(town, person, moments[2], 9003, "4111", 400) | {"status": "pending"}),
        ("not_final", _row(town, person, moments[3], 9004, "4131", 0) | {"side": "zero"}),
        (bad, _row(town, person, moments[4], 9005, "4111", 400)),
    ]
    rows[4][1]["transaction"] |= _BAD[bad]
    found = []
    for (trouble, row), moment in zip(rows, moments, strict=True):
        edition = Edition(version=1, posted_at=moment, delivered_at=moment, note=Note.MALFORMED)
        found.append(replace(_report(town, person, row, edition, None), trouble=trouble))
    return found


def _row(town: Town, person: Person, paid_at: datetime, number: int, mcc: str, fen: int) -> dict[str, Any]:
    """A transaction in the words of NextGenPSD2, with the list it stands in and the side of its money beside it."""
    local = paid_at.astimezone(BEIJING_TIME)
    transaction = {
        "cardTransactionId": source_no(town, person, "CT", paid_at, number),
        "terminalId": f"T{number:07d}",
        "transactionDate": f"{local:%Y-%m-%d}",
        "acceptorTransactionDateTime": f"{local:%Y-%m-%dT%H:%M:%S}+08:00",
        "transactionAmount": {"currency": "CNY", "amount": f"{fen // 100}.{fen % 100:02d}"},
        "cardAcceptorAddress": {"townName": "SHENZHEN", "country": "CN"},
        "merchantCategoryCode": mcc,
        "maskedPAN": f"621700******{person.index % 10_000:04d}",
        "transactionDetails": "CARD PAYMENT",
        "invoiced": False,
        "proprietaryBankTransactionCode": "PURCHASE",
    }
    return {"status": "booked", "side": "debit", "transaction": transaction}


def _taken_back(row: dict[str, Any]) -> dict[str, Any]:
    transaction: dict[str, Any] = row["transaction"]
    amount = transaction["transactionAmount"]
    back = {
        "transactionAmount": amount | {"amount": f"-{amount['amount']}"},
        "proprietaryBankTransactionCode": "REVERSAL",
    }
    return row | {"side": "credit", "transaction": transaction | back}


def _report(town: Town, person: Person, row: dict[str, Any], edition: Edition, act_id: int | None) -> Report:
    name = row["transaction"]["cardTransactionId"]
    told = report_edition(
        town, person, edition, platform=CITIC, act=None, source_id=name, body=json_text(row), stream=STREAM
    )
    return replace(told, act_id=act_id)
